"""Installs an engine on Debian and Ubuntu: decides on a plan, applies it, and undoes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildkit_tasks.core import files, readfile, run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command, Engine, Version
from buildkit_tasks.core.world import World
from buildkit_tasks.engine import apt, host
from buildkit_tasks.engine.host import Release

from .facts import MINIMUM, lacking, version

#: A second source for releases with docker packages that are too old: its name and the packages to install from it.
#: They work with the older release's own libraries, runc and iptables.
SECOND = {"bookworm": "trixie"}
FROM_SECOND = ("docker.io", "docker-cli", "docker-buildx", "docker-compose", "containerd")

SOURCE_FILE = Path("/etc/apt/sources.list.d/buildkit-tasks.sources")
PIN_FILE = Path("/etc/apt/preferences.d/buildkit-tasks.pref")
#: User and password of the mirror, readable only by root, because a sources file is public. See apt_auth.conf(5).
AUTH_FILE = Path("/etc/apt/auth.conf.d/buildkit-tasks.conf")
DAEMON_FILE = Path("/etc/docker/daemon.json")

#: The first line of the apt files that we write; a file without it is not ours, even if it has the same name.
MARK = "# Made by buildkit-tasks; `invoke engine.install --undo` removes it.\n"

#: Enables multi-platform images and faster exports. Only for an engine that we installed.
DAEMON_JSON = '{\n  "features": {\n    "containerd-snapshotter": true\n  }\n}\n'

INSTRUCTIONS = {
    "macos": "install Docker Desktop (https://docs.docker.com/desktop/setup/install/mac-install/), "
    "or: brew install colima docker docker-buildx docker-compose && colima start",
    "fedora": "sudo dnf install moby-engine docker-cli docker-buildx docker-compose "
    "&& sudo systemctl enable --now docker",
    "arch": "sudo pacman -S docker docker-buildx docker-compose && sudo systemctl enable --now docker",
    "alpine": "doas apk add docker docker-cli-buildx docker-cli-compose && doas rc-service docker start",
    "suse": "sudo zypper install docker docker-buildx docker-compose && sudo systemctl enable --now docker",
    "rhel": "follow https://docs.docker.com/engine/install/rhel/",
}


@dataclass(frozen=True)
class Plan:
    """What an installation changes: files (path, text) and packages. `second`: the release of the second apt source."""

    files: tuple[tuple[Path, str], ...]
    packages: tuple[str, ...]
    second: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """The changes as lines for the prompt and the log."""
        lines = []
        for path, _ in self.files:
            why = {
                SOURCE_FILE: f"adds {self.second} as a second source, with this machine's mirror and keyring",
                PIN_FILE: "limits the second source to the docker packages",
                AUTH_FILE: "contains the mirror's username and password, readable only by root",
                DAEMON_FILE: "enables the containerd image store",
            }[path]
            lines.append(f"write {path}: {why}")
        lines.append(f"apt-get install {' '.join(self.packages)}")
        return tuple(lines)


def decide(
    release: Release,
    sources: Sequence[apt.Source],
    candidates: Mapping[str, Version],
    installed: Iterable[str],
    have: Engine | None,
    *,
    daemon_json: bool,
) -> Plan:
    """Decide what to install for the full tier. Pure.

    `candidates`: versions that apt would install now; `installed`: installed packages; `have`: what docker reports,
    None without a docker command; `daemon_json`: whether the engine has a configuration, which is then not changed.
    Raises `Problem` engine-install-unsupported with exact instructions.
    """
    if not release.apt:
        raise unsupported(release)
    there = set(installed)
    missing = lacking(have) if have else tuple(MINIMUM)
    if "docker-ce" in there:  # installed from Docker's own packages; Debian's would replace them
        names: dict[str, tuple[str, ...]] = {
            "engine": ("docker-ce",),
            "buildx": ("docker-buildx-plugin",),
            "compose": ("docker-compose-plugin",),
        }
        wanted = [package for part in missing for package in names[part]]
        if not all(p in candidates for p in wanted):
            raise unsupported(release)
        return Plan((), tuple(wanted))
    ubuntu = "ubuntu" in (release.id, *release.like)
    names = {
        "engine": ("docker.io", "iptables"),
        "buildx": ("docker-buildx",),
        "compose": ("docker-compose-v2" if ubuntu else "docker-compose",),
    }
    wanted = [package for part in missing for package in names[part]]
    fresh = "engine" in missing and not daemon_json and "docker.io" not in there
    settings: list[tuple[Path, str]] = [(DAEMON_FILE, DAEMON_JSON)] if fresh else []
    if all(candidates.get(names[part][0], ()) >= MINIMUM[part] for part in missing):
        if "docker-cli" in candidates and "engine" in missing:
            wanted.insert(1, "docker-cli")
        return Plan(tuple(settings), tuple(wanted))
    second = SECOND.get(release.codename, "") if release.id == "debian" else ""
    main = apt.debian_main(sources, release.codename)
    if not second or not main:
        raise unsupported(release)
    if "engine" in missing:
        wanted.insert(1, "docker-cli")
    source = apt.Source(main.uris, (second,), ("main",), main.options or {"Signed-By": apt.KEYRING})
    source, login = apt.without_credentials(source)
    text = MARK + apt.render([source])
    pins = MARK + apt.pin(second, FROM_SECOND)
    auth = ((AUTH_FILE, MARK + "".join(f"{line}\n" for line in login)),) if login else ()
    return Plan(((SOURCE_FILE, text), (PIN_FILE, pins), *auth, *settings), tuple(wanted), second)


def unsupported(release: Release) -> Problem:
    """Return the problem, with exact instructions, for a system that we do not install an engine on."""
    kin = [release.id, *release.like]
    known = {"centos": "rhel", "opensuse": "suse", "archlinux": "arch"}
    key = next((k for name in kin if (k := known.get(name, name)) in INSTRUCTIONS), "")
    return Problem(
        "engine-install-unsupported",
        f"buildkit-tasks cannot install an engine on {release.name}.",
        causes=["supported: Debian 12 and newer, Ubuntu 22.04 and newer"],
        hint=INSTRUCTIONS.get(key, "follow https://docs.docker.com/engine/install/"),
    )


def candidates(world: World) -> dict[str, Version]:
    """Map the packages we may need to the versions that apt would install now; `{}` if its package lists are empty."""
    names = (
        *("docker.io", "docker-cli", "docker-buildx", "docker-compose", "docker-compose-v2"),
        *("docker-ce", "docker-buildx-plugin", "docker-compose-plugin"),
    )
    argv = ("apt-cache", "show", "--no-all-versions", *names)
    text = run.capture(world, Command(argv, Path("/"))).stdout
    return {
        entry["Package"]: version(re.sub(r"^\d+:", "", entry["Version"]))
        for entry in apt.fields(text)
        if "Package" in entry and "Version" in entry
    }


def installed(world: World) -> set[str]:
    """Return the names of all installed packages."""
    argv = ("dpkg-query", "--show", "--showformat", "${db:Status-Abbrev} ${Package}\\n")
    lines = run.capture(world, Command(argv, Path("/"))).stdout.splitlines()
    return {line.split()[-1] for line in lines if line.startswith("ii")}


def apply(world: World, plan: Plan, before: set[str]) -> None:
    """Apply the plan; the caller must have root privileges. On failure, removes the files it wrote."""
    written: list[Path] = []
    _record(world, recorded(world))  # first: `--undo` must know our files even if we are killed
    try:
        for path, text in plan.files:
            host.write_as_root(world, path, text, mode="600" if path == AUTH_FILE else "644")
            written.append(path)
        if plan.second:
            host.apt_get(world, ("update",), "engine-install-failed")
        host.apt_install(world, plan.packages, "engine-install-failed")
    except BaseException:
        for path in written:
            run.capture(world, host.as_root(("rm", "-f", str(path))))
        raise
    _record(world, sorted((installed(world) - before) | set(recorded(world))))


def _record(world: World, packages: Iterable[str]) -> None:
    _record_file(world).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.replace(_record_file(world), json.dumps({"packages": list(packages)}, indent=1) + "\n")


def _record_file(world: World) -> Path:
    return world.state_home / "engine-install.json"


def recorded(world: World) -> tuple[str, ...]:
    """Return the packages added by our installation, including dependencies."""
    kept = readfile.state(_record_file(world)).get("packages")
    return tuple(name for name in kept if isinstance(name, str)) if isinstance(kept, list) else ()


def ours(world: World, root: Path = Path("/")) -> tuple[Path, ...]:
    """Return the files on this machine that we created. daemon.json counts as ours only if nobody has changed it."""
    found = []
    for path in (SOURCE_FILE, PIN_FILE, AUTH_FILE, DAEMON_FILE):
        try:
            text = (root / path.relative_to("/")).read_text("utf-8", errors="replace")
        except PermissionError:
            text = MARK  # AUTH_FILE, recognized by name: only root can read it
        except OSError:
            continue
        if text == DAEMON_JSON and _record_file(world).exists() if path == DAEMON_FILE else text.startswith(MARK):
            found.append(path)
    return tuple(found)


def forget(world: World) -> None:
    """Delete the record of the installation."""
    _record_file(world).unlink(missing_ok=True)
