"""The newest buildx and compose of Debian testing, unpacked next to the installed ones and used with DOCKER_CONFIG."""

from __future__ import annotations

import hashlib
import lzma
import os
import subprocess
import urllib.request
from pathlib import Path

MIRROR = "http://deb.debian.org/debian"
INDEX = f"{MIRROR}/dists/forky/main/binary-amd64/Packages.xz"


def config() -> Path:
    """Return a directory for DOCKER_CONFIG; download it once per machine and check it against the index's digests.

    Set BT_NEW_PLUGINS to use an existing directory instead.
    """
    if given := os.environ.get("BT_NEW_PLUGINS"):
        return Path(given)
    place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "buildkit-tasks-tests" / "forky"
    plugins = place / "config" / "cli-plugins"
    if not all((plugins / name).exists() for name in ("docker-buildx", "docker-compose")):
        plugins.mkdir(parents=True, exist_ok=True)
        for name in ("docker-buildx", "docker-compose"):
            subprocess.run(["dpkg-deb", "-x", str(_fetched(place, name)), str(place / "root")], check=True)
            link = plugins / name
            link.unlink(missing_ok=True)
            link.symlink_to(place / "root/usr/libexec/docker/cli-plugins" / name)
    return place / "config"


def _fetched(place: Path, name: str) -> Path:
    index = place / "Packages.xz"
    if not index.exists():
        urllib.request.urlretrieve(INDEX, index)  # noqa: S310 - a fixed address
    for paragraph in lzma.decompress(index.read_bytes()).decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Package") == name:
            file = place / f"{name}.deb"
            urllib.request.urlretrieve(f"{MIRROR}/{fields['Filename']}", file)  # noqa: S310 - a fixed address
            assert hashlib.sha256(file.read_bytes()).hexdigest() == fields["SHA256"], f"{name}: another file"
            return file
    raise AssertionError(f"{INDEX} has no {name}")
