"""Provides an engine: uses a running one, starts an installed one, or installs one."""

from __future__ import annotations

from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Engine
from buildkit_tasks.dockercli import docker
from buildkit_tasks.engine import daemon, host

from . import facts as engine_facts
from . import install as engine_install
from . import start as engine_start

HOME = Path("/")


def ensure(session: Session) -> Engine:
    """Provide an engine of the full tier; asks before changing the system.

    Problems: engine-denied, engine-start-failed, engine-install-unsupported, engine-install-failed, engine-too-old,
    root-needed, consent-missing; engine-stopped for another machine's engine.
    """
    try:
        found = engine_facts.facts(session.world, HOME)
    except Problem as problem:
        _only_ours(session, problem)
        if not _installed(session):
            _install(session)
        _start(session)
        found = engine_facts.facts(session.world, HOME)
    if engine_facts.lacking(found):
        _install(session)
        found = _renewed(session)
    engine_facts.require_full(found)
    return found


def start(session: Session) -> Engine:
    """Start the installed engine if none is running. Problems: same as `ensure`, plus engine-missing."""
    try:
        found = engine_facts.facts(session.world, HOME)
        session.report.say(f"already running: {engine_facts.dotted(found.version)} (context {found.context})")
        return found
    except Problem as problem:
        _only_ours(session, problem)
        if not _installed(session):
            raise Problem(
                "engine-missing", "No engine is installed on this machine.", hint="invoke engine.install"
            ) from None
    _start(session)
    return engine_facts.facts(session.world, HOME)


def stop(session: Session) -> None:
    """Stop the engine started by `start`; asks first if containers of other projects are running.

    Problems: engine-not-ours for another engine, consent-missing.
    """
    ours = engine_start.started(session.world)
    if ours:
        others = _others(session)
        if others and not session.report.consent(
            f"stopping the engine also stops other projects' containers: {others}"
        ):
            return
        host.rights(session.world, "stop the engine")
        engine_start.stop(session.world, ours)
        session.report.say(f"stopped the engine (process {ours.pid})")
    elif not any(daemon.listens(path) for path in engine_facts.DEFAULT_SOCKETS):
        session.report.say("no engine is running on this machine")
    else:
        how = "sudo systemctl stop docker" if host.systemd() else "sudo service docker stop, or stop dockerd"
        raise Problem(
            "engine-not-ours", "This engine was not started by buildkit-tasks, so it was not stopped.", hint=how
        )


def _others(session: Session) -> str:
    """Return the names of running containers not started from this directory or a parent: the first ten."""
    result = run.capture(session.world, docker.running(HOME), timeout=10)
    here = {str(place) for place in (session.world.cwd, *session.world.cwd.parents)}
    names = [name for name, directory in shapes.rows(result, 2) if directory not in here]
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def install(session: Session) -> Engine:
    """Install the missing parts of the full tier on this machine. Problems: same as `ensure`."""
    try:
        have: Engine | None = engine_facts.client(session.world, HOME)
    except Problem:
        have = None
    if have and not _lacks(session, have):
        session.report.say("nothing to install")
    else:
        _install(session)
    if have and have.version:
        return _renewed(session)
    try:
        return engine_facts.facts(session.world, HOME)
    except Problem:
        session.report.say("to start it: invoke engine.start")
        return engine_facts.client(session.world, HOME)


def undo(session: Session) -> None:
    """Undo `install`: remove the apt source and pins and, with consent, the packages. Keeps images and volumes."""
    world, report = session.world, session.report
    files, packages = engine_install.ours(world), engine_install.recorded(world)
    installed = engine_install.installed(world) if files or packages else set()
    there = [p for p in packages if p in installed]
    if not files and not there:
        report.say("nothing to undo: engine.install has not installed anything on this machine")
        return
    host.rights(world, "remove what engine.install added")
    remove = False
    if there and (report.yes or world.interactive):
        remove = report.consent(f"remove the installed packages ({' '.join(there)}); images and volumes are kept")
    if remove:
        if ours := engine_start.started(world):
            engine_start.stop(world, ours)
            report.say("stopped the engine")
        host.apt_get(world, ("remove", "-y", *there), "engine-install-failed")
        report.say(f"removed {' '.join(there)}; images and volumes are kept in /var/lib/docker")
    for path in files:
        # an engine that is kept needs its settings to find its images
        if path != engine_install.DAEMON_FILE or remove or not installed & {"docker.io", "docker-ce"}:
            host.remove_as_root(world, path)
            report.say(f"removed {path}")
    if remove:
        engine_install.forget(world)
    elif there:
        report.say(f"the packages are kept; to remove them: sudo apt-get remove {' '.join(there)}")


