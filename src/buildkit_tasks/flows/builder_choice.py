"""Which builder a build goes to, whether its nodes answer, and what takes its place when one is lost."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from buildkit_tasks import builders, command, run
from buildkit_tasks.builders import Builder, Node
from buildkit_tasks.errors import Problem
from buildkit_tasks.model import Engine

from .session import Session

#: Seconds that the nodes of a builder may take to answer; buildx itself waits for 20.
PATIENCE = 25.0


def named(session: Session) -> str:
    """The builder that the setting, BUILDX_BUILDER or `docker buildx use` names; empty for the engine's own."""
    _ = session.settings  # puts a builder of the settings into the environment
    if given := session.world.env.get("BUILDX_BUILDER", ""):
        return "" if given == session.world.env.get("DOCKER_CONTEXT", "default") else given
    home = Path(session.world.env.get("DOCKER_CONFIG") or session.world.home / ".docker")
    place = Path(session.world.env.get("BUILDX_CONFIG") or home / "buildx")
    try:
        # read, not asked for: every build would pay a tenth of a second for the answer that nothing was chosen
        return str(json.loads((place / "current").read_text("utf-8")).get("Name", "") or "")
    except (OSError, ValueError, AttributeError):
        return ""


def chosen(session: Session) -> Builder:
    """The builder that a build would go to, with its nodes where it is not the engine's own.

    Raises `Problem` builder-missing.
    """
    name = named(session)
    return look(session, name) if name else builders.OWN


def ready(session: Session, engine: Engine, platforms: Sequence[str]) -> Builder:
    """Like `chosen`, and goes round a node that does not answer. Problems: builder-missing, builder-refused."""
    found = chosen(session)
    dead = check(session, found, platforms)
    return go_round(session, engine, found.name, [dead]) if dead else found


def go_round(session: Session, engine: Engine, name: str, dead: Sequence[Node]) -> Builder:
    """Take another builder for the rest of this session, and say why."""
    other, words = _instead(session, engine, name, [node.name for node in dead])
    lost = ", ".join(f"{node.name} ({node.endpoint})" for node in dead)
    session.report.warn(f"the builder {name} lost {lost}: building on {words}")
    session.use_builder(other)
    return look(session, other)


def after_failure(session: Session, engine: Engine, name: str, platforms: Sequence[str], problem: Problem) -> bool:
    """Whether a build that failed on a builder is worth another try, on what is then the session's builder.

    Decided by asking the nodes, not by what the failure said. Raises `Problem` builder-refused.
    """
    if problem.code not in ("build-failed", "image-unavailable", "build-killed"):
        return False
    found = look(session, name)
    if dead := _silent(session, found, platforms):
        go_round(session, engine, name, dead)
        return True
    if builders.lost("\n".join((*problem.causes, problem.details))):
        session.report.warn(f"the builder {name} was lost for a moment: building again")
        return True
    return False


def look(session: Session, name: str) -> Builder:
    """A builder and how its nodes are. Raises `Problem` builder-missing."""
    result = run.capture(session.world, command.builder_details(session.root, name), timeout=PATIENCE)
    found = builders.read_inspect(result.stdout)
    if found.name:
        return found
    raise Problem(
        "builder-missing",
        f"There is no builder {name!r}.",
        causes=[line for line in result.stderr.strip().splitlines()[-1:] if line],
        hint="invoke builder    (lists them; builder.create makes one; without any, unset the setting `builder`)",
    )


def for_platforms(session: Session, platforms: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Builder to the platforms that the setting platform_builders gives it; "" for those it does not name.

    Raises `Problem` settings-invalid.
    """
    wanted: dict[str, str] = {}
    for word in session.settings.platform_builders.split():
        platform, equals, name = word.partition("=")
        if not equals or not name or not platform:
            raise Problem(
                "settings-invalid",
                f"platform_builders = {word!r} names no builder.",
                hint='platform_builders = "linux/arm64=NAME"; invoke builder lists the names',
            )
        wanted[platform if "/" in platform else f"linux/{platform}"] = name
    found: dict[str, tuple[str, ...]] = {}
    for platform in platforms:
        name = wanted.get(platform, "")
        found[name] = (*found.get(name, ()), platform)
    return found


def check(session: Session, found: Builder, platforms: Sequence[str]) -> Node | None:
    """The first node that this build needs and that is not there. Raises `Problem` builder-refused.

    Containers and pods that do not run are no loss: buildx starts them.
    """
    if found.own or found.driver != "remote":
        return None
    return next(iter(_silent(session, found, platforms)), None)


def _silent(session: Session, found: Builder, platforms: Sequence[str]) -> list[Node]:
    """The nodes needed that do not answer. Raises `Problem` builder-refused where one is there and turns us away."""
    needed = dict.fromkeys(found.node_for(platform) for platform in platforms or ("",))
    dead = [node for node in needed if node and not node.running]
    for node in dead:
        demand_entry(session, found, node)
    return dead


def demand_entry(session: Session, found: Builder, node: Node) -> str:
    """Why a node does not answer, in BuildKit's words. Raises `Problem` builder-refused for one that turns us away.

    `docker buildx inspect` calls both inactive, a build waits 20 s for either; the listing of its cache tells at once.
    """
    single = builders.child(found.name, node.name)
    said = ""
    for name in (single, found.name):
        asked = run.capture(session.world, command.cache_records(session.root, name), timeout=PATIENCE)
        said = asked.stderr.strip()
        if asked.code == 0 or not said.endswith(f'"{name}" found'):
            break
    why = (re.findall(r'desc = "?(.*?)"?$', said, re.MULTILINE) or said.splitlines()[-1:] or [""])[-1]
    if builders.refused(why):
        raise Problem(
            "builder-refused",
            f"The node {node.name} ({node.endpoint}) does not let us in.",
            causes=[why, "each side's certificate has to be signed by the authority that the other side trusts"],
            hint="invoke builder.create NAME --certificates DIR    (the client's of that node's own authority; a builder "
            "that has others: invoke builder.remove NAME first)",
        )
    return why


def _instead(session: Session, engine: Engine, name: str, dead: Sequence[str]) -> tuple[str, str]:
    """The builder to take when nodes of one are lost, and words for it: another of its nodes, else the engine's own."""
    known = {b.name for b in listed(session)}
    for node in builders.without(look(session, name), dead).nodes:
        single = builders.child(name, node.name)
        if node.running and single in known:
            return single, f"the node {node.name} ({node.endpoint})"
    return engine.context, "this machine's own engine"


def listed(session: Session) -> tuple[Builder, ...]:
    """All builders. Raises `Problem` command-failed."""
    return builders.read_list(run.check(session.world, command.builder_list(session.root), timeout=PATIENCE).stdout)
