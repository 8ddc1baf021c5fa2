"""Debian 12's Docker 20.10.24 without buildx: the daemon in a privileged container, and the matching docker command."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import process

#: Where docker looks for system-wide plugins.
PLUGINS = ("/usr/libexec", "/usr/lib", "/usr/local/lib", "/usr/local/libexec")
PACKAGES = "docker.io iptables libfaketime"
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


@dataclass(frozen=True)
class OldEngine:
    """The container, and a directory shared with the tests: socket, docker command, plugins, data directories."""

    name: str
    place: Path

    def environment(self, home: Path, socket: str = "docker.sock") -> Mapping[str, str | None]:
        """Return the environment of a user of this docker, without CI, which changes how builds work."""
        return {
            "PATH": f"{self.place}/bin:{process.BIN}:/usr/bin:/bin:/usr/sbin:/sbin",
            "DOCKER_HOST": f"unix://{self.place}/{socket}",
            "DOCKER_CONFIG": str(self.place / "config"),
            "HOME": str(home),
            "SHELL": "/bin/bash",
            "XDG_STATE_HOME": None,
            "XDG_CONFIG_HOME": None,
            "DOCKER_BUILDKIT": None,
            "COMPOSE_DOCKER_CLI_BUILD": None,
            "CI": None,
        }

    def run(self, *argv: str, cwd: Path, home: Path, socket: str = "docker.sock", **env: str) -> process.Done:
        """Run a program on a machine with our compose as the only docker plugin."""
        hide = " && ".join(
            f"mount --bind {self.place}/empty {folder}/docker/cli-plugins"
            for folder in PLUGINS
            if Path(folder, "docker/cli-plugins").is_dir()
        )
        apart = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
        return process.run(
            [*apart, "sh", "-c", f'{hide or "true"} && exec "$@"', "sh", *argv],
            cwd,
            {**self.environment(home, socket), **env},
        )

    def docker(self, *argv: str, cwd: Path) -> process.Done:
        """Run the old docker command against the old engine."""
        done = self.run("docker", *argv, cwd=cwd, home=cwd)
        assert done.code == 0, done.all
        return done

    def inside(self, *argv: str) -> process.Done:
        """Run a program in the container."""
        return process.ok(["docker", "exec", self.name, *argv], self.place)

    def load(self, image: str) -> None:
        """Copy an image from the current engine to the old one, which cannot read zstd layers.

        Uses the method of docs/how-to/base-images.md, but uncompressed, because nothing leaves the machine.
        """
        output = "type=docker,dest=-,compression=uncompressed,force-compression=true"
        save = ["docker", "buildx", "build", "--quiet", "--provenance=false", "--tag", image, "--output", output, "-"]
        with subprocess.Popen(save, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as given:
            assert given.stdin is not None
            given.stdin.write(f"FROM {image}\n".encode())
            given.stdin.close()
            argv = [str(self.place / "bin/docker"), "-H", f"unix://{self.place}/docker.sock", "load"]
            done = subprocess.run(argv, stdin=given.stdout, capture_output=True, text=True, check=False)
        assert (given.returncode, done.returncode) == (0, 0), done.stderr


@contextmanager
def running(base: str, place: Path) -> Iterator[OldEngine]:
    """Start the engine; delete it and all its data afterwards. `base` is an image based on Debian 12."""
    name = f"buildkit-tasks-test-old-{uuid.uuid4().hex[:8]}"
    for folder in ("bin", "empty", "config/cli-plugins"):
        (place / folder).mkdir(parents=True)
    if os.geteuid() == 0:  # a small disk, mounted before the container starts so that both can access it
        (place / "small").mkdir()
        with (place / "disk.img").open("wb") as disk:
            disk.truncate(300_000_000)
        process.ok(["mkfs.ext4", "-q", str(place / "disk.img")], place)
        process.ok(["mount", "-o", "loop", str(place / "disk.img"), str(place / "small")], place)
    install = (
        f"apt-get update -qq && apt-get install -y -qq --no-install-recommends {PACKAGES} >/dev/null "
        f"&& exec dockerd -H unix://{place}/docker.sock"
    )
    ca = "/etc/ssl/certs/ca-certificates.crt"
    try:
        process.ok(
            [
                *(
                    "docker",
                    "run",
                    "-d",
                    "--privileged",
                    "--name",
                    name,
                    "-v",
                    "/var/lib/docker",
                    "-v",
                    f"{ca}:{ca}:ro",
                ),
                *("-v", f"{place}:{place}", base, "sh", "-c", install),
            ],
            place,
        )
        process.wait_for_container(name, "API listen on")
        process.ok(["docker", "cp", "-q", f"{name}:/usr/bin/docker", str(place / "bin/docker")], place)
        for folder in PLUGINS:
            if Path(folder, "docker/cli-plugins/docker-compose").exists():
                shutil.copy(Path(folder, "docker/cli-plugins/docker-compose"), place / "config/cli-plugins")
        yield OldEngine(name, place)
    finally:
        process.run(["docker", "rm", "-f", "-v", name], place)
        process.run(["umount", "--lazy", str(place / "small")], place)
