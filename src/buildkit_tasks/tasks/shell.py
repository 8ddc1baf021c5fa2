"""Tasks for the user's shell."""

from __future__ import annotations

from buildkit_tasks.config.session import Session

from .edge import reported, task

SHELL = "bash, zsh or fish (default: the login shell)"


@task(
    name="enable-buildkit",
    help={
        "shell": SHELL,
        "dry_run": "show the edit without applying it",
        "undo": "revert the edit, byte for byte",
        "yes": "answer yes to all prompts",
    },
)
@reported
def enable_buildkit(
    session: Session, shell: str = "", dry_run: bool = False, undo: bool = False, yes: bool = False
) -> None:
    """Enable BuildKit in your shell's startup file; verifies the edit and can undo it."""
    from buildkit_tasks.shells import enable as flow

    flow.enable(session, shell, dry_run=dry_run, undo=undo)


@task(name="env", help={"shell": SHELL})
@reported
def env(session: Session, shell: str = "") -> None:
    """Print the variables that enable BuildKit for one shell session: eval "$(invoke env)"."""
    from buildkit_tasks.shells import enable as flow

    flow.print_env(session, shell)


@task(
    positional=["shell"],
    help={
        "shell": "bash, zsh or fish",
        "install": "install the script where the shell finds it",
        "values": "print the possible values of an option (used by the completion scripts)",
    },
)
@reported
def completion(session: Session, shell: str, install: bool = False, values: str = "") -> None:
    """Print the completion script for bash, zsh or fish; completes services, platforms, profiles and mounts."""
    from buildkit_tasks.shells import completion as flow

    if values:
        session.report.answer("\n".join(flow.values(session, values)))
    elif install:
        flow.install(session, shell)
    else:
        flow.show(session, shell)
