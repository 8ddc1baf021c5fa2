"""Lists, inspects, selects and removes buildx builders."""

from __future__ import annotations

import re
from typing import Any

from buildkit_tasks.builders import choice as builder_choice
from buildkit_tasks.builders import facts as builder_facts
from buildkit_tasks.builders.choice import listed, look, node_builder
from buildkit_tasks.builders.facts import Builder
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run, units
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockercli import buildx
from buildkit_tasks.engine import cache_records

HEADINGS = ("builder", "driver", "node", "endpoint", "state", "BuildKit", "platforms")


def show(session: Session) -> None:
    """List the builders and their nodes. Queries every node. Raises `Problem` command-failed."""
    every = listed(session)
    found = [b for b in every if not _child(b, every)]
    used = builder_choice.named(session)
    if session.report.json_only:
        session.report.envelope({"builders": [_document(b, used) for b in found]})
        return
    session.report.table(HEADINGS, [row for b in found for row in _rows(b, used)])


def inspect(session: Session, name: str) -> None:
    """Show one builder: its nodes, and the mounts on each. Problems: builder-missing, builder-refused."""
    found = look(session, name)
    held: dict[str, list[dict[str, Any]]] = {}
    why: dict[str, str] = {}
    for node in found.nodes:
        if node.running:
            held[node.name] = _mounts(session, node_builder(session, found, node))
        elif found.driver == "remote":
            why[node.name] = builder_choice.demand_entry(session, found, node)
    if session.report.json_only:
        document = _document(found, builder_choice.named(session))
        for item in document["nodes"]:
            item |= {"mounts": held.get(item["name"], []), "why": why.get(item["name"]) or None}
        session.report.envelope({"builder": document})
        return
    session.report.table(HEADINGS, _rows(found, builder_choice.named(session)))
    for name, reason in why.items():
        session.report.answer(f"{name}: {reason}")
    for name, mounts in held.items():
        session.report.answer(f"\n{name}: {units.counted(len(mounts), 'cache mount')}")
        for mount in mounts:
            session.report.answer(f"  {mount['id']}  {units.human(mount['bytes'] or 0)}")


def choose(session: Session, name: str) -> None:
    """Set docker's current builder, and print how to switch back. Raises `Problem` builder-missing."""
    before = builder_choice.named(session) or "default"
    look(session, name)
    run.check(session.world, buildx.builder_use(session.root, name))
    session.report.say(
        f"docker now builds on {name} in every project; to switch back, run `invoke builder.use {before}`"
    )
    session.report.say(f'to use it in this project only, set name = "{name}" under [tool.buildkit-tasks.builders]')


def remove(session: Session, name: str, *, keep_state: bool = False) -> None:
    """Remove a builder with its daemons and caches, after listing them. Remote daemons and their caches are kept.

    Problems: builder-missing, engine-not-ours for the engine's own builder, consent-missing.
    """
    found = look(session, name)
    if found.own:
        raise Problem(
            "engine-not-ours",
            f"{name} is the engine's own builder and cannot be removed.",
            hint="run `invoke cache.clear` to clear its caches",
        )
    made = found.driver != "remote"
    size = sum(m["bytes"] or 0 for m in _mounts(session, name)) if made else 0
    what = f"the builder {name} with {units.counted(len(found.nodes), 'node')} will be removed"
    if made and not keep_state:
        what += f", and its daemons and their caches will be deleted ({units.human(size)} in mounts)"
    if not session.report.consent(what):
        return
    for node in found.nodes:
        if builder_choice.there(session, single := builder_facts.child(name, node.name)):
            run.capture(session.world, buildx.builder_remove(session.root, single, keep_daemon=True, keep_state=True))
    run.check(session.world, buildx.builder_remove(session.root, name, keep_state=keep_state))
    session.report.say(f"removed builder {name}" + ("; its nodes' daemons keep running" if not made else ""))


# ---- output


def _child(one: Builder, every: tuple[Builder, ...]) -> bool:
    """Return whether a builder exists only for a single node of another builder."""
    return any(one.name == builder_facts.child(b.name, node.name) for b in every for node in b.nodes)


def _mounts(session: Session, name: str) -> list[dict[str, Any]]:
    result = run.capture(session.world, buildx.cache_records(session.root, name), timeout=builder_choice.PATIENCE)
    return [
        {"id": m.id, "bytes": m.size if m.measured else None} for m in cache_records.mounts(cache_records.read(result))
    ]


def _document(found: Builder, used: str) -> dict[str, Any]:
    return {
        "name": found.name,
        "driver": found.driver,
        "in_use": _used(found, used),
        "nodes": [
            {
                "name": node.name,
                "endpoint": node.endpoint,
                "status": node.status,
                "buildkit": node.buildkit or None,
                "platforms": list(dict.fromkeys((*node.fixed, *node.platforms))),
                "error": node.error or None,
            }
            for node in found.nodes
        ],
    }


def _rows(found: Builder, used: str) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for number, node in enumerate(found.nodes):
        name = found.name + (" (in use)" if _used(found, used) else "") if number == 0 else ""
        # amd64/v2 etc. are variants of a platform that is already listed
        places = [p for p in dict.fromkeys((*node.fixed, *node.platforms)) if not re.search(r"amd64/v\d$", p)]
        named = ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
        state = node.error or node.status
        rows.append((name, found.driver if number == 0 else "", node.name, node.endpoint, state, node.buildkit, named))
    return rows or [(found.name, found.driver, "-", "-", found.error or "?", "", "")]


def _used(found: Builder, used: str) -> bool:
    return found.name == used or (not used and found.own and found.name == "default")
