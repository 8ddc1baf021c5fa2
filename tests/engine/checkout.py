"""A checkout of this repository with a separate stack: copied like a fresh clone, deleted when the test is done."""

from __future__ import annotations

import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import process

REPOSITORY = Path(__file__).parents[2]
SERVICES = ("api", "executor", "notifier", "sensor", "worker")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Checkout:
    """A checkout with a separate compose project, ports and image tag; its caches are shared, as in a worktree."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.project = f"sample-{secrets.token_hex(3)}"
        self.env: dict[str, str | None] = {"CI": None, "XDG_STATE_HOME": str(root.parent / "state")}
        self.port = free_port()
        settings = {
            "COMPOSE_PROJECT_NAME": self.project,
            "IMAGE_TAG": self.project,
            "API_PORT": self.port,
            "NOTIFIER_PORT": free_port(),
            "RABBITMQ_UI_PORT": free_port(),
        }
        (root / ".env").write_text("".join(f"{k}={v}\n" for k, v in settings.items()))

    def invoke(self, *args: str) -> process.Done:
        return process.run([process.BIN / "invoke", *args], self.root, self.env, timeout=1800)

    def ok(self, *args: str) -> process.Done:
        done = self.invoke(*args)
        assert done.code == 0, done.all
        return done

    def containers(self) -> dict[str, str]:
        """Return the container id of each service."""
        label = f"label=com.docker.compose.project={self.project}"
        form = '{{.Label "com.docker.compose.service"}} {{.ID}}'
        done = process.ok(["docker", "ps", "--filter", label, "--format", form], self.root)
        return dict(line.split() for line in done.out.splitlines())

    def help_of(self, service: str) -> str:
        image = f"buildkit-sample/{service}:{self.project}"
        return process.ok(["docker", "run", "--rm", "--network", "none", image, "--help"], self.root).out


def without_optimization(made: Checkout) -> None:
    """Compile the sample with the smallest effort: half the time of a cold build, which takes the longest of all."""
    manifest = made.root / "services/Cargo.toml"
    manifest.write_text(manifest.read_text().replace("[profile.release]\n", "[profile.release]\nopt-level = 0\n"))


@contextmanager
def copied(folder: Path) -> Iterator[Checkout]:
    """Copy the files that git tracks."""
    root = folder / "checkout"
    for name in process.ok(["git", "ls-files", "-co", "--exclude-standard"], REPOSITORY).out.splitlines():
        source = REPOSITORY / name
        if source.is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, root / name, follow_symlinks=False)
    made = Checkout(root)
    yield made
    process.run(["docker", "compose", "-p", made.project, "down", "--volumes", "--remove-orphans"], root)
    process.run(["docker", "image", "rm", "-f", *(f"buildkit-sample/{s}:{made.project}" for s in SERVICES)], root)
