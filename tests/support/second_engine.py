"""Another engine of the same version, with separate data and a registry next to it, in a privileged container."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import oci_registry, process

_KILL = "kill -9 $(cat /run/registry.pid)"


@dataclass(frozen=True)
class SecondEngine:
    """Its address; `registry` has the same name on this machine and in the engine."""

    name: str
    place: Path
    registry: str
    command: tuple[str, ...] = field(default=(), repr=False)

    def start(self) -> None:
        """Start the engine with empty storage, and the registry with its existing data."""
        process.ok(list(self.command), self.place)
        process.wait_for_container(self.name, "API listen on")
        self.start_registry()

    def renew(self) -> None:
        """Replace the engine with a new one at the same address. The registry keeps its data."""
        process.ok(["docker", "rm", "-f", "-v", self.name], self.place)
        self.start()

    @property
    def socket(self) -> str:
        return f"unix://{self.place}/docker.sock"

    @property
    def blobs(self) -> Path:
        """Return the registry's storage directory."""
        return self.place / "registry/docker/registry/v2/blobs/sha256"

    def inside(self, script: str) -> process.Done:
        """Run a script in the container."""
        return process.run(["docker", "exec", self.name, "sh", "-c", script], self.place)

    def stop_registry(self) -> None:
        """Kill the registry, as in a power cut."""
        self.inside(_KILL)

    def stop_registry_at(self, words: str, after: float) -> None:
        """Kill the registry this many seconds after its log contains these words; return then, or after a minute.

        The script that kills it waits inside the container, because sending a layer only takes half a second.
        """
        log = f"{self.place}/registry.log"
        # tail exits when it cannot write
        then = f"grep -q -m 1 {words}; sleep {after}; {_KILL}; exec <&-; echo killed >> {log}"
        self.inside(f"timeout 60 tail -n 0 -f {log} | {{ {then}; }}")

    def start_registry(self) -> None:
        """Start the registry and wait until it listens."""
        log = self.place / "registry.log"
        log.write_text("")
        binary, config = self.place / "docker-registry", self.place / "registry.json"
        self.inside(f"setsid {binary} serve {config} >>{log} 2>&1 </dev/null & echo $! > /run/registry.pid")
        process.wait_for(["tail", "-n", "+1", "-f", str(log)], "listening on")


def free_port() -> int:
    """Return a free port on 127.0.0.1."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


@contextmanager
def running(base: str, place: Path, registry: Path, *, password: bool = False) -> Iterator[SecondEngine]:
    """Run the engine from this machine's own programs in a Debian image; delete it and its data afterwards.

    `password`: the registry only accepts the user of `oci_registry`.
    """
    name = f"buildkit-tasks-test-second-{secrets.token_hex(4)}"
    port = free_port()
    place.mkdir(parents=True, exist_ok=True)
    (place / "daemon.json").write_text(json.dumps({"features": {"containerd-snapshotter": True}}))
    settings: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "info", "formatter": "json"},
        "storage": {"filesystem": {"rootdirectory": str(place / "registry")}, "delete": {"enabled": True}},
        "http": {"addr": f"0.0.0.0:{port}"},
    }
    if password:
        settings["auth"] = {"htpasswd": {"realm": "test", "path": str(oci_registry.passwords(place))}}
    (place / "registry.json").write_text(json.dumps(settings))
    process.ok(["cp", str(registry), str(place / "docker-registry")], place)
    shared = [part for path in ("/usr", "/etc/alternatives", "/etc/ssl/certs") for part in ("-v", f"{path}:{path}:ro")]
    command = (
        *("docker", "run", "-d", "--privileged", "--name", name, "-v", "/var/lib/docker", *shared),
        *("-v", f"{place}:{place}", "-p", f"127.0.0.1:{port}:{port}", base),
        *("dockerd", "-H", f"unix://{place}/docker.sock", "--config-file", str(place / "daemon.json")),
    )
    made = SecondEngine(name, place, f"127.0.0.1:{port}", command)
    try:
        made.start()
        yield made
    finally:
        process.run(["docker", "rm", "-f", "-v", name], place)
