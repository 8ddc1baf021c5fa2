"""`invoke explain`: explains a recorded build, or predicts the next one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from buildkit_tasks.builds import inputs as build_inputs
from buildkit_tasks.builds.prepare import plan_build
from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildRequest
from buildkit_tasks.history import keys, trees
from buildkit_tasks.history.gather import gather
from buildkit_tasks.history.model import Build
from buildkit_tasks.history.opened import chosen, opened
from buildkit_tasks.history.recorder import words
from buildkit_tasks.history.store import Store
from buildkit_tasks.project.discover import discover

from . import causes, crates, show
from .comparison import Kept


def explain(session: Session, services: Sequence[str], number: int) -> None:
    """Print why the steps of a build ran and its crates compiled. Problems: history-missing, unknown-service."""
    with opened(session) as store:
        build = chosen(store, number)
        earlier = [other for other in store.builds() if other.id < build.id]
        kept = Kept(store.listing, store.text)
        steps = causes.reasons(build, earlier, kept)
        names = [service.name for service in build.inputs.services]
        for name in services:
            if name not in names:
                raise Problem(
                    "unknown-service",
                    f"Build {build.id} did not build the service {name!r}.",
                    causes=[f"build {build.id} built {', '.join(names)}"],
                    hint="run `invoke history` to list the builds",
                )
        steps = tuple(reason for reason in steps if not services or reason.service in services)
        why = crates.reasons(build, earlier, kept)
    if session.report.json_only:
        session.report.envelope({"explain": show.document(build, steps, why)})
    else:
        session.report.answer(show.text(build, steps, why, time.time()))


def predict(session: Session, request: BuildRequest) -> None:
    """Print what the next build would run and why, without building. Problems: history-missing, any from planning."""
    with opened(session) as store:
        project = discover(session, lesser=True, named=request.services)
        plan = plan_build(session, project, request, look_only=True, missing=[])
        try:
            gathered = gather(session, project, plan, store)
        except ValueError as error:
            raise build_inputs.invalid_ignore_file(error) from error
        earlier = store.builds()
        inputs = gathered.inputs
        here = (inputs.engine, inputs.builder)
        old = next((b.inputs.bases for b in earlier if (b.inputs.engine, b.inputs.builder) == here), {})
        # do not query the registry: assume that base images have not changed since the last build
        bases = {ref: old[ref] if old.get(ref, "").startswith("registry ") else i for ref, i in inputs.bases.items()}
        inputs = replace(inputs, bases=bases, steps=keys.with_keys(inputs.steps, bases, gathered.key))
        build = Build(time.time(), 0.0, words(request), "planned", "", inputs)
        known = {
            step.key
            for other in earlier
            if causes.place(other) == causes.place(build)
            for step in other.inputs.steps
            if causes.has_result(other, step)
        }
        steps = tuple(replace(s, state="cached" if s.key in known and not s.no_cache else "ran") for s in inputs.steps)
        build = replace(build, inputs=replace(inputs, steps=steps))
        reasons = causes.reasons(build, earlier, Kept(_first(gathered.trees, store), _text(gathered.texts, store)))
    if session.report.json_only:
        session.report.envelope({"next": show.document(build, reasons, ())})
    else:
        session.report.answer(show.text(build, reasons, (), time.time()))


def _first(read: Mapping[str, trees.Tree], store: Store) -> trees.Find:
    """Return a function that finds a listing in the trees just read, or else in the history."""
    here = {digest: listing for tree in read.values() for digest, listing in tree.listings.items()}
    return lambda digest: here.get(digest) or store.listing(digest)


def _text(texts: Mapping[str, str], store: Store) -> Callable[[str], str | None]:
    return lambda digest: texts.get(digest) or store.text(digest)
