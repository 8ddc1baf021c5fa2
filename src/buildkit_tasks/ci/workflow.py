"""The model of all jobs, built from the settings. github, gitlab and jenkins render it. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from buildkit_tasks.config.settings import Settings
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.registry import names

#: Values that settings may have in a workflow: nothing with a special meaning in YAML, shell or Groovy.
_WORDS = {
    "ci.default_branch": r"[A-Za-z0-9][A-Za-z0-9._/-]*",
    "ci.runner": r"[A-Za-z0-9][A-Za-z0-9._-]*",
    "ci.runner_arm64": r"[A-Za-z0-9][A-Za-z0-9._-]*",
    "ci.install": r"\./dev|[A-Za-z0-9][A-Za-z0-9._+~:/@=<>!\[\],-]*|-r [A-Za-z0-9][A-Za-z0-9._/-]*( --require-hashes)?",
}

#: When a job runs: on every change, only on the default branch, at night.
CHANGE, DEFAULT, NIGHT = "change", "default", "night"

#: The directory of a job's report.
REPORT = "ci-report"


@dataclass(frozen=True)
class Job:
    """One job. `writes`: whether it may push; `report`: whether it writes a report.

    `history`: whether it needs the full git history.
    """

    name: str
    title: str
    command: str
    when: str = CHANGE
    runner: str = ""
    minutes: int = 60
    writes: bool = False
    report: bool = True
    needs: tuple[str, ...] = ()
    history: bool = False

    def label(self, usual: str) -> str:
        """The runner label. `usual` replaces labels of GitHub-hosted runners."""
        return usual if self.runner.startswith("ubuntu-") else self.runner


@dataclass(frozen=True)
class Workflow:
    """A workflow. `install`: the argument for pip, empty if ./dev installs the tasks; `host`: the registry, if any."""

    default_branch: str
    install: str
    jobs: tuple[Job, ...]
    host: str = ""

    @property
    def changes(self) -> tuple[Job, ...]:
        """Jobs that run on every change."""
        return tuple(job for job in self.jobs if job.when == CHANGE)


def make(settings: Settings, version: str, branch: str, *, tasks: bool) -> Workflow:
    """Create the workflow. `branch`: the default branch; `tasks`: whether a tasks.py makes `invoke` work.

    Problems: settings-invalid, bad-argument.
    """
    ci = settings.ci
    branch = ci.default_branch or branch
    install = ci.install or f"buildkit-tasks=={version}"
    for name, value in (
        ("ci.default_branch", branch),
        ("ci.install", install),
        ("ci.runner", ci.runner),
        ("ci.runner_arm64", ci.runner_arm64),
    ):
        if not re.fullmatch(_WORDS[name], value):
            raise Problem(
                "settings-invalid",
                f"{name} = {value!r} is not allowed in a workflow.",
                causes=[f"the value must match {_WORDS[name]}"],
                hint="fix the setting in [tool.buildkit-tasks.ci]; `invoke settings` shows where it comes from",
            )
    places = [place for place in (ci.images, settings.packs.repository) if place]
    hosts = list(dict.fromkeys(names.reference(place).host for place in places))
    changed = " --changed" if ci.builds == "changed" else ""
    own = install == "./dev"
    call = "./dev invoke" if own else "invoke" if tasks else "buildkit-tasks"
    jobs = [
        _job("lint", "Lint", call, ci.runner, minutes=30),
        _job("test", "Test", call, ci.runner),
        Job("build", "Build", f"{call} ci.build{changed}", runner=ci.runner, history=ci.builds == "changed"),
        *_multiarch(settings, call),
        *_extra(ci.extra, ci.runner),
    ]
    if places:
        needs = tuple(job.name for job in jobs)
        jobs.append(_job("push", "Push", call, ci.runner, when=DEFAULT, minutes=90, writes=True, needs=needs))
    if settings.packs.repository:
        jobs.append(_job("nightly", "Nightly", call, ci.runner, when=NIGHT, minutes=90, writes=True))
    return Workflow(branch, "" if own else install, tuple(jobs), hosts[0] if hosts else "")


def _job(name: str, title: str, call: str, runner: str, **more: object) -> Job:
    return Job(name, title, f"{call} ci.{name}", runner=runner, **more)  # type: ignore[arg-type]


def _multiarch(settings: Settings, call: str) -> list[Job]:
    """Return one job for all platforms, or one per architecture."""
    platforms, ci = settings.ci.platforms, settings.ci
    if ci.arm64 == "cross" or not any("arm64" in p for p in platforms):
        return [_job("multiarch", "Platforms", call, ci.runner, minutes=90)]
    found = []
    for kind, runner in (("amd64", ci.runner), ("arm64", ci.runner_arm64)):
        mine = [p for p in platforms if ("arm64" in p) == (kind == "arm64")]
        if mine:
            words = " ".join(f"--platform {p}" for p in mine)
            command = f"{call} ci.multiarch {words}"
            found.append(Job(f"multiarch-{kind}", f"Platforms ({kind})", command, runner=runner, minutes=90))
    if not all(re.fullmatch(r"[a-z0-9_/]+", p) for p in platforms):
        raise Problem(
            "settings-invalid", "ci.platforms contains an invalid platform.", hint="use a platform such as amd64"
        )
    return found


def _extra(commands: Sequence[str], runner: str) -> list[Job]:
    """Return a job for each of the user's own commands, named after its first words."""
    found: dict[str, Job] = {}
    for command in commands:
        if not command.strip() or not command.isprintable() or "${{" in command:
            raise Problem(
                "settings-invalid",
                f"ci.extra has a command that is not allowed in a workflow: {command!r}.",
                hint="use a single line, or call a script",
            )
        words = re.findall(r"[A-Za-z0-9]+", command)[:3]
        name = "-".join(word.lower() for word in words) or "extra"
        name = name if name[0].isalpha() else f"run-{name}"
        while name in found or name in ("lint", "test", "build", "multiarch", "push", "nightly"):
            name += "-more"
        title = command if len(command) <= 60 else f"{command[:59]}…"
        found[name] = Job(name, title, command, runner=runner, minutes=120, report=False)
    return list(found.values())


# ---- recognizing our own files


def sealed(text: str, comment: str) -> str:
    """Add a header with a checksum that detects edits."""
    head = f"{comment} Written by `ci.init` (buildkit-tasks), which never overwrites this file once it has been edited."
    return f"{head}\n{comment} sha256:{_sum(text)}\n{text}"


def ours(text: str) -> bool:
    """Return whether `ci.init` wrote this file and nobody has edited it."""
    found = re.match(r"(?:#|//) Written by `ci\.init` [^\n]*\n(?:#|//) sha256:([0-9a-f]{64})\n", text)
    return bool(found and _sum(text[found.end() :]) == found[1])


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
