"""Tasks for the build caches."""

from __future__ import annotations

from collections.abc import Sequence

from invoke.tasks import task

from buildkit_tasks.core.session import Session

from .edge import told

BUILDER = "buildx builder to look at (default: the one in use)"
YES = "answer the question with yes"
JSON = "print one JSON document"


@task(
    default=True,
    help={
        "inside": "open this project's mounts and show what fills them",
        "advice": "say when to clear what, with the command and its price",
        "gc": "say what the builder's own garbage collection will do to the mounts",
        "older": "flag mounts not used for this long",
        "builder": BUILDER,
        "json": JSON,
    },
)
@told
def view(
    session: Session,
    inside: bool = False,
    advice: bool = False,
    gc: bool = False,
    older: str = "14d",
    builder: str = "",
    json: bool = False,
) -> None:
    """Show every cache mount: kind, project, platform, size, last use; then layers, images and the sums."""
    from buildkit_tasks.caches import advise as cache_advise
    from buildkit_tasks.caches import gc as engine_gc
    from buildkit_tasks.caches import nodes as cache_nodes

    if advice:
        cache_advise.advice(session, builder=builder)
    elif gc:
        engine_gc.show(session, builder=builder)
    else:
        cache_nodes.view(session, builder=builder, older=older, inside=inside)


@task(
    iterable=["mount", "service"],
    help={
        "mount": "a mount's id, or a kind: target, cargo-registry, cargo-git, apt, npm, other, layers; repeatable",
        "service": "only mounts that this service's build uses, repeatable",
        "platform": "only mounts of this platform, as linux/arm64",
        "project": "mounts of this project (default: ours)",
        "older": "only what was not used for this long, as 14d",
        "everything": "the whole build cache of every project; the word has to be typed",
        "confirm": "the typed word, where nobody can type",
        "dry_run": "only show what would go",
        "builder": BUILDER,
        "yes": YES,
        "json": JSON,
    },
)
@told
def clear(
    session: Session,
    mount: Sequence[str] | None = None,
    service: Sequence[str] | None = None,
    platform: str = "",
    project: str = "",
    older: str = "",
    everything: bool = False,
    confirm: str = "",
    dry_run: bool = False,
    builder: str = "",
    yes: bool = False,
    json: bool = False,
) -> None:
    """Clear exactly the mounts chosen (default: all of this project); shows what and how much first."""
    from buildkit_tasks.caches import clear as cache_clear
    from buildkit_tasks.caches.records import Selection

    chosen = Selection(wanted=tuple(mount or ()), platform=platform, project=project, everything=everything)
    cache_clear.clear(
        session, chosen, services=service or (), older=older, builder=builder, confirm=confirm, dry_run=dry_run
    )


@task(
    help={
        "keep": "at most so much is left, as 10GB (default: the setting caches.budget; without one only leftovers go)",
        "dry_run": "only show what would go",
        "builder": BUILDER,
        "yes": YES,
        "json": JSON,
    },
)
@told
def trim(
    session: Session, keep: str = "", dry_run: bool = False, builder: str = "", yes: bool = False, json: bool = False
) -> None:
    """Sweep what no build needs out of the mounts, then bring this project's caches below a size."""
    from buildkit_tasks.caches import trim as cache_trim

    cache_trim.trim(session, keep=keep, builder=builder, dry_run=dry_run)


REF = "the registry's repository, as HOST/PATH (default: the setting packs.repository)"
PLATFORM = "platform of the mounts, as linux/arm64 (default: the engine's own)"
PROFILE = "cargo profile (default: the setting `profile`)"
SCOPE = "all, or deps: only what the lock file brings (default: the setting packs.scope)"
PROGRESS = "auto, plain, verbose or quiet"


@task(
    help={
        "ref": REF,
        "platform": PLATFORM,
        "profile": PROFILE,
        "scope": SCOPE,
        "force": "also where it does not pay, or where the policy says no",
        "builder": BUILDER,
        "progress": PROGRESS,
        "json": JSON,
    },
)
@told
def push(
    session: Session,
    ref: str = "",
    platform: str = "",
    profile: str = "",
    scope: str = "",
    force: bool = False,
    builder: str = "",
    progress: str = "auto",
    json: bool = False,
) -> None:
    """Pack compiled dependencies and downloads, and push them to a registry."""
    from buildkit_tasks.packs import push as pack_push
    from buildkit_tasks.packs.pack import Wanted

    pack_push.push(session, Wanted(ref, platform, profile, scope, builder, progress), force=force)


@task(
    help={
        "ref": REF,
        "platform": PLATFORM,
        "profile": PROFILE,
        "scope": SCOPE,
        "replace": "also over mounts that hold objects of the profile",
        "builder": BUILDER,
        "progress": PROGRESS,
        "json": JSON,
    },
)
@told
def pull(
    session: Session,
    ref: str = "",
    platform: str = "",
    profile: str = "",
    scope: str = "",
    replace: bool = False,
    builder: str = "",
    progress: str = "auto",
    json: bool = False,
) -> None:
    """Fill the mounts with the nearest pack of a registry: the first build compiles the workspace's crates only."""
    from buildkit_tasks.packs import pull as pack_pull
    from buildkit_tasks.packs.pack import Wanted

    pack_pull.pull(session, Wanted(ref, platform, profile, scope, builder, progress), replace=replace)


@task(name="list", help={"ref": REF, "json": JSON})
@told
def list_(session: Session, ref: str = "", json: bool = False) -> None:
    """List the packs in a registry's repository."""
    from buildkit_tasks.packs import stored as pack_stored

    pack_stored.show(session, ref=ref)


@task(
    help={
        "ref": REF,
        "keep": "so many of each kind always stay, the newest",
        "older": "only those made longer ago than this, as 30d",
        "dry_run": "only show what would go",
        "yes": YES,
        "json": JSON,
    },
)
@told
def expire(
    session: Session,
    ref: str = "",
    keep: int = 3,
    older: str = "30d",
    dry_run: bool = False,
    yes: bool = False,
    json: bool = False,
) -> None:
    """Delete old packs from a registry that offers deletion."""
    from buildkit_tasks.packs import stored as pack_stored

    pack_stored.expire(session, ref=ref, keep=keep, older=older, dry_run=dry_run)


@task(
    iterable=["profile", "platform"],
    help={
        "profile": "cargo profile, repeatable (default: the setting `profile`)",
        "platform": "platform, as linux/arm64, repeatable (default: the engine's own)",
        "builder": BUILDER,
        "progress": "auto, plain, verbose or quiet",
        "json": JSON,
    },
)
@told
def warm(
    session: Session,
    profile: Sequence[str] | None = None,
    platform: Sequence[str] | None = None,
    builder: str = "",
    progress: str = "auto",
    json: bool = False,
) -> None:
    """Fetch and compile all dependencies, and nothing of the workspace's own crates."""
    from buildkit_tasks.caches import warm as cache_warm

    cache_warm.warm(session, profiles=profile or (), platforms=platform or (), builder=builder, progress=progress)
