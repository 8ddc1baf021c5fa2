"""`ci.init`: write a CI workflow to the repository. Only files that it wrote and nobody edited are overwritten."""

from __future__ import annotations

import difflib
from pathlib import Path, PurePosixPath

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import files, run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.release import VERSION
from buildkit_tasks.dockercli import docker

from . import github, gitlab, jenkins, workflow
from .workflow import Workflow

PROVIDERS = {"github": github, "gitlab": gitlab, "jenkins": jenkins}
_LARGEST = 1_000_000


def init(session: Session, provider: str, *, file: str = "", dry_run: bool = False) -> None:
    """Show the workflow as a diff, ask, then write it. Problems: bad-argument, settings-invalid, ci-conflict."""
    if provider not in PROVIDERS:
        raise Problem(
            "bad-argument",
            f"--provider {provider!r} is not one of {', '.join(PROVIDERS)}." if provider else "--provider is missing.",
            hint=f"run `invoke ci.init --provider {next(iter(PROVIDERS))}`",
        )
    path = _path(file or PROVIDERS[provider].PATH)
    flow = model(session)
    text = render(flow, provider)
    before = _read(session.root / path)
    changed = before != text
    if changed:
        session.report.say(f"{'edit' if before is not None else 'add'}: {path}")
        if not session.report.json_only:
            session.report.answer(_diff(path, before, text))
    else:
        session.report.say(f"{path} is up to date")
    if changed and before is not None and not workflow.ours(before):
        raise Problem(
            "ci-conflict",
            f"{path} was left unchanged, because `ci.init` did not write it or it has been edited since.",
            hint=f"use --file PATH, or rename {path}, run `ci.init` and re-apply your changes",
        )
    written = changed and not dry_run and session.report.consent(f"write {path}")
    if written:
        _write(session.root / path, text)
        session.report.say(f"wrote {path}")
        for line in _next(flow, provider):
            session.report.say(f"next: {line}")
    if session.report.json_only:
        session.report.envelope({"ci": {"path": path, "changed": changed, "written": written, "text": text}})


def model(session: Session) -> Workflow:
    """Return the workflow model of this repository."""
    _check_top(session)
    tasks = _read(session.root / "tasks.py") or ""
    own = VERSION
    return workflow.make(session.settings, own, _default_branch(session), tasks="buildkit_tasks" in tasks)


def render(flow: Workflow, provider: str) -> str:
    """Return the complete text of the file."""
    return workflow.sealed(PROVIDERS[provider].render(flow), "//" if provider == "jenkins" else "#")


def _check_top(session: Session) -> None:
    asked = run.capture(session.world, docker.git(session.root, "rev-parse", "--show-prefix"))
    if asked.code == 0 and asked.stdout.strip():
        raise Problem(
            "bad-argument",
            f"The project is in the subdirectory {asked.stdout.strip()}, but CI jobs start in the repository root.",
            hint="write the workflow yourself, and set that working directory in each job",
        )


def _default_branch(session: Session) -> str:
    asked = run.capture(session.world, docker.git(session.root, "symbolic-ref", "--short", "refs/remotes/origin/HEAD"))
    return asked.stdout.strip().removeprefix("origin/") if asked.code == 0 else "main"


def _path(given: str) -> str:
    path = PurePosixPath(given)
    if path.is_absolute() or {"..", ".git"} & set(path.parts) or path.name in ("", "."):
        raise Problem(
            "bad-argument", f"--file {given} is not a valid path in the repository.", hint="use --file ci/build.yml"
        )
    return path.as_posix()


def _read(path: Path) -> str | None:
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise Problem("ci-conflict", f"{path.name} is not a regular file.", hint=f"run `ls -l {path}`")
        with path.open("rb") as file:
            return file.read(_LARGEST).decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        hint = f"run `ls -l {path}` to see its owner and mode"
        raise Problem("tree-unreadable", f"Cannot read {path}: {error.strerror}.", hint=hint) from error


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, text)
    except OSError as error:
        raise Problem(
            "tree-unwritable", f"Cannot write {path}: {error.strerror}.", hint=f"run `ls -ld {path.parent}`"
        ) from error


def _diff(path: str, before: str | None, after: str) -> str:
    old = (before or "").splitlines()
    name = f"a/{path}" if before is not None else "/dev/null"
    return "\n".join(difflib.unified_diff(old, after.splitlines(), name, f"b/{path}", lineterm=""))


def _next(flow: Workflow, provider: str) -> list[str]:
    """Return the remaining manual steps."""
    lines = []
    if flow.host and provider == "github" and flow.host != "ghcr.io":
        lines.append(f"add the secrets REGISTRY_USER and REGISTRY_PASSWORD for {flow.host}")
    if provider == "gitlab":
        lines.append("use runners that allow privileged containers (docker:dind), or runners that have a Docker engine")
        if flow.host:
            lines.append(
                f"unless {flow.host} is the project's own registry, add the protected, masked variables REGISTRY_USER "
                "and REGISTRY_PASSWORD"
            )
        if any(job.when == workflow.NIGHT for job in flow.jobs):
            lines.append("create a pipeline schedule on the default branch for the job `nightly`")
    if provider == "jenkins":
        lines.append(
            "create a multibranch job; for pull requests from forks, trust only the target branch's Jenkinsfile"
        )
    return lines
