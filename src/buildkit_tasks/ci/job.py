"""Run the steps of a CI job and report them in the CI system's own format."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from buildkit_tasks.buildlog import remarks
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command

from . import context as ci_context
from . import formats, summary
from .login import logged_in
from .outcome import Done, Outcome
from .steps import Step


class Job:
    """One run of a `ci.*` job. `known`: the names of all tasks; `report`: the directory for report files."""

    def __init__(self, session: Session, name: str, known: Collection[str], report: str = "") -> None:
        self.session = session
        self.known = known
        self.report = report
        self.context = ci_context.read(session.world, session.settings.ci.default_branch)
        self.outcome = Outcome(name, self.context)
        self.began = session.world.clock()

    def run(self, steps: Sequence[Step], *, keep_going: bool = False) -> None:
        """Run steps up to the first failure, or all of them with `keep_going`."""
        settings = self.session.settings
        with logged_in(self.session, self.context, (settings.packs.repository, settings.ci.images)) as env:
            for step in steps:
                if step.words[0] not in self.known:
                    self.skip(step, f"this version of buildkit-tasks has no task {step.words[0]}")
                elif not keep_going and self.outcome.failed:
                    self.skip(step, "an earlier step failed")
                else:
                    self._run(step, env)

    def skip(self, step: Step, why: str) -> None:
        """Record that a step was not run."""
        self.outcome.done.append(Done(step, None, 0.0, why))
        self.session.report.warn(f"not run: {step.line} ({why})")

    def here(self, step: Step, work: Callable[[], bool]) -> None:
        """Run a step in this process. `work` returns whether it passed."""
        began = self._begin(step)
        passed = False
        try:
            passed = work()
        except Problem as problem:
            self.session.report.problem(problem)
        self._end(step, 0 if passed else 1, began)

    def finish(self) -> None:
        """Print annotations, and write the summary and report. Problems: ci-failed, ci-nothing-ran."""
        report, outcome = self.session.report, self.outcome
        outcome.seconds = self.session.world.clock() - self.began
        for line in formats.github(outcome.noted) if self.context.groups == "github" else ():
            report.say(line)
        text = summary.markdown(outcome)
        summary.append(self.session, text)
        if self.report:
            summary.write(Path(self.session.root, self.report), outcome, text)
        report.say(summary.plain(outcome))
        if report.json_only:
            report.envelope({"job": summary.document(outcome)})
        if outcome.failed:
            first, *more = outcome.failed
            raise Problem(
                "ci-failed",
                f"{first.step.title} failed: `{first.step.line}` exited with code {first.code}.",
                causes=[f"`{done.step.line}` exited with code {done.code}" for done in more],
                hint=f"run `{first.step.line}` to reproduce the failure locally",
            )
        if not outcome.checked:
            raise Problem(
                "ci-nothing-ran",
                f"{outcome.name} ran no checks.",
                causes=[f"{done.step.line}: {done.why}" for done in outcome.done if done.why],
                hint="remove the job, or install a version of buildkit-tasks that provides the task",
            )

    def _begin(self, step: Step) -> float:
        self.session.report.mark(ci_context.group(self.context, step.title, time.time()))
        self.session.report.say(f"$ {step.line}")
        return self.session.world.clock()

    def _end(self, step: Step, code: int, began: float) -> None:
        seconds = self.session.world.clock() - began
        self.outcome.done.append(Done(step, code, seconds))
        self.session.report.mark(ci_context.group(self.context, step.title, time.time(), end=True))
        if code:
            word = "failed; continuing without it" if step.may_fail else "failed"
            self.session.report.say(f"{step.title}: {word} ({step.line}: exit code {code})")

    def _run(self, step: Step, env: Sequence[tuple[str, str]]) -> None:
        began = self._begin(step)
        opened, closed = ci_context.fenced(self.context, secrets.token_hex(16))
        reader = self._reader()
        lines = _Lines(self.session.report.say, reader.line)
        argv = (sys.executable, "-m", "buildkit_tasks", *step.words)
        command = Command(argv, self.session.world.cwd, (*step.env, *env))
        if opened:
            self.session.report.say(opened)
        try:
            code = run.follow(self.session.world, command, lines.feed, without=ci_context.SECRETS)
        finally:
            lines.close()
            if closed:
                self.session.report.say(closed)
        self.outcome.noted += [remark for remark in reader.found if remark not in self.outcome.noted]
        self._end(step, code, began)

    def _reader(self) -> remarks.Reader:
        root = self.session.root
        bases = [".", *(p.parent.relative_to(root).as_posix() for p in _manifests(root))]
        return remarks.Reader(remarks.placer(bases, lambda path: (root / path).is_file()))


#: Maximum bytes of a line: a program may print endlessly without ending its line.
_LONGEST = 1 << 16


class _Lines:
    """Splits incoming bytes into lines. Splits a very long line, too."""

    def __init__(self, *readers: Callable[[str], None]) -> None:
        self._readers = readers
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        for line in whole:
            self._one(line)
        if len(self._rest) > _LONGEST:
            self.close()

    def close(self) -> None:
        if self._rest:
            self._one(self._rest)
            self._rest = b""

    def _one(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r")
        for read in self._readers:
            read(text)


def _manifests(root: Path) -> list[Path]:
    """Return lock files near the root, because cargo prints paths relative to their directories."""
    return [path for depth in ("*", "*/*") for path in sorted(root.glob(f"{depth}/Cargo.lock"))][:20]
