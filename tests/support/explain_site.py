"""A tiny Rust workspace with our Dockerfile: two services, a shared crate, no dependencies. A build takes seconds."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path
from typing import Any

from tests.support import process

REPOSITORY = Path(__file__).parents[2]

PACKAGE = '[package]\nname = "{0}"\nversion = "0.1.0"\nedition = "2021"\n'
COMMON = '\n[dependencies]\ncommon = { path = "../common" }\n'
LOCK = "version = 3\n" + "".join(
    f'\n[[package]]\nname = "{name}"\nversion = "0.1.0"\n' + ('dependencies = [\n "common",\n]\n' if needs else "")
    for name, needs in (("api", True), ("common", False), ("worker", True))
)
FILES = {
    "tasks.py": "from buildkit_tasks import namespace\n__all__ = ['namespace']\n",
    ".dockerignore": "*\n!services\n!docker/compile.rs\n!docker/cross.sh\n**/*.md\n**/target\n",
    "services/Cargo.toml": '[workspace]\nresolver = "2"\nmembers = ["api", "common", "worker"]\n',
    "services/Cargo.lock": LOCK,
    "services/common/Cargo.toml": PACKAGE.format("common") + "\n[features]\nloud = []\n",
    "services/common/src/lib.rs": 'pub fn word() -> &\'static str { include_str!("../word.txt").trim() }\n',
    "services/common/word.txt": "one\n",
    "services/common/old.txt": "old\n",
    "services/common/README.md": "# Common\n",
    "services/api/Cargo.toml": PACKAGE.format("api") + COMMON,
    "services/api/src/main.rs": 'fn main() { println!("api {}", common::word()); }\n',
    "services/worker/Cargo.toml": PACKAGE.format("worker") + COMMON,
    "services/worker/src/main.rs": 'fn main() { println!("worker {}", common::word()); }\n',
    "services/link": "-> api",
}


class Site:
    """The project, and `invoke` in its directory."""

    def __init__(self, place: Path) -> None:
        self.root = place / "tiny"
        self.scope = f"bt-explain-{secrets.token_hex(3)}"
        self.env: dict[str, str | None] = {"CI": None, "XDG_STATE_HOME": str(place / "state")}
        for name, text in FILES.items():
            self.write(name, text)
        for name in ("Dockerfile", "compile.rs", "cross.sh"):
            self.path(f"docker/{name}").parent.mkdir(exist_ok=True)
            shutil.copy(REPOSITORY / "docker" / name, self.path(f"docker/{name}"))
        self.args: dict[str, str] = {}
        self.compose()

    def path(self, name: str) -> Path:
        """Return the path of a file in the project."""
        return self.root / name

    def write(self, name: str, text: str) -> None:
        """Write a file; `-> NAME` creates a symlink."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            path.unlink(missing_ok=True)
            path.symlink_to(text[3:])
        else:
            path.write_text(text)

    def compose(self) -> None:
        """Write the compose file, with `args` as additional build arguments of both services."""
        services = {
            name: {
                "image": f"{self.scope}/{name}:dev",
                "build": {
                    "context": ".",
                    "dockerfile": "docker/Dockerfile",
                    "args": {"BIN": name, "CACHE_SCOPE": self.scope, **self.args},
                },
            }
            for name in ("api", "worker")
        }
        self.write("compose.yaml", json.dumps({"name": self.scope, "services": services}))

    def invoke(self, *words: str) -> process.Done:
        """Run a task that must succeed."""
        done = process.run([process.BIN / "invoke", *words], self.root, self.env)
        assert done.code == 0, done.all
        return done

    def json(self, *words: str) -> dict[str, Any]:
        """Return the JSON output of a task."""
        return dict(json.loads(self.invoke(*words, "--json").out))

    def remove(self) -> None:
        """Remove the images and the cache mounts."""
        self.invoke("cache.clear", "--yes")
        process.run(["docker", "image", "rm", "-f", f"{self.scope}/api:dev", f"{self.scope}/worker:dev"], self.root)