def status(session: Session) -> None:
    """Print the engine's status. Raises `Problem` if the engine is unusable."""
    found = engine_facts.facts(session.world, HOME)
    ours = engine_start.started(session.world)
    lacks = engine_facts.lacking(found)
    if session.report.json_only:
        session.report.envelope(
            {
                "engine": {
                    "version": engine_facts.dotted(found.version),
                    "buildx": engine_facts.dotted(found.buildx),
                    "compose": engine_facts.dotted(found.compose),
                    "platform": f"{found.os}/{found.arch}",
                    "context": found.context,
                    "address": engine_facts.host(session.world, HOME),
                    "containerd_store": found.containerd_store,
                    "root_dir": found.root_dir,
                    "pid": ours.pid if ours else None,
                    "lacks": list(lacks),
                }
            }
        )
        return
    rows = [
        (
            "Docker Engine",
            engine_facts.dotted(found.version),
            f"{engine_facts.dotted(engine_facts.MINIMUM['engine'])} or newer",
        ),
        (
            "buildx",
            engine_facts.dotted(found.buildx),
            f"{engine_facts.dotted(engine_facts.MINIMUM['buildx'])} or newer",
        ),
        (
            "compose",
            engine_facts.dotted(found.compose),
            f"{engine_facts.dotted(engine_facts.MINIMUM['compose'])} or newer",
        ),
        ("platform", f"{found.os}/{found.arch}", ""),
        ("address", f"{engine_facts.host(session.world, HOME)} (context {found.context})", ""),
        ("image store", "containerd" if found.containerd_store else "classic", ""),
        ("data", found.root_dir, ""),
        ("started by", f"invoke engine.start (process {ours.pid})" if ours else "not buildkit-tasks", ""),
    ]
    session.report.table(("component", "found", "required"), rows)
    engine_facts.require_full(found)


def _only_ours(session: Session, problem: Problem) -> None:
    """Re-raise the problem unless starting or installing an engine on this machine could solve it."""
    if problem.code == "engine-stopped":
        address = engine_facts.local_socket(engine_facts.host(session.world, HOME))
        if address in engine_facts.DEFAULT_SOCKETS:
            return
    elif problem.code == "engine-missing" and not session.world.env.get("DOCKER_HOST"):
        return
    raise problem


def _installed(session: Session) -> bool:
    return host.which(session.world, "dockerd") is not None


def _start(session: Session) -> None:
    world, report = session.world, session.report
    if any(daemon.ping(path, 1) for path in engine_facts.DEFAULT_SOCKETS):
        return  # already started by the installation
    if host.release().id == "macos":
        raise Problem("engine-stopped", "Docker is not running.", hint="open -a Docker, or: colima start")
    if not report.consent("the Docker engine is installed but not running; start it"):
        raise Problem("consent-missing", "Nothing can be built without a running engine.", hint="invoke engine.start")
    host.rights(world, "start the Docker engine")
    began = world.clock()
    done = engine_start.start(world, lambda line: report.say(f"  {line}"))
    report.say(f"  engine started in {world.clock() - began:.1f} s" + (f"; log: {done.log}" if done.log else ""))


def _lacks(session: Session, have: Engine) -> bool:
    """Return whether the full tier is incomplete. For an installed but stopped engine, checks the daemon's version."""
    missing = set(engine_facts.lacking(have))
    if not have.version and _installed(session) and missing == {"engine"}:
        return engine_start.daemon_version(session.world) < engine_facts.MINIMUM["engine"]
    return bool(missing)


def _install(session: Session) -> None:
    world, report = session.world, session.report
    try:
        have: Engine | None = engine_facts.client(world, HOME)
    except Problem:
        have = None
    release = host.release()
    before = engine_install.installed(world) if release.apt else set()
    plan = engine_install.decide(
        release,
        host.apt_sources(),
        engine_install.candidates(world) if release.apt else {},
        before,
        have,
        daemon_json=engine_install.DAEMON_FILE.exists(),
    )
    what = "\n".join(["install a Docker engine:", *(f"  {w}" for w in plan.words)])
    if have and have.version:
        what += "\n  replacing an engine restarts it and its containers"
    if not report.consent(what):
        raise Problem("consent-missing", "Nothing can be built without an engine.", hint="invoke engine.install")
    if report.yes:
        for words in plan.words:
            report.say(f"  {words}")
    host.rights(world, "install the Docker engine")
    began = world.clock()
    engine_install.apply(world, plan, before)
    report.say(f"  installed in {world.clock() - began:.0f} s; to undo: invoke engine.install --undo")


def _renewed(session: Session) -> Engine:
    """Return the facts after an installation; restarts our engine if it still runs the old version."""
    found = engine_facts.facts(session.world, HOME)
    ours = engine_start.started(session.world)
    if (
        "engine" in engine_facts.lacking(found)
        and ours
        and session.report.consent("restart the engine to run the new version")
    ):
        host.rights(session.world, "restart the engine")
        engine_start.stop(session.world, ours)
        _start(session)
        found = engine_facts.facts(session.world, HOME)
    return found
