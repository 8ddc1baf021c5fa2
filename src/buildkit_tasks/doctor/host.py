"""Queries the machine for doctor: docker command, engine, builder, kernel, shell. Each returns part of `Facts`."""

from __future__ import annotations

import platform
import re
import shutil
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from buildkit_tasks.builders import facts as builder_facts
from buildkit_tasks.builders.facts import Node
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import readfile, run, shapes, units
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command
from buildkit_tasks.dockercli import buildx, docker
from buildkit_tasks.engine import facts as engine_facts
from buildkit_tasks.shells import buildkit_line, enable, startup_file

from . import Builder

#: Timeout of one query in seconds; doctor as a whole may take three.
PATIENCE = 2.5

DAEMON_JSON = Path("/etc/docker/daemon.json")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_ENV = ("DOCKER_BUILDKIT", "COMPOSE_DOCKER_CLI_BUILD", "BUILDX_BUILDER", "DOCKER_HOST", "DOCKER_CONTEXT")


def client(session: Session) -> dict[str, Any]:
    """Return the docker commands on PATH, podman, compose v1, and the client's configuration."""
    path = session.world.env.get("PATH", "")
    clis = _all_on(path, "docker")
    config = session.world.docker_config / "config.json"
    v1 = ""
    if standalone := shutil.which("docker-compose", path=path):
        asked = run.capture(session.world, Command((standalone, "version", "--short"), Path("/")), timeout=PATIENCE)
        v1 = standalone if asked.stdout.strip().lstrip("v").startswith("1.") else ""
    return {
        "clis": tuple(map(str, clis)),
        "clis_differ": _differ(session, clis) if len(clis) > 1 else "",
        "podman_cli": bool(clis) and _is_podman(clis[0]),
        "podman": shutil.which("podman", path=path) is not None,
        "compose_v1": v1,
        "client_config": _json_file(config) or {},
        "env": {
            k: v
            for k, v in session.world.env.items()
            if k in _ENV or k in _PROXIES or k in [p.lower() for p in _PROXIES]
        },
    }


def the_engine(session: Session) -> dict[str, Any]:
    """Return everything from one `docker info`, or why the engine does not respond."""
    here = Path("/")
    began = time.time()
    try:
        result = run.capture(session.world, docker.info(here), timeout=PATIENCE)
    except Problem:
        return {}  # no docker command: another check reports it
    took = time.time() - began
    info, words = engine_facts.read_info(result)
    found = engine_facts.parse(info)
    answer: dict[str, Any] = {"engine": found, "context": found.context}
    if not found.version:
        problem = engine_facts.silent(session.world, here, words)
        answer["silent"] = (problem.message, problem.hint)
    else:
        answer |= {
            "client": engine_facts.version(str((info.get("ClientInfo") or {}).get("Version") or "")) or None,
            "rootless": any("rootless" in str(o) for o in info.get("SecurityOptions") or ()),
            "memory": info.get("MemTotal") or None,
            "daemon_config": _daemon_config() if Path(found.root_dir).exists() else None,
        }
        if (stamp := _stamp(str(info.get("SystemTime") or ""))) is not None:
            answer |= {"skew": stamp - (began + took / 2), "skew_error": took / 2}
        if found.version < engine_facts.MINIMUM["engine"]:
            parts = run.capture(session.world, docker.server_components(here), timeout=PATIENCE).stdout
            answer["podman_engine"] = "podman" in parts.lower()
    return answer


def the_context(session: Session) -> dict[str, Any]:
    """Return the context's address, and whether its engine is down while the default engine responds."""
    try:
        address = engine_facts.host(session.world, Path("/"))
    except Problem:
        return {}
    path = engine_facts.local_socket(address)
    dead = (
        path is not None
        and path not in engine_facts.DEFAULT_SOCKETS
        and engine_facts.knock(path) == "closed"
        and any(engine_facts.knock(p) == "open" for p in engine_facts.DEFAULT_SOCKETS)
    )
    return {"context_host": address, "context_dead": dead}


def the_builder(session: Session) -> dict[str, Any]:
    """Return the current builder as reported by `docker buildx inspect`."""
    wanted = _wanted_builder(session)
    try:
        asked = run.capture(session.world, buildx.builder_details(Path("/"), wanted), timeout=PATIENCE)
    except Problem:
        return {}
    found = builder_facts.read_inspect(asked.stdout)
    if not found.driver:
        missing = wanted or (session.world.env.get("BUILDX_BUILDER", "") if "no builder" in asked.stderr else "")
        return {"builder": Builder(missing, "", "missing", wanted=bool(wanted))} if missing else {}
    first = found.nodes[0] if found.nodes else Node("", "", "")
    status = found.error or first.error or first.status
    return {"builder": Builder(found.name, found.driver, status, first.platforms, wanted=bool(wanted))}


def _wanted_builder(session: Session) -> str:
    """Return the builder set in this project's settings, or an empty string."""
    try:
        name = session.settings.builders.name
    except Problem:
        return ""
    return "" if name in ("auto", "legacy") else name


