"""Shows the caches of a builder with multiple nodes, node by node."""

from __future__ import annotations

from buildkit_tasks.builders import choice as builder_choice
from buildkit_tasks.builders.choice import node_builder
from buildkit_tasks.builders.facts import Builder
from buildkit_tasks.config.session import Session
from buildkit_tasks.project.discover import discover

from . import look as cache_look
from . import view as cache_view


def view(session: Session, *, builder: str = "", older: str = "14d", inside: bool = False) -> None:
    """Show the same as `look.view`, but per node if the builder has several. Same problems, plus builder-missing."""
    name = builder or builder_choice.named(session)
    found = builder_choice.look(session, name) if name else None
    if found and len(found.nodes) > 1:
        _nodes(session, found, cache_look.seconds(older, "older"))
    else:
        cache_look.view(session, builder=builder, older=older, inside=inside)


def _nodes(session: Session, found: Builder, unseen: float) -> None:
    """Print a table per node. buildx lists all nodes' records together; a node's own builder lists only its records."""
    project = discover(session, looking=True)
    nodes = []
    for node in found.nodes:
        if not node.running:
            session.report.warn(f"{node.name} ({node.endpoint}) is unreachable")
            nodes.append({"node": node.name, "endpoint": node.endpoint, "answers": False})
            continue
        single = node_builder(session, found, node)
        if single == found.name:
            session.report.warn(f"cannot list {node.name} separately: it was not added by `invoke builder.create`")
            continue
        here = cache_look.look(session, project, builder=single, unseen=unseen)
        nodes.append({"node": node.name, "endpoint": node.endpoint, "answers": True, **cache_view.document(here)})
        if not session.report.json_only:
            session.report.answer(f"{node.name} ({node.endpoint})")
            session.report.table(cache_view.HEADINGS, cache_view.rows(here, bars=session.report.fancy))
            session.report.answer(cache_view.summary(here) + "\n")
    if session.report.json_only:
        session.report.envelope({"builder": found.name, "nodes": nodes})
