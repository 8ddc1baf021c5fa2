"""A real registry: Debian's docker-registry, unpacked, not installed, on loopback; TLS and passwords are optional."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import trustme

from tests.support import process

#: The directory that keeps the program between runs.
KEPT = Path.home() / ".cache/buildkit-tasks-tests/docker-registry"

USER, PASSWORD = "me", "a secret, with a colon: yes"


@dataclass
class Registry:
    """A running registry. `data` is its storage; `config` is a docker configuration directory with a login."""

    host: str
    data: Path
    config: Path
    server: subprocess.Popen[str]

    def kill(self) -> None:
        """Kill the registry, as in a power cut."""
        self.server.kill()
        self.server.wait()

    def blobs(self) -> list[Path]:
        """Return all blobs in storage, largest first."""
        found = self.data.glob("docker/registry/v2/blobs/sha256/*/*/data")
        return sorted(found, key=lambda path: path.stat().st_size, reverse=True)


def program(folder: Path = KEPT) -> Path:
    """Return the registry's program; download it from Debian into a directory that is kept between runs."""
    kept = folder / "usr/bin/docker-registry"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if process.run(["apt-get", "download", "-q", "docker-registry"], folder).code != 0:
            process.ok(["apt-get", "update", "-q"], folder)
            process.ok(["apt-get", "download", "-q", "docker-registry"], folder)
        (package,) = folder.glob("docker-registry_*.deb")
        process.ok(["dpkg-deb", "--extract", str(package), str(folder)], folder)
    return kept


@contextmanager
def running(binary: Path, place: Path, *, tls: bool = False, password: bool = False) -> Iterator[Registry]:
    """Run a registry on a free port of 127.0.0.1, with deletion enabled."""
    place.mkdir(parents=True, exist_ok=True)
    data, config = place / "data", place / "docker"
    data.mkdir(exist_ok=True)
    config.mkdir(exist_ok=True)
    settings: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "info", "formatter": "json"},
        "storage": {"filesystem": {"rootdirectory": str(data)}, "delete": {"enabled": True}},
        "http": {"addr": "127.0.0.1:0"},
    }
    if tls:
        settings["http"] = {"addr": "127.0.0.1:0", "tls": _certificate(place)}
    if password:
        settings["auth"] = {"htpasswd": {"realm": "test", "path": str(passwords(place))}}
    (place / "config.json").write_text(json.dumps(settings))
    server = subprocess.Popen(
        [str(binary), "serve", str(place / "config.json")], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    # read and discard further output: a full pipe would block the registry
    assert server.stderr is not None
    reader = threading.Thread(target=server.stderr.read, daemon=True)
    try:
        host = _listening(server)
        reader.start()
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        (config / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}} if password else {}))
        yield Registry(host, data, config, server)
    finally:
        with suppress(ProcessLookupError):
            server.kill()
        server.wait()
        if reader.is_alive():
            reader.join()
        server.stderr.close()
        shutil.rmtree(data, ignore_errors=True)


def _listening(server: subprocess.Popen[str]) -> str:
    """Return the address it listens on: it chooses the port and prints it."""
    assert server.stderr is not None
    said = []
    for line in server.stderr:
        said.append(line)
        if found := re.search(r"listening on (127\.0\.0\.1:\d+)", line):
            return found[1]
    raise AssertionError("".join(said))


def _certificate(place: Path) -> dict[str, str]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(place / "ca.pem"))
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(str(place / "key.pem"))
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(str(place / "cert.pem"), append=number > 0)
    return {"certificate": str(place / "cert.pem"), "key": str(place / "key.pem")}


def passwords(place: Path) -> Path:
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (place / "htpasswd").write_text(f"{USER}:{hashed}\n")
    return place / "htpasswd"
