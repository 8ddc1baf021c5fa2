"""Small projects on a real engine, with separate mounts, which each test deletes when it is done."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import process

REPOSITORY = Path(__file__).parents[2]

#: Write files with the size given as the argument into three mounts; then output the digests of all files.
MOUNTS = """\
FROM debian:bookworm-slim AS write
ARG CACHE_SCOPE
ARG TARGETARCH
ARG STEP
ARG RUN=true
RUN --mount=type=cache,id=${CACHE_SCOPE}-cargo-registry,target=/mnt/registry \\
    --mount=type=cache,id=${CACHE_SCOPE}-cargo-git,target=/mnt/git \\
    --mount=type=cache,id=${CACHE_SCOPE}-target-${TARGETARCH},target=/mnt/build,sharing=locked \\
    echo "step $STEP"; eval "$RUN"; mkdir -p /out/$CACHE_SCOPE; cd /mnt; \\
    find . -type f -exec sha256sum {} + | sort > /out/sums
FROM scratch
COPY --from=write /out/sums /
"""


@dataclass(frozen=True)
class Site:
    """A project directory and its cache scope."""

    root: Path
    scope: str
    bases: Mapping[str, str]

    def invoke(self, *args: str) -> process.Done:
        """Run the real invoke; any exit code other than 0 fails the test."""
        return process.ok([process.BIN / "invoke", *args], self.root, self.env)

    @property
    def env(self) -> dict[str, str | None]:
        """Return an environment with a separate state directory and without CI: these are a developer's builds."""
        return {"CI": None, "XDG_STATE_HOME": str(self.root.parent / "state"), "DOCKER_BUILDKIT": "1"}

    def document(self, *args: str) -> dict[str, Any]:
        """Return the JSON output of a task."""
        return dict(json.loads(self.invoke(*args, "--json").out))

    def mounts(self, *, held: bool = False) -> dict[str, dict[str, Any]]:
        """Return this project's mounts by kind, as `invoke cache` shows them once they are released and measured.

        Listing does not wait, and the engine measures a mount some time after the build that wrote it, without an
        event. `held`: return immediately, while a build holds the mounts.
        """
        for _ in range(60):
            listed = self.document("cache")["mounts"]
            mine = {m["kind"]: m for m in listed if m["project"] == self.scope}
            if held or all(m["bytes"] is not None and not m["in_use"] for m in mine.values()):
                break
            time.sleep(0.5)
        return mine

    def step_argv(self, run: str, out: Path, namespace: str = "") -> list[str]:
        """Return the argv of a build that opens the three mounts and runs a command in them."""
        use = self.bases.get("debian:bookworm-slim", "")
        named = [f"--build-context=debian:bookworm-slim=docker-image://{use}"] if use else []
        args = [f"--build-arg={k}={v}" for k, v in (("CACHE_SCOPE", self.scope), ("RUN", run), ("STEP", _nonce()))]
        args += [f"--build-arg=BUILDKIT_CACHE_MOUNT_NS={namespace}"] if namespace else []
        file = str(self.root / "docker" / "Dockerfile")
        where = ["--progress", "plain", "--output", f"type=local,dest={out}", "--file", file]
        return ["docker", "buildx", "build", *where, *named, *args, str(self.root)]

    def step(self, run: str = "true", namespace: str = "") -> str:
        """Run a command in the three mounts; return the digest and the path of every file in them."""
        out = self.root.parent / f"out-{_nonce()}"
        process.ok(self.step_argv(run, out, namespace), self.root, self.env)
        return (out / "sums").read_text()

    def in_mounts(self, run: str = "true", namespace: str = "") -> str:
        """Like `step`, for a project with its own Dockerfile, which the tests' Dockerfile replaces temporarily."""
        dockerfile = self.root / "docker" / "Dockerfile"
        text = dockerfile.read_text()
        dockerfile.write_text(MOUNTS)
        try:
            return self.step(run, namespace)
        finally:
            dockerfile.write_text(text)

    def remove_images(self) -> None:
        """Remove the images of a Rust site: layers that an image shares are not cleared."""
        process.run(["docker", "image", "rm", f"{self.scope}/api:dev", f"{self.scope}/worker:dev"], self.root)

    def clear(self) -> None:
        """Leave nothing behind."""
        self.invoke("cache.clear", "--yes")
        self.invoke("cache.clear", "--mount", "layers", "--yes")


