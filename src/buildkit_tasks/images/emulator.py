"""QEMU for a short check of another platform's program. Installs nothing and registers nothing in the kernel."""

from __future__ import annotations

import tempfile
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import files, run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command
from buildkit_tasks.engine import host

#: Architectures as named by QEMU.
NAMES = {"amd64": "x86_64", "arm64": "aarch64"}


def program(session: Session, platform: str) -> Path:
    """Return a static emulator for a platform's programs: the machine's own, or unpacked from Debian's package.

    Raises `Problem` command-missing.
    """
    arch = platform.split("/")[1]
    name = f"qemu-{NAMES.get(arch, arch)}-static"
    there = host.which(session.world, name)
    if there:
        return Path(there)
    kept = session.world.state_home / "qemu" / name
    if not kept.exists():
        _fetch(session, kept)
    return kept


def _fetch(session: Session, kept: Path) -> None:
    if not host.which(session.world, "apt-get"):
        raise Problem(
            "command-missing",
            f"Starting a program for another platform requires {kept.name}, which is not installed.",
            hint="install qemu-user-static or use --no-start",
        )
    session.report.say("  downloading qemu-user-static (Debian's package, unpacked but not installed)")
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as folder:
        place = Path(folder)
        place.chmod(0o755)  # apt downloads as a separate user
        run.check(session.world, Command(("apt-get", "download", "-qq", "qemu-user-static"), place))
        for package in place.glob("*.deb"):
            run.check(session.world, Command(("dpkg-deb", "-x", str(package), "tree"), place))
        found = place / "tree/usr/bin" / kept.name
        if not found.exists():
            raise Problem(
                "command-missing", f"The package qemu-user-static does not contain {kept.name}.", hint="use --no-start"
            )
        kept.parent.mkdir(parents=True, exist_ok=True)
        files.replace(kept, found.read_bytes(), mode=0o755)