def the_cache(session: Session) -> dict[str, Any]:
    """Return the size of the build cache."""
    try:
        text = run.capture(session.world, buildx.cache_total(Path("/")), timeout=PATIENCE).stdout
    except Problem:
        return {}
    found = re.search(r"^Total:\s+(\S+)", text, re.MULTILINE)
    return {"cache_size": units.size(found[1])} if found else {}


def machine(_session: Session) -> dict[str, Any]:
    """Return the kernel and its settings, from /proc."""
    proc = Path("/proc/sys")
    emulators = {}
    for entry in (proc / "fs/binfmt_misc").glob("qemu-*"):
        emulators[entry.name] = entry.read_text()
    limits = {}
    for name in ("max_user_watches", "max_user_instances"):
        if (file := proc / "fs/inotify" / name).is_file():
            limits[name] = int(file.read_text())
    low = proc / "net/ipv4/ip_unprivileged_port_start"
    return {
        "binfmt": emulators,
        "inotify": limits,
        "kernel": platform.release(),
        "unprivileged_port": int(low.read_text()) if low.is_file() else 1024,
    }


def shell(session: Session) -> dict[str, Any]:
    """Return the state of the login shell's startup files and completion."""
    from buildkit_tasks.shells.completion import state

    try:
        name = enable.login_shell(session.world)
    except Problem:
        return {}
    config = buildkit_line.config_dir(session.world.env, session.world.home)
    file = buildkit_line.env_file(name, config)
    is_set, broken, off = False, "", []
    for path in enable.start_files(session.world, name):
        try:
            text = startup_file.read(path) or ""
        except Problem:
            continue
        if buildkit_line.present(text):
            is_set = True
            broken = broken or ("" if file.is_file() else str(path))
        else:
            off += [f"{path}:{n}" for n in buildkit_line.overruled(text)]
    return {"rc_set": is_set, "rc_broken": broken, "rc_off": tuple(off), "completion": state(session.world, name)}


def disk(root: Path) -> dict[str, Any]:
    """Return the free space in the engine's data directory, if it is on this machine."""
    try:
        return {"disk_path": str(root), "disk_free": shutil.disk_usage(root).free}
    except OSError:
        return {}


QUESTIONS: tuple[Callable[[Session], dict[str, Any]], ...] = (
    client,
    the_engine,
    the_context,
    the_builder,
    the_cache,
    machine,
    shell,
)


def _all_on(path: str, name: str) -> list[Path]:
    """Return every executable of that name on PATH, in order. Links to the same program count once."""
    found: dict[Path, Path] = {}
    for folder in path.split(":"):
        place = shutil.which(name, path=folder) if folder else None
        if place:
            found.setdefault(readfile.real(Path(place)), Path(place))
    return list(found.values())


def _differ(session: Session, clis: list[Path]) -> str:
    """Return the plugins that differ between two docker commands. Each command also searches its own directories."""
    found = []
    for cli in clis[:2]:
        info = Command((str(cli), "info", "--format", "{{json .ClientInfo}}"), Path("/"))
        answer = _json(run.capture(session.world, info, timeout=PATIENCE).stdout)
        plugins = (answer or {}).get("Plugins") or () if isinstance(answer, dict) else ()
        found.append({p.get("Name"): p.get("Version") for p in plugins if p.get("Name") in ("buildx", "compose")})
    names = [n for n in ("buildx", "compose") if found[0].get(n) != found[1].get(n)]
    return ", ".join(f"{n} {found[0].get(n, 'missing')} and {found[1].get(n, 'missing')}" for n in names)


def _is_podman(cli: Path) -> bool:
    """Return whether this is podman-docker, which installs a link to podman or a short script that calls it."""
    if readfile.real(cli).name.startswith("podman"):
        return True
    try:
        with cli.open("rb") as file:
            head = file.read(400)
    except OSError:
        return False
    return head.startswith(b"#!") and b"podman" in head


def _stamp(text: str) -> float | None:
    """Parse RFC 3339 to seconds. Drops nanoseconds: Python before 3.11 supports neither them nor Z."""
    found = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,6})?\d*(Z|[+-]\d\d:\d\d)", text)
    if not found:
        return None
    zone = "+00:00" if found[3] == "Z" else found[3]
    return datetime.fromisoformat(found[1] + zone).timestamp() + float(found[2] or 0)


def _json(text: str) -> Any:
    try:
        return shapes.loads(text, object)
    except ValueError:
        return None


def _daemon_config() -> dict[str, Any] | None:
    """Return the engine's configuration file: `{}` if there is none, None if it cannot be read."""
    return _json_file(DAEMON_JSON) if DAEMON_JSON.exists() else {}


def _json_file(path: Path) -> dict[str, Any] | None:
    try:
        content = _json(readfile.text(path))
    except (OSError, UnicodeDecodeError):
        return None
    return content if isinstance(content, dict) else None
