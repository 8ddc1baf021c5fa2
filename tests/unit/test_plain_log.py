"""Plain output of `docker build`, recorded from two real builders, converted to progress."""

from __future__ import annotations

import pytest

from buildkit_tasks.buildlog.plain_log import PlainLog
from buildkit_tasks.core.progress import Progress

BUILDKIT = b"""\
#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 97B 0.0s done
#1 DONE 0.0s

#5 [toolchain 1/2] FROM docker.io/library/rust
#5 CACHED

#8 [compile 2/2] RUN /compile build
#8 0.412    Compiling common v0.1.0 (/src/common)
#8 1.020    Compiling api v0.1.0 (/src/api)
#8 2.301 buildkit-tasks: fresh 7
#8 DONE 2.4s

#9 exporting to image
#9 exporting layers done
#9 DONE 0.1s
"""
LEGACY = b"""\
Sending build context to Docker daemon  14.85kB
Step 1/3 : FROM localhost/rust
 ---> 9a1c0b7d1c52
Step 2/3 : RUN cargo fetch --locked
 ---> Using cache
 ---> 3c1b7d1c529a
Step 3/3 : RUN cargo build --frozen
 ---> Running in a0a3c9116c4a
\x1b[91m   Compiling\x1b[0m\x1b[91m api v0.1.0 (/src/services/api)
\x1b[0mRemoving intermediate container a0a3c9116c4a
 ---> 7d1c529a3c1b
Successfully built 7d1c529a3c1b
"""
PODMAN = b"""\
Sending build context to Docker daemon  14.85kB
[1/2] STEP 1/3: FROM localhost/rust
[1/2] STEP 2/3: RUN cargo fetch --locked
--> Using cache bb799ff1355fed7b
--> bb799ff1355
[1/2] STEP 3/3: RUN cargo build --frozen
   Compiling api v0.1.0 (/src/services/api)
[2/2] COMMIT shop/api:dev
--> f3a73b578b5
Successfully built f3a73b578b5f
"""


def fold(text: bytes, code: int = 0, size: int = 0) -> tuple[Progress, PlainLog]:
    progress, log = Progress(), PlainLog("api", now=iter(range(1000, 2000)).__next__)
    for at in range(0, len(text), size or len(text)):
        for status in log.feed(text[at : at + (size or len(text))]):
            progress.update(status)
    for status in log.close(code):
        progress.update(status)
    return progress, log


@pytest.mark.parametrize("size", [0, 1, 7])
def test_buildkit_s_plain_progress(size: int) -> None:
    progress, _ = fold(BUILDKIT, size=size)
    assert progress.compiled == ["common", "api"]
    assert progress.fresh == 7
    assert [(s.name, s.cached) for s in progress.steps()] == [
        ("[api toolchain 1/2] FROM docker.io/library/rust", True),
        ("[api compile 2/2] RUN /compile build", False),
    ]


@pytest.mark.parametrize("text", [LEGACY, PODMAN], ids=["docker", "podman"])
@pytest.mark.parametrize("size", [0, 1, 7])
def test_the_legacy_builder(text: bytes, size: int) -> None:
    progress, _ = fold(text, size=size)
    assert progress.compiled == ["api"]
    assert [(s.name, s.cached) for s in progress.steps()] == [
        ("[api 1/3] FROM localhost/rust", False),
        ("[api 2/3] RUN cargo fetch --locked", True),
        ("[api 3/3] RUN cargo build --frozen", False),
    ]


@pytest.mark.parametrize(
    ("text", "name", "error"),
    [
        (
            BUILDKIT[: BUILDKIT.index(b"#8 DONE")]
            + b"#8 ERROR: process did not complete successfully: exit code: 101\n",
            "[api compile 2/2] RUN /compile build",
            "process did not complete successfully: exit code: 101",
        ),
        (
            LEGACY[: LEGACY.index(b"\x1b[0mRemoving")] + b"\nThe command returned a non-zero code: 101\n",
            "[api 3/3] RUN cargo build --frozen",
            "The command returned a non-zero code: 101",
        ),
        (b"unknown flag: --progress\n", "", "unknown flag: --progress"),
    ],
)
def test_a_failure_has_its_step_and_its_words(text: bytes, name: str, error: str) -> None:
    progress, _ = fold(text, code=1)
    failed = progress.failed()
    assert failed is not None
    assert failed.name == name
    assert failed.error == error
