"""Queries the project for doctor: compose file, ports, .env, sources, base images."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import readfile, run, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Workspace
from buildkit_tasks.dockercli import compose_cli, docker
from buildkit_tasks.dotenv import disk as dotenv_disk
from buildkit_tasks.dotenv import edit as dotenv_edit
from buildkit_tasks.dotenv import text as dotenv_text
from buildkit_tasks.engine import facts as engine_facts
from buildkit_tasks.images import bases as image_flow
from buildkit_tasks.images import choice as image_choice
from buildkit_tasks.images import names as image_names
from buildkit_tasks.project import host_ports, sources
from buildkit_tasks.project.discover import read_workspace
from buildkit_tasks.registry import names as registry_names
from buildkit_tasks.registry import reachable

from . import PortUse, health

#: Typical placeholder values, and names of variables that are secrets.
_PLACEHOLDER = re.compile(
    r"change[-_ ]?(?:me|it|this)?|todo|fixme|secret|password|passw0rd|example|placeholder|admin"
    r"|x{3,}|\*{3,}|<.*>|12345\d*",
    re.IGNORECASE,
)
_SECRET = re.compile(r"PASS(?:WORD|WD)?|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|CREDENTIAL", re.IGNORECASE)


def the_compose_file(session: Session) -> dict[str, Any]:
    """Return the facts from the compose model: ports, bind sources, health checks, base images."""
    try:
        workspace = read_workspace(session)
    except Problem as problem:
        if problem.code == "compose-invalid":
            words = [problem.message, *problem.details.strip().splitlines()[-1:]]
            return {"compose_read": True, "compose_error": (" ".join(words), problem.hint)}
        if problem.code == "dotenv-incomplete":
            return {"compose_read": False, "dotenv_wanted": (problem.message, problem.hint)}
        return {"compose_read": False}  # caused by docker or .env: their own checks report it
    lacking, unsure = health.read(workspace)
    return {
        "compose_read": True,
        "published": tuple(p.published for p in workspace.ports),
        **_ports(session, workspace),
        "dockerfiles_missing": tuple(_dockerfiles(workspace)),
        "missing_sources": _sources(workspace),
        "health_tools": lacking,
        "health_unsure": unsure,
        **_base_images(session, workspace),
    }


def _dockerfiles(workspace: Workspace) -> Iterable[str]:
    """Yield the problems of the services' Dockerfiles and contexts."""
    for service in workspace.services:
        try:
            sources.read(service)
        except Problem as problem:
            yield problem.message


def _ports(session: Session, workspace: Workspace) -> dict[str, Any]:
    """Return published ports in use by another program, if the engine publishes ports on this machine."""
    if not workspace.ports:
        return {}
    found = engine_facts.facts(session.world, session.root)
    if not host_ports.shared_network(found.host_name, engine_facts.host(session.world, session.root)):
        return {"ports_elsewhere": True}
    return {"ports_taken": _taken(session, workspace)}


def _taken(session: Session, workspace: Workspace) -> tuple[PortUse, ...]:
    """Return ports in use by other programs. A running service's own port does not count."""
    busy = [p for p in workspace.ports if host_ports.taken(p.host, p.published, p.protocol)]
    if not busy:
        return ()
    root = session.root
    rows = shapes.answers(run.capture(session.world, compose_cli.containers(root, workspace.compose_files)))
    running = {r.get("Service") for r in rows if r.get("State") == "running"}
    raw = None
    found = []
    for port in busy:
        if port.service in running:
            continue
        if raw is None:
            asked = run.capture(session.world, compose_cli.raw_config(root, workspace.compose_files))
            raw = shapes.answer(asked, dict) if asked.stdout else {}
        name = host_ports.variable(raw, port.service, port.target)
        found.append(PortUse(port.service, port.published, host_ports.user(session.world, root, port), name))
    return tuple(found)


def _sources(workspace: Workspace) -> tuple[str, ...]:
    """Return missing bind sources. With the short syntax, compose creates a directory instead."""
    missing: dict[str, None] = {}
    for service in (workspace.config.get("services") or {}).values():
        for volume in service.get("volumes") or ():
            if isinstance(volume, dict) and volume.get("type") == "bind" and not Path(volume["source"]).exists():
                missing[str(volume["source"])] = None
    return tuple(missing)


