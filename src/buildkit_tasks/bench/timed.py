"""Runs and times one build of a contender."""

from __future__ import annotations

import os
import posixpath
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from buildkit_tasks.core import run, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command, Result
from buildkit_tasks.dockercli import compose_cli, docker, docker_run
from buildkit_tasks.dockercli.docker_run import Container, Mount
from buildkit_tasks.samples.catalogue import BARE, BY_NAME, COLD, OURS, Way

from . import contenders, machine, output
from .arena import Arena

#: The start of the instruction that compiles in our Dockerfiles, as BuildKit shows it.
_STEP = "/compile build"
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
#: The value of `Built.pack` if a pack was unpacked.
UNPACKED = "unpacked"
#: Number of characters of a failed build's output to keep.
_KEPT = 4000


@dataclass(frozen=True)
class Built:
    """One build: wall seconds, seconds of the steps that run cargo, crates compiled, memory used in bytes.

    `pack`: whether a pack was unpacked, or why not; empty if none was looked for.
    """

    seconds: float
    compile: float | None = None
    crates: int | None = None
    memory: int | None = None
    pack: str = ""

    def __add__(self, other: Built) -> Built:
        """Return two builds as one."""
        return Built(
            self.seconds + other.seconds,
            None if self.compile is None and other.compile is None else (self.compile or 0) + (other.compile or 0),
            None if self.crates is None or other.crates is None else self.crates + other.crates,
            max((m for m in (self.memory, other.memory) if m is not None), default=None),
        )


def build(
    arena: Arena,
    way: Way,
    services: Sequence[str],
    *,
    env: Sequence[tuple[str, str]] = (),
    platform: str = "",
    no_cache: bool = False,
) -> Built:
    """Build services with a contender; no services means all.

    `env`, `platform`: only for `invoke build`. `no_cache`: run every step; only for `docker compose build`.

    Problems: bench-failed.
    """
    with machine.memory() as used:
        if way.name in (OURS, COLD):
            result = invoke(arena, "build", *(f"--service={s}" for s in services), *_platform(platform), env=env)
        elif way.name == BARE:
            result = _bare(arena, services)
        else:
            tree, file = arena.trees[way.family], arena.file(way.name)
            words = ("build", *(("--no-cache",) if no_cache else ()), *services)
            result = run.capture(arena.session.world, compose_cli.command(tree, [file], *words))
        memory = used()
    if result.code != 0:
        raise Problem("bench-failed", f"The {way.name!r} build failed.", details=failure(result))
    if way.name in (OURS, COLD):
        document = shapes.loads(result.stdout, dict)
        steps = [step["seconds"] for step in document["steps"] if _STEP in step["name"] and step["seconds"]]
        crates = len(document["cargo"]["compiled"])
        pull = document.get("pull") or {}
        pack = UNPACKED if pull.get("unpacked") else "; ".join(map(str, pull.get("why_not") or ()))
        return Built(result.seconds, sum(steps) if steps else None, crates, memory, pack)
    text = result.stdout + result.stderr
    seconds = result.seconds if way.name == BARE else output.compiling(text)
    return Built(result.seconds, seconds, output.crates(text), memory)


def _platform(platform: str) -> tuple[str, ...]:
    return (f"--platform={platform}",) if platform else ()


def invoke(arena: Arena, *words: str, env: Sequence[tuple[str, str]] = ()) -> Result:
    """Run one of our tasks in our scratch tree, as a user would, with the run's own state and mounts."""
    mine = {
        "BUILDKIT_TASKS_PROJECT_COMPOSE_FILE": str(arena.file(OURS)),
        "BUILDKIT_TASKS_CACHES_NAMESPACE": f"{arena.name}-ours",
        "BUILDKIT_TASKS_BUILD_INCREMENTAL": "on",
        "BUILDKIT_TASKS_BUILD_PROFILE": "release",
        "BUILDKIT_TASKS_PACKS_PULL": "never",
        "XDG_STATE_HOME": str(arena.folder / "state"),
    }
    argv = (str(Path(sys.executable).parent / "invoke"), *words, "--json")
    return run.capture(arena.session.world, Command(argv, arena.trees["ours"], tuple({**mine, **dict(env)}.items())))


