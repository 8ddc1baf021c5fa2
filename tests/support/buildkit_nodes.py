"""Build nodes: real BuildKit daemons with mTLS, each in a privileged container with separate data.

They use the host's network, so 127.0.0.1:PORT is the same registry for a node, the engine and the host.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.support import process
from tests.support.second_engine import free_port

#: BuildKit logs this when it is ready to accept clients.
LISTENS = "running server on"


@dataclass(frozen=True)
class Certificate:
    """PEM files: the trusted authority, our certificate, and its key."""

    ca: Path
    cert: Path
    key: Path

    @property
    def options(self) -> str:
        """Return the options for buildx's remote driver."""
        return f"cacert={self.ca},cert={self.cert},key={self.key}"


def certificates(place: Path) -> tuple[Certificate, Certificate]:
    """Create an authority, with certificates for a server on loopback and for a client."""
    place.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    ca = place / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    made = []
    for role in ("server", "client"):
        issued = authority.issue_cert("127.0.0.1", "localhost")
        cert, key = place / f"{role}.pem", place / f"{role}-key.pem"
        issued.private_key_pem.write_to_path(str(key))
        for number, blob in enumerate(issued.cert_chain_pems):
            blob.write_to_path(str(cert), append=number > 0)
        made.append(Certificate(ca, cert, key))
    return made[0], made[1]


@dataclass(frozen=True)
class Node:
    """A daemon in the container `name`; it listens on `port` of 127.0.0.1, even after `kill` and `start`."""

    name: str
    place: Path
    port: int

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    @property
    def logs(self) -> str:
        """Return the whole log."""
        return process.ok(["docker", "logs", self.name], self.place).all

    def inside(self, script: str) -> process.Done:
        """Run a script in the container."""
        return process.run(["docker", "exec", self.name, "sh", "-c", script], self.place)

    def kill(self) -> None:
        """Kill the daemon, as in a power cut."""
        process.ok(["docker", "kill", "--signal", "KILL", self.name], self.place)
        process.ok(["docker", "wait", self.name], self.place)

    def start(self) -> None:
        """Restart the daemon on the same data and wait until it listens."""
        process.ok(["docker", "start", self.name], self.place)
        process.wait_for_container(self.name, LISTENS)


@contextmanager
def running(
    image: str,
    place: Path,
    server: Certificate,
    *,
    platform: str = "",
    registries: Mapping[str, Path | None] | None = None,
) -> Iterator[Node]:
    """Run a node from this image; delete it and its data afterwards. Clients need a certificate from `server.ca`.

    `platform`: the platform that the node claims to build for, regardless of the host. `registries`: maps HOST:PORT to
    the authority's PEM file, or to None for plain http.
    """
    place.mkdir(parents=True, exist_ok=True)
    config = place / "buildkitd.toml"
    config.write_text("".join(_registry(host, ca) for host, ca in (registries or {}).items()))
    node = Node(f"buildkit-tasks-test-node-{secrets.token_hex(4)}", place, free_port())
    files = {server.ca, server.cert, server.key, *(ca for ca in (registries or {}).values() if ca), config}
    options = ["--tlscacert", str(server.ca), "--tlscert", str(server.cert), "--tlskey", str(server.key)]
    if platform:
        options += ["--oci-worker-platform", platform]
    try:
        process.ok(
            [
                *("docker", "run", "--detach", "--privileged", "--network", "host", "--name", node.name),
                *(part for file in sorted(files) for part in ("--volume", f"{file}:{file}:ro")),
                *(image, "--config", str(config), "--addr", node.address, *options),
            ],
            place,
        )
        process.wait_for_container(node.name, LISTENS)
        yield node
    finally:
        process.run(["docker", "rm", "--force", "--volumes", node.name], place)


def _registry(host: str, ca: Path | None) -> str:
    """Return a section of buildkitd.toml."""
    how = f"http = false\nca = [{json.dumps(str(ca))}]" if ca else "http = true"
    return f"[registry.{json.dumps(host)}]\n{how}\n"
