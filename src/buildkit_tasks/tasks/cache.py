"""Tasks for the build caches."""

from __future__ import annotations

from collections.abc import Sequence

from buildkit_tasks.config.session import Session

from .edge import reported, task

BUILDER = "buildx builder to use (default: the current one)"
YES = "answer yes to all prompts"
JSON = "print a single JSON document"


@task(
    default=True,
    help={
        "inside": "look inside this project's mounts and show what takes up space",
        "advice": "recommend what to clear, with the command to run and the cost of clearing it",
        "gc": "show how the builder's garbage collection affects the mounts",
        "older": "flag mounts unused for this long, for example 14d or 12h",
        "builder": BUILDER,
        "json": JSON,
    },
)
@reported
def view(
    session: Session,
    inside: bool = False,
    advice: bool = False,
    gc: bool = False,
    older: str = "14d",
    builder: str = "",
    json: bool = False,
) -> None:
    """Show cache mounts with kind, project, platform, size and last use, then layers, cargo's volumes and totals."""
    from buildkit_tasks.caches import gc as engine_gc
    from buildkit_tasks.caches import nodes as cache_nodes
    from buildkit_tasks.caches import recommend

    if advice:
        recommend.advice(session, builder=builder)
    elif gc:
        engine_gc.show(session, builder=builder)
    else:
        cache_nodes.view(session, builder=builder, older=older, inside=inside)


@task(
    iterable=["mount", "service"],
    help={
        "mount": "mount id, or kind (target, cargo-registry, apt, npm, pip, go …, layers, volumes); repeatable",
        "service": "only mounts used by this service's build, for example api; repeatable",
        "platform": "only mounts for this platform, for example linux/arm64",
        "project": "only mounts used by this project (default: the current project)",
        "older": "only mounts unused for this long, for example 14d",
        "everything": "clear the entire build cache, for all projects; asks you to type `everything`",
        "confirm": "the confirmation word for --everything, for scripts",
        "dry_run": "only show what would be deleted",
        "builder": BUILDER,
        "yes": YES,
        "json": JSON,
    },
)
@reported
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
    """Clear the selected mounts (default: all of this project's), after listing them with their sizes."""
    from buildkit_tasks.caches import clear as cache_clear
    from buildkit_tasks.caches.selection import Selection

    chosen = Selection(wanted=tuple(mount or ()), platform=platform, project=project, everything=everything)
    cache_clear.clear(
        session, chosen, services=service or (), older=older, builder=builder, confirm=confirm, dry_run=dry_run
    )


@task(
    help={
        "keep": "shrink to this size, for example 10GB (default: caches.budget; if unset, delete only leftovers)",
        "dry_run": "only show what would be deleted",
        "builder": BUILDER,
        "yes": YES,
        "json": JSON,
    },
)
@reported
def trim(
    session: Session, keep: str = "", dry_run: bool = False, builder: str = "", yes: bool = False, json: bool = False
) -> None:
    """Delete leftovers from the mounts, then shrink this project's caches to a given size."""
    from buildkit_tasks.caches import trim as cache_trim

    cache_trim.trim(session, keep=keep, builder=builder, dry_run=dry_run)


REF = "repository, for example ghcr.io/owner/project-cache (default: the packs.repository setting)"
PLATFORM = "platform of the mounts, for example linux/arm64 (default: the engine's platform)"
PROFILE = "cargo profile, for example dev (default: the build.profile setting)"
SCOPE = "all, or deps to leave out the workspace's own crates (default: the packs.scope setting)"
PROGRESS = "auto, plain, verbose or quiet"
MOUNT = "share another tool's mount instead, given by id or by kind such as npm, pip, apt or go; repeatable"
CARGO = "share what `cargo.test` and other cargo tasks compiled, instead of the build mounts"
KEY_FILE = "with --mount: file that identifies the pack, for example web/package-lock.json; repeatable"