def prepare(arena: Arena, contender: str) -> None:
    """Build the image with a contender's tool. Not measured. Problems: bench-failed."""
    file = arena.folder / "tool.json"
    builds = {"tool": arena.found.tools[contender]}
    contenders.write(arena.session, arena.name, builds, {"tool": arena.tool(contender)}, file)
    tree = arena.trees[BY_NAME[contender].family]
    result = run.capture(arena.session.world, compose_cli.command(tree, [file], "build", "tool"))
    if result.code != 0:
        raise Problem("bench-failed", f"The tool of {contender!r} could not be built.", details=failure(result))


def failure(result: Result) -> str:
    """Return the end of a failed build's output."""
    return (result.stderr or result.stdout)[-_KEPT:]


def last_line(problem: Problem) -> str:
    """Return the most telling line of a failed build: the first error of cargo, else the last line with an error."""
    lines = [re.sub(r"^#\d+ (?:\d+\.\d+ )?", "", line.strip()) for line in (problem.details or "").splitlines()]
    lines = [line for line in lines if line]
    own = [line for line in lines if line.startswith(("error:", "error["))][:1]
    other = [line for line in lines if "error" in line.lower()]
    return ((own or other or lines or [problem.message])[-1])[:200]


#: Uses mold as our compile step does, and runs cargo where it finds the workspace's configuration.
_CARGO = """
for directory in /usr/libexec/mold /usr/local/libexec/mold; do
    [ -e "$directory/ld" ] && export COMPILER_PATH="$directory${COMPILER_PATH:+:$COMPILER_PATH}" && break
done
cd "$1" && shift && exec cargo build --release --locked --target-dir /target "$@"
"""


def volume_bytes(arena: Arena) -> int:
    """Return the size of the volumes of the contender that runs cargo itself, 0 if it does not take part."""
    if BARE not in arena.found.builds:
        return 0
    mounts = tuple(Mount(arena.volume(kind), f"/{kind}", readonly=True) for kind in ("target", "cargo"))
    argv = ("du", "--summarize", "--block-size=1", "/target", "/cargo")
    container = Container(f"{arena.name}-size", arena.tool(BARE), argv, mounts, network="none")
    said = run.capture(arena.session.world, docker_run.run_container(arena.session.root, container)).stdout
    return sum(int(line.split()[0]) for line in said.splitlines() if line.split()[:1] and line.split()[0].isdigit())


def _bare(arena: Arena, services: Sequence[str]) -> Result:
    """Run cargo in a container of the toolchain image, with the sources and persistent volumes mounted."""
    session = arena.session
    known = contenders.compiled(arena.project)
    chosen = [known[name] for name in services or known]
    places: dict[str, list[str]] = {}
    for service in chosen:
        context = service.context.relative_to(session.root).as_posix()
        place = posixpath.normpath(posixpath.join("/src", context, contenders.source_of(service)))
        places.setdefault(place, []).extend(("--bin", service.binary))
    mounts = [
        Mount(str(arena.trees["cargo"]), "/src", readonly=True),
        Mount(arena.volume("target"), "/target"),
        Mount(arena.volume("cargo"), "/cargo"),
    ]
    bundle = session.settings.build.ca_bundle
    mounts += [Mount(os.path.realpath(bundle), _CERTIFICATES, readonly=True)] if bundle else []
    env = {"CARGO_HOME": "/cargo", "CARGO_INCREMENTAL": "1"}
    env |= {name: session.world.env[name] for name in _PROXIES if session.world.env.get(name)}
    results = []
    for number, (place, programs) in enumerate(places.items()):
        argv = ("sh", "-c", _CARGO, "sh", place, *programs)
        name = f"{arena.name}-cargo-{number}"
        container = Container(name, arena.tool(BARE), argv, tuple(mounts), env)
        try:
            results.append(run.capture(session.world, docker_run.run_container(session.root, container)))
        except BaseException:
            run.capture(session.world, docker.remove_container(session.root, name))
            raise
        if results[-1].code != 0:
            return results[-1]
    both = "".join(result.stdout + result.stderr for result in results)
    return Result(results[-1].command, 0, "", both, sum(result.seconds for result in results))
