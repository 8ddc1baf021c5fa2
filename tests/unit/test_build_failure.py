"""How a failed solve is reported if no step failed."""

from __future__ import annotations

import pytest

from buildkit_tasks.buildlog import failure
from buildkit_tasks.core.progress import Progress

PANIC = """\
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x10 pc=0xfc574b]

goroutine 137 [running]:
github.com/moby/buildkit/frontend/gateway/grpcclient.convertRef({0x2ca96c0?, 0x0})
\t/build/frontend/gateway/grpcclient/client.go:99 +0x4b
created by golang.org/x/sync/errgroup.(*Group).Go in goroutine 115
\tgolang.org/x/sync/errgroup/errgroup.go:75 +0x93
"""


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("ERROR: failed to solve: no build stage\n", "The build failed before its first step: no build stage"),
        (
            PANIC,
            "docker buildx crashed: runtime error: invalid memory address or nil pointer dereference.",
        ),
    ],
)
def test_the_message_of_buildx_that_counts(output: str, message: str) -> None:
    problem = failure.explain(Progress(), output, 1)
    assert (problem.code, problem.message) == ("build-failed", message)
    assert problem.details == output


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        ('image "docker.io/shop/api:dev": already exists', True),
        (
            'failed to prepare extraction snapshot "extract-7-MArs sha256:1d": parent snapshot sha256:e6 does not'
            " exist: not found",
            True,
        ),
        ("DeadlineExceeded: context deadline exceeded", True),
        ("failed to get edge: inconsistent graph state", True),
        ("/shop/Cargo.lock: not found", False),
        ('image "docker.io/shop/api:dev" is here; file "x" already exists', False),
    ],
)
def test_a_race_in_the_engine_is_worth_another_try(error: str, passes: bool) -> None:
    assert failure.passing(Progress(), f"ERROR: failed to solve: {error}\n") is passes