@task(
    iterable=["mount", "key_file"],
    help={
        "ref": REF,
        "mount": MOUNT,
        "key_file": KEY_FILE,
        "cargo": CARGO,
        "platform": PLATFORM,
        "profile": PROFILE,
        "scope": SCOPE,
        "force": "push even if the pack is not worth uploading or the packs.push setting forbids it",
        "builder": BUILDER,
        "progress": PROGRESS,
        "json": JSON,
    },
)
@reported
def push(
    session: Session,
    ref: str = "",
    mount: Sequence[str] | None = None,
    key_file: Sequence[str] | None = None,
    cargo: bool = False,
    platform: str = "",
    profile: str = "",
    scope: str = "",
    force: bool = False,
    builder: str = "",
    progress: str = "auto",
    json: bool = False,
) -> None:
    """Push compiled dependencies and downloads to a registry as a pack."""
    from buildkit_tasks.packs import carry
    from buildkit_tasks.packs import push as pack_push
    from buildkit_tasks.packs.pack import Wanted

    wanted = Wanted(ref=ref, platform=platform, profile=profile, scope=scope, builder=builder, progress=progress)
    if named := carry.named(mount or (), key_file or (), alone=not cargo):
        carry.push(session, wanted, named, force=force)
    elif cargo:
        from buildkit_tasks.cargo import shared

        shared.push(session, wanted, force=force)
    else:
        pack_push.push(session, wanted, force=force)


@task(
    iterable=["mount", "key_file"],
    help={
        "ref": REF,
        "mount": MOUNT,
        "key_file": KEY_FILE,
        "cargo": CARGO,
        "platform": PLATFORM,
        "profile": PROFILE,
        "scope": SCOPE,
        "replace": "replace the current contents of the profile's mounts",
        "builder": BUILDER,
        "progress": PROGRESS,
        "json": JSON,
    },
)
@reported
def pull(
    session: Session,
    ref: str = "",
    mount: Sequence[str] | None = None,
    key_file: Sequence[str] | None = None,
    cargo: bool = False,
    platform: str = "",
    profile: str = "",
    scope: str = "",
    replace: bool = False,
    builder: str = "",
    progress: str = "auto",
    json: bool = False,
) -> None:
    """Fill the mounts from the best matching pack; the first build then compiles only the workspace's crates."""
    from buildkit_tasks.packs import carry
    from buildkit_tasks.packs import pull as pack_pull
    from buildkit_tasks.packs.pack import Wanted

    wanted = Wanted(ref=ref, platform=platform, profile=profile, scope=scope, builder=builder, progress=progress)
    if named := carry.named(mount or (), key_file or (), alone=not cargo):
        carry.pull(session, wanted, named, replace=replace)
    elif cargo:
        from buildkit_tasks.cargo import shared

        shared.pull(session, wanted, replace=replace)
    else:
        pack_pull.pull(session, wanted, replace=replace)


@task(name="list", help={"ref": REF, "json": JSON})
@reported
def list_(session: Session, ref: str = "", json: bool = False) -> None:
    """List the packs in a repository."""
    from buildkit_tasks.packs import stored as pack_stored

    pack_stored.show(session, ref=ref)


@task(
    help={
        "ref": REF,
        "keep": "keep the newest N packs of each kind, for example 3",
        "older": "only packs older than this, for example 30d",
        "dry_run": "only show what would be deleted",
        "yes": YES,
        "json": JSON,
    },
)
@reported
def expire(
    session: Session,
    ref: str = "",
    keep: int = 3,
    older: str = "30d",
    dry_run: bool = False,
    yes: bool = False,
    json: bool = False,
) -> None:
    """Delete old packs, if the registry supports deletion."""
    from buildkit_tasks.packs import stored as pack_stored

    pack_stored.expire(session, ref=ref, keep=keep, older=older, dry_run=dry_run)


@task(
    iterable=["profile", "platform"],
    help={
        "profile": "cargo profile, for example dev; repeatable (default: the build.profile setting)",
        "platform": "platform, for example linux/arm64; repeatable (default: the engine's platform)",
        "cargo": "compile the dependencies of tests and checks instead, unless packs.repository has them",
        "builder": BUILDER,
        "progress": "auto, plain, verbose or quiet",
        "json": JSON,
    },
)
@reported
def warm(
    session: Session,
    profile: Sequence[str] | None = None,
    platform: Sequence[str] | None = None,
    cargo: bool = False,
    builder: str = "",
    progress: str = "auto",
    json: bool = False,
) -> None:
    """Download and compile all dependencies, but none of the workspace's crates."""
    if cargo:
        from buildkit_tasks.cargo import flow

        flow.warm(session, others=bool(profile or platform or builder))
        return
    from buildkit_tasks.caches import warm as cache_warm

    cache_warm.warm(session, profiles=profile or (), platforms=platform or (), builder=builder, progress=progress)
