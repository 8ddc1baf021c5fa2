"""Tasks that build."""

from __future__ import annotations

from collections.abc import Sequence

from invoke.exceptions import Exit

from buildkit_tasks.config.session import Session

from .edge import reported, task

SERVICE = "service to build, for example api,worker or 'worker-*'; repeatable (default: all)"


@task(
    iterable=["service", "platform"],
    help={
        "service": SERVICE,
        "platform": "target platform, for example linux/amd64,linux/arm64; repeatable (default: the engine's platform)",
        "push": "push the images to this registry and path, for example ghcr.io/owner",
        "oci": "write one OCI archive per service (SERVICE.tar) to this directory, for example out/",
        "builder": "buildx builder to use (default: the builders.name setting, else docker's current builder)",
        "allow_emulation": "compile under QEMU if the Dockerfile cannot cross-compile",
        "profile": "cargo profile, for example dev (default: the build.profile setting)",
        "no_incremental": "disable incremental compilation, for release images",
        "no_cache": "rerun every step but keep the cache mounts",
        "plan": "print the build plan without building",
        "timings": "write an HTML page with a timeline of steps and crates, and print its path",
        "yes": "do not ask before installing the tools that build missing base images",
        "json": "print a single JSON document on stdout",
        "progress": "auto, plain, verbose (every line of every step) or quiet",
    },
)
@reported
def build(
    session: Session,
    service: Sequence[str] | None = None,
    platform: Sequence[str] | None = None,
    profile: str = "",
    push: str = "",
    oci: str = "",
    builder: str = "",
    allow_emulation: bool = False,
    no_incremental: bool = False,
    no_cache: bool = False,
    plan: bool = False,
    timings: bool = False,
    yes: bool = False,
    json: bool = False,
    progress: str = "auto",
) -> None:
    """Build the images of all or selected services in a single cargo run."""
    from buildkit_tasks.core.model import BuildRequest
    from buildkit_tasks.unchanged import decide

    request = BuildRequest(
        services=tuple(service or ()),
        profile=profile,
        incremental=False if no_incremental else None,
        no_cache=no_cache,
        progress=progress,
        platforms=_platforms(platform or ()),
        allow_emulation=allow_emulation,
        push=push,
        oci=oci,
    )
    if builder:
        session.flags["builders.name"] = builder
    attempt = None if plan else decide.begin(session, request)
    outcome = decide.holds(session, attempt) if attempt else None
    if plan:
        from buildkit_tasks.pipeline import build as pipeline

        pipeline.show_plan(session, request)
        return
    if outcome is None:
        from buildkit_tasks.pipeline import begin  # late: an up-to-date build does not need it

        outcome = begin.build(session, request, attempt)
    from buildkit_tasks.buildlog import view  # last: `begin` has already imported it while waiting for docker

    view.result(session.report, outcome)
    if timings:
        from buildkit_tasks.timings import write

        write.after(session, outcome)


def _platforms(words: Sequence[str]) -> tuple[str, ...]:
    """Parse the given platforms; imports nothing if there are none."""
    if not words:
        return ()
    from buildkit_tasks.platforms.names import named

    return named(words)


@task(
    iterable=["case", "contender"],
    help={
        "quick": "only the standard cases against the classic Dockerfile, without asking",
        "rounds": "number of times to measure each edit (default: 3)",
        "case": "case to run, for example line,shared; repeatable (default: all)",
        "contender": "way of building to compare with, for example classic,cargo-chef; repeatable (default: all)",
        "resume": "continue a benchmark that was interrupted",
        "load": "show the result in this JSON file (`last`: of the last run) instead of measuring",
        "compare": "compare with the result in this JSON file; exit with 1 if `invoke build` became slower",
        "markdown": "print a Markdown table for a README",
        "html": "write an HTML report with charts, and print its path",
        "output": "output file for --html (default: in the state directory)",
        "yes": "do not ask before a run that takes long",
        "json": "print a single JSON document with every sample",
    },
)
@reported
def bench(
    session: Session,
    quick: bool = False,
    rounds: int = 3,
    case: Sequence[str] | None = None,
    contender: Sequence[str] | None = None,
    resume: bool = False,
    load: str = "",
    compare: str = "",
    markdown: bool = False,
    html: bool = False,
    output: str = "",
    yes: bool = False,
    json: bool = False,
) -> None:
    """Benchmark against other ways of building, side by side on scratch copies; says first how long it takes."""
    from buildkit_tasks.bench import run as flow
    from buildkit_tasks.samples import present

    asked = present.Asked(
        quick=quick,
        rounds=rounds,
        cases=tuple(case or ()),
        contenders=tuple(contender or ()),
        resume=resume,
        markdown=markdown,
        html=html,
        output=output,
        load=load,
        compare=compare,
    )
    if code := flow.bench(session, asked):
        raise Exit(code=code)


@task(
    iterable=["service"],
    help={
        "service": "explain only this service; repeatable (default: all services in the build)",
        "build": "build number from `invoke history` (default: the last build)",
        "next": "predict what the next build would do, without building",
        "json": "print a single JSON document with every cause",
    },
)
@reported
def explain(
    session: Session, service: Sequence[str] | None = None, build: int = 0, next: bool = False, json: bool = False
) -> None:
    """Explain why the last build ran its steps and compiled its crates, or predict the next build."""
    from buildkit_tasks.explain import flow

    if next:
        from buildkit_tasks.core.model import BuildRequest

        flow.predict(session, BuildRequest(services=tuple(service or ())))
    else:
        flow.explain(session, service or (), build)


@task(
    iterable=["service"],
    help={
        "service": "only builds of this service, for example api; repeatable",
        "last": "number of builds to include (default: 20; all with --html)",
        "html": "write an HTML page with build times, hit rates and sizes over time, and print its path",
        "timings": "write an HTML page for one build instead, and print its path",
        "build": "build number for --timings (default: the last build)",
        "output": "output file for --html or --timings (default: in the state directory)",
        "json": "print a single JSON document with every build, or with the path",
    },
)
@reported
def history(
    session: Session,
    service: Sequence[str] | None = None,
    last: int = 0,
    html: bool = False,
    timings: bool = False,
    build: int = 0,
    output: str = "",
    json: bool = False,
) -> None:
    """List this checkout's builds with their time, duration and compiled crates, or plot them with --html."""
    from buildkit_tasks.timings import command

    chosen = command.Chosen(tuple(service or ()), last, build, output)
    command.history(session, chosen, html=html, timings=timings)


@task(
    iterable=["service"],
    help={"service": "service to check, for example api; repeatable", "json": "print a single JSON document"},
)
@reported
def verify(session: Session, service: Sequence[str] | None = None, json: bool = False) -> None:
    """Check that images and running containers match the sources on disk, and list the differences."""
    from buildkit_tasks.stack import verify as flow

    flow.verify(session, service or ())