def _nonce() -> str:
    return secrets.token_hex(4)


def make(folder: Path, bases: Mapping[str, str]) -> Site:
    """Create a project with three mounts and no Rust."""
    scope = f"bt-cache-{_nonce()}"
    root = folder / scope
    (root / "docker").mkdir(parents=True)
    (root / "docker" / "Dockerfile").write_text(MOUNTS)
    (root / "tasks.py").write_text("from buildkit_tasks import namespace\n")
    build = {"context": ".", "dockerfile": "docker/Dockerfile", "args": {"CACHE_SCOPE": scope}}
    (root / "compose.yaml").write_text(json.dumps({"name": scope, "services": {"app": {"build": build}}}))
    return Site(root, scope, bases)


CRATES = {
    "common": (
        '[dependencies]\nitoa = "=1.0.10"\ncfg-if = "1"\n[build-dependencies]\nautocfg = "1"\n',
        'pub fn number(n: u32) -> String { itoa::Buffer::new().format(n).to_owned() + env!("MADE") }\n',
    ),
    "api": (
        '[dependencies]\ncommon = { path = "../common" }\n',
        'fn main() { println!("api {}", common::number(7)); }\n',
    ),
    "worker": (
        '[dependencies]\ncommon = { path = "../common" }\nryu = "1"\n',
        'fn main() { println!("worker {} {}", common::number(8), ryu::Buffer::new().format(1.5)); }\n',
    ),
}


def cargo(folder: Path, bases: Mapping[str, str], *args: str) -> None:
    """Run the toolchain image's cargo on a directory: the machine that runs the tests may not have cargo."""
    image = bases.get("rust:1-bookworm", "rust:1-bookworm")
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    trust = ["-v", f"{bundle}:{bundle}:ro"] if bundle.is_file() else []
    process.ok(["docker", "run", "--rm", *trust, "-v", f"{folder}:/work", "-w", "/work", image, "cargo", *args], folder)


def make_rust(folder: Path, bases: Mapping[str, str]) -> Site:
    """Create two services that share a crate, with four small dependencies and this repository's Dockerfile."""
    scope = f"bt-cache-{_nonce()}"
    root = folder / scope
    shutil.copytree(REPOSITORY / "docker", root / "docker")
    for name, (manifest, source) in CRATES.items():
        crate = root / "services" / name
        (crate / "src").mkdir(parents=True)
        package = f'[package]\nname = "{name}"\nversion = "0.1.0"\nedition = "2021"\n'
        (crate / "Cargo.toml").write_text(package + manifest)
        (crate / "src" / ("lib.rs" if name == "common" else "main.rs")).write_text(source)
    (root / "services/common/build.rs").write_text(
        'fn main() { autocfg::rerun_path("build.rs"); println!("cargo:rustc-env=MADE=!"); }\n'
    )
    (root / "services/Cargo.toml").write_text(f'[workspace]\nmembers = {json.dumps(list(CRATES))}\nresolver = "2"\n')
    (root / "tasks.py").write_text("from buildkit_tasks import namespace\n")
    (root / ".dockerignore").write_text("*\n!services\n!docker/compile.rs\n!docker/cross.sh\n**/target\n")
    services = {
        name: {
            "image": f"{scope}/{name}:dev",
            "build": {
                "context": ".",
                "dockerfile": "docker/Dockerfile",
                "args": {"BIN": name, "CACHE_SCOPE": scope},
            },
        }
        for name in ("api", "worker")
    }
    (root / "compose.yaml").write_text(json.dumps({"name": scope, "services": services}))
    cargo(root / "services", bases, "generate-lockfile")
    return Site(root, scope, bases)
