"""Changes the project's own Dockerfile to compile only the dependencies. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from buildkit_tasks.dockerfiles import compile_step

#: Name of the build context that contains warm.sh.
CONTEXT = "buildkit-tasks-warm"

_PLACE = "/run/buildkit-tasks-warm"

# same as in warm.sh; on a tmpfs, to keep the moved cargo out of the layer
_WORK = "/.buildkit-tasks-warm"


def derive(text: str, args: Mapping[str, str], nonce: str) -> tuple[str, str]:
    """Wrap the command of the step that has the target mount. Returns the Dockerfile and the name of its compile stage.

    `nonce` makes the step new to BuildKit's cache. Raises `Problem` cache-missing if there is no such step.
    """
    step = compile_step.find(text, args)
    wrapped = f": {nonce}; sh {_PLACE}/warm.sh prepare && {{ {step.command} ; sh {_PLACE}/warm.sh judge; }}"
    flags = f"--mount=type=bind,from={CONTEXT},target={_PLACE} --mount=type=tmpfs,target={_WORK}"
    return compile_step.replace(text, step, flags, wrapped), step.stage
