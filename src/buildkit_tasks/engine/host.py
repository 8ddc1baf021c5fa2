"""This machine: its release and init system, whether this process is root, and how to run a command as root."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command
from buildkit_tasks.core.world import World

from . import apt

SOURCES = Path("/etc/apt")


@dataclass(frozen=True)
class Release:
    """The operating system: `id` as in os-release ("debian", "macos", …), `like` its relatives, and its codename."""

    id: str
    like: tuple[str, ...]
    codename: str
    name: str

    @property
    def apt(self) -> bool:
        """True for Debian, Ubuntu and their derivatives."""
        return bool({"debian", "ubuntu"} & {self.id, *self.like})


def parse_release(text: str) -> Release:
    """Parse os-release(5); missing fields are empty."""
    values = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not name.startswith("#"):
            words = shlex.split(value)
            values[name.strip()] = words[0] if words else ""
    return Release(
        values.get("ID", ""),
        tuple(values.get("ID_LIKE", "").split()),
        values.get("VERSION_CODENAME", "") or values.get("UBUNTU_CODENAME", ""),
        values.get("PRETTY_NAME", "") or values.get("ID", "this system"),
    )


def release() -> Release:
    """Return the release of this machine."""
    if sys.platform == "darwin":
        return Release("macos", (), "", "macOS")
    for place in (Path("/etc/os-release"), Path("/usr/lib/os-release")):
        try:
            return parse_release(place.read_text("utf-8", errors="replace"))
        except OSError:
            continue
    return Release(sys.platform, (), "", sys.platform)


def systemd() -> bool:
    """Return whether PID 1 is systemd. The directory is the documented test, see sd_booted(3)."""
    return Path("/run/systemd/system").is_dir()


def which(world: World, program: str) -> str | None:
    """Find a program. Also searches sbin, where daemons are installed and which is often missing from users' PATH."""
    return shutil.which(program, path=f"{world.env.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")


def is_root() -> bool:
    """Return whether we are root and do not need sudo."""
    return os.geteuid() == 0


def rights(world: World, what: str) -> None:
    """Make sure that `as_root` will work: asks for the sudo password now rather than later.

    Raises `Problem` root-needed if we cannot become root.
    """
    if is_root():
        return
    hint = f"run as root, or ask an administrator to {what}"
    if not which(world, "sudo"):
        raise Problem("root-needed", f"Root privileges are required to {what}, but sudo is not installed.", hint=hint)
    home = Path("/")
    if run.capture(world, Command(("sudo", "-n", "true"), home)).code == 0:
        return
    if not world.interactive or run.foreground(world, Command(("sudo", "-v"), home)) != 0:
        raise Problem("root-needed", f"Root privileges are required to {what}, but sudo denied them.", hint=hint)


def as_root(argv: Sequence[str], *, cwd: Path = Path("/"), stdin: str | None = None) -> Command:
    """Return the command as root: unchanged, or with sudo, which must not ask for a password (call `rights` first)."""
    return Command((*(() if is_root() else ("sudo", "-n")), *argv), cwd, (), stdin)


def apt_sources(folder: Path = SOURCES) -> tuple[apt.Source, ...]:
    """Return every package source that apt reads on this machine, except ours."""
    found: list[apt.Source] = []
    places = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    for place in places:
        if place.name.startswith("buildkit-tasks"):
            continue
        try:
            text = place.read_text("utf-8", errors="replace")
        except OSError:
            continue
        if place.suffix == ".list":
            found += apt.parse_list(text)
        elif place.suffix == ".sources":
            found += apt.parse_sources(text)
    return tuple(found)


def write_as_root(world: World, path: Path, text: str, *, mode: str = "644") -> None:
    """Write a system file with this octal mode, creating its directory. The text is not passed on a command line."""
    run.check(world, as_root(("install", "-D", "-m", mode, "/dev/stdin", str(path)), stdin=text))


def remove_as_root(world: World, path: Path) -> None:
    """Remove one system file."""
    run.check(world, as_root(("rm", "-f", str(path))))


def apt_get(world: World, args: Sequence[str], code: str) -> None:
    """Run apt-get quietly, waiting for the lock of another apt. Raises `Problem` with apt's last lines if it fails."""
    options = ("-q", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Options::=--force-confold")
    result = run.capture(world, as_root(("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *options, *args)))
    if result.code != 0:
        said = [*result.stdout.splitlines()[-6:], *result.stderr.splitlines()[-12:]]
        raise Problem(
            code,
            f"apt-get {args[0]} failed.",
            details="\n".join(said),
            causes=["another program may be installing packages"] if "lock" in result.stderr else [],
            hint="fix the problem that apt reports, then rerun this command",
        )


def apt_install(world: World, packages: Sequence[str], code: str) -> None:
    """Install packages without recommended ones; updates the package lists if they are missing or old."""
    args = ("install", "-y", "--no-install-recommends", *packages)
    try:
        apt_get(world, args, code)
    except Problem:
        apt_get(world, ("update",), code)
        apt_get(world, args, code)