def _base_images(session: Session, workspace: Workspace) -> dict[str, Any]:
    """Return whether a registry is needed at all, and if so, whether it responds."""
    refs = image_flow.references(workspace)
    offline = {ref: recipe.image for ref in refs if (recipe := image_names.recipe_for(ref))}
    try:
        here = image_choice.held(session, [*refs, *offline.values()])
    except Problem:
        return {"registry_state": "unasked"}
    if all(ref in here or offline.get(ref) in here for ref in refs):
        return {}
    host = session.settings.images.registry.partition("/")[0] or registry_names.HUB
    answers, words = reachable.reachable(session.world, [host], session.settings.build.ca_bundle)
    state = "open" if answers else "untrusted" if "CERTIFICATE_VERIFY" in words.upper() else "closed"
    lost = tuple(ref for ref in refs if ref not in here and ref not in offline)
    return {"registry": host, "registry_state": state, "registry_words": words, "registry_lost": lost}


def dotenv(session: Session) -> dict[str, Any]:
    """Compare .env with .env.example: names and modes, never values."""
    try:
        path = session.dotenv_file
        example_path = path.with_name(".env.example")
        values = session.dotenv
        text, example = dotenv_disk.read(path), dotenv_disk.read(example_path)
    except Problem as problem:
        return {"dotenv": True, "dotenv_error": problem.message, "dotenv_hint": problem.hint}
    answer: dict[str, Any] = {"dotenv_example": example is not None}
    if text is not None:
        answer |= {"dotenv": True, "dotenv_mode": path.stat().st_mode & 0o777}
        listed = run.capture(session.world, docker.git(session.root, "ls-files", "--", str(path)))
        answer["dotenv_tracked"] = bool(listed.stdout.strip())
    elif example is not None:
        answer["dotenv"] = False
    if example is not None:
        try:
            lacking = dotenv_edit.lacking(example, text or "", dotenv_edit.empty_names(example))
        except dotenv_text.Refused as refused:
            unread = dotenv_disk.invalid(example_path, refused)
            return {**answer, "dotenv_error": unread.message, "dotenv_hint": unread.hint}
        answer["dotenv_missing"] = tuple(k for k in lacking if k not in session.world.env)
    answer["dotenv_placeholders"] = placeholders(values)
    return answer


def placeholders(values: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of secrets that are still set to a placeholder."""
    return tuple(k for k, v in values.items() if _SECRET.search(k) and _PLACEHOLDER.fullmatch(v.strip()))


def locks(session: Session) -> dict[str, Any]:
    """Return lock files that git ignores, and workspaces without one, at most two directories deep."""
    root = session.root
    manifests = [p for pattern in ("Cargo.toml", "*/Cargo.toml") for p in sorted(root.glob(pattern))]
    texts = {p: readfile.text(p, "replace") for p in manifests}
    spaces = [p for p, text in texts.items() if re.search(r"(?m)^\s*\[workspace", text)]
    # a standalone package has its own lock file; a workspace member uses the workspace's
    spaces += [p for p in manifests if p not in spaces and not any(s.parent in p.parents for s in spaces)]
    missing = [
        str(p.with_name("Cargo.lock").relative_to(root)) for p in spaces if not p.with_name("Cargo.lock").exists()
    ]
    there = [str(p.with_name("Cargo.lock").relative_to(root)) for p in spaces if p.with_name("Cargo.lock").exists()]
    ignored: list[str] = []
    if there:
        try:
            asked = run.capture(session.world, docker.git(root, "check-ignore", "--", *there))
            ignored = asked.stdout.split()
        except Problem:
            pass  # no git, so nothing is ignored
    return {"locks_seen": bool(spaces), "locks_missing": tuple(missing), "locks_ignored": tuple(ignored)}


def settings(session: Session) -> dict[str, Any]:
    """Return the limits from the settings: disk, cache budget, CA bundle."""
    try:
        wanted = session.settings
    except Problem:
        return {}  # broken .env or pyproject.toml: the .env check or any other task reports it
    return {
        "root": str(session.root),
        "min_disk": wanted.caches.min_free,
        "cache_budget": wanted.caches.budget,
        "ca_bundle": wanted.build.ca_bundle,
        "ca_state": ca_state(Path(wanted.build.ca_bundle)) if wanted.build.ca_bundle else "",
    }


def ca_state(path: Path) -> str:
    """Return ok, missing, broken (contains no PEM certificate) or expired (all certificates)."""
    if not path.is_file():
        return "missing"
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        trust.load_verify_locations(cafile=str(path))
        held = trust.get_ca_certs()
    except (OSError, ValueError):
        return "broken"
    now = time.time()
    ends = [ssl.cert_time_to_seconds(str(c["notAfter"])) for c in held if "notAfter" in c]
    return "expired" if ends and max(ends) < now else "ok" if ends else "broken"


QUESTIONS: tuple[Callable[[Session], dict[str, Any]], ...] = (the_compose_file, dotenv, locks, settings)
