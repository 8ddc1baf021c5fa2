"""The caches of a builder with several nodes: which node holds which mounts."""

from __future__ import annotations

from buildkit_tasks import cache_view
from buildkit_tasks.builders import Builder

from . import cache
from .builders import node_builder
from .project import discover
from .session import Session


def view(session: Session, found: Builder, unseen: float) -> None:
    """A table for each node. buildx lists the records of all nodes as one; the nodes' own builders keep them apart."""
    project = discover(session)
    told = []
    for node in found.nodes:
        if not node.running:
            session.report.warn(f"{node.name} ({node.endpoint}) does not answer")
            told.append({"node": node.name, "endpoint": node.endpoint, "answers": False})
            continue
        single = node_builder(session, found, node)
        if single == found.name:
            session.report.warn(f"{node.name} cannot be asked alone: it was not added by invoke builder.create")
            continue
        here = cache.look(session, project, builder=single, unseen=unseen)
        told.append({"node": node.name, "endpoint": node.endpoint, "answers": True, **cache_view.document(here)})
        if not session.report.json_only:
            session.report.answer(f"{node.name} ({node.endpoint})")
            session.report.table(cache_view.HEADINGS, cache_view.rows(here, bars=session.report.fancy))
            session.report.answer(cache_view.summary(here) + "\n")
    if session.report.json_only:
        session.report.envelope({"builder": found.name, "nodes": told})
