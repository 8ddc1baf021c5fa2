"""The summary of a CI job in Markdown, and its report files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import files
from buildkit_tasks.core.errors import Problem

from . import formats
from .outcome import Outcome

#: GitHub's job summary file, limited to 1 MiB.
VARIABLE = "GITHUB_STEP_SUMMARY"
_MOST = 200_000


def markdown(job: Outcome) -> str:
    """Return the summary in Markdown."""
    context = job.context
    rows = [
        f"| {formats.markdown(done.step.title)} | {done.verdict} | {done.seconds:.0f} s "
        f"| {formats.code(done.step.line)} |"
        for done in job.done
    ]
    lines = [
        f"### {job.name}: {'failed' if job.failed else 'passed'}",
        "",
        "| step | | time | reproduce locally |",
        "|---|---|---|---|",
        *rows,
        "",
        f"{context.provider}, {context.event}; "
        + ("this run may push" if context.may_push else f"this run may not push: {formats.markdown(context.why_not)}"),
    ]
    if job.noted:
        lines += ["", "| where | what |", "|---|---|"]
        for one in job.noted:
            lines.append(
                f"| {formats.code(f'{one.file}:{one.line}')} | {one.severity}: {formats.markdown(one.message)} |"
            )
    return ("\n".join(lines) + "\n")[:_MOST]


def plain(job: Outcome) -> str:
    """Return the summary in one line."""
    words = [f"{done.step.title} {done.verdict}" for done in job.done]
    return f"{job.name}: {', '.join(words)} ({job.seconds:.0f} s)"


def document(job: Outcome) -> dict[str, Any]:
    """Return the results as a JSON document."""
    return {
        "name": job.name,
        "passed": not job.failed,
        "steps": [
            {
                "title": done.step.title,
                "command": done.step.line,
                "code": done.code,
                "seconds": round(done.seconds, 1),
                "needed": not done.step.may_fail,
                "why_not": done.why,
            }
            for done in job.done
        ],
        "remarks": [vars(remark) for remark in job.noted],
        "context": vars(job.context),
    }


def append(session: Session, text: str) -> None:
    """Append to GitHub's job summary, if there is one."""
    path = session.world.env.get(VARIABLE, "")
    if not path:
        return
    try:
        files.append(Path(path), text + "\n")
    except OSError as error:
        session.report.warn(f"cannot write the summary to {path}: {error.strerror}")


def write(folder: Path, job: Outcome, text: str) -> None:
    """Write the report files. Problems: tree-unwritable."""
    texts = {
        "summary.md": text,
        "job.json": json.dumps({"schema": 1, **document(job)}, indent=1) + "\n",
        "codequality.json": formats.code_quality(job.noted) + "\n",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in texts.items():
            files.replace(folder / name, content, durable=False)
    except OSError as error:
        raise Problem(
            "tree-unwritable",
            f"Cannot write {folder}: {error.strerror}.",
            hint="pass a different directory to --report",
        ) from None
