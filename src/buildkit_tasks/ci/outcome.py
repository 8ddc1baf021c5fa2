"""The results of a CI job: steps and remarks."""

from __future__ import annotations

from dataclasses import dataclass, field

from buildkit_tasks.buildlog.remarks import Remark

from .context import Context
from .steps import Step


@dataclass(frozen=True)
class Done:
    """The result of a step. `code` is None if the step did not run; `why` is then the reason."""

    step: Step
    code: int | None
    seconds: float = 0.0
    why: str = ""

    @property
    def failed(self) -> bool:
        """Whether the step makes the job fail."""
        return bool(self.code) and not self.step.may_fail

    @property
    def verdict(self) -> str:
        """The result in words."""
        if self.code is None:
            return "not run"
        if not self.code:
            return "passed"
        return "failed (optional)" if self.step.may_fail else "failed"


@dataclass
class Outcome:
    """The results so far."""

    name: str
    context: Context
    done: list[Done] = field(default_factory=list)
    noted: list[Remark] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failed(self) -> list[Done]:
        """The steps that make the job fail."""
        return [done for done in self.done if done.failed]

    @property
    def checked(self) -> bool:
        """Whether any required step has run."""
        return any(done.code is not None and not done.step.may_fail for done in self.done)
