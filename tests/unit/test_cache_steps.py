"""The steps of a Dockerfile as BuildKit caches them, and the same steps in its progress."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from buildkit_tasks.core.model import Service
from buildkit_tasks.core.progress import Progress
from buildkit_tasks.dockerfiles.cache_steps import CacheStep, Source, steps
from buildkit_tasks.dockerfiles.document import Dockerfile
from buildkit_tasks.history import observed
from tests.support.recorded import History, Project

REPOSITORY = Path(__file__).parents[2]


def read(
    text: str, args: dict[str, str] | None = None, target: str = "", contexts: tuple[str, ...] = ()
) -> list[CacheStep]:
    return list(steps(Dockerfile.read(text), args or {}, target, contexts))


def test_our_own_dockerfile() -> None:
    text = (REPOSITORY / "docker/Dockerfile").read_text()
    found = read(text, {"BIN": "api", "CACHE_SCOPE": "shop", "TARGETARCH": "amd64", "BUILDARCH": "amd64"})
    assert [(s.stage, s.keyword, s.after, s.needs) for s in found] == [
        ("toolchain", "COPY", None, ()),
        ("toolchain", "RUN", 0, ()),
        ("compile", "WORKDIR", 1, ()),
        ("compile", "RUN", 2, ()),
        ("runtime", "COPY", None, (3,)),
    ]
    compiling, shipped = found[3], found[4]
    assert compiling.sources == (Source(""),)
    assert dict(compiling.variables)["PROFILE"] == "release"
    assert "BIN" not in dict(compiling.variables)
    assert dict(shipped.variables) == {"BIN": "api", "CACHE_SCOPE": "shop"}
    assert found[0].sources == (Source("", ("docker/cross.sh", "rust-toolchain*", "services/rust-toolchain*")),)
    assert (compiling.base, shipped.base) == ("rust:1-bookworm", "debian:bookworm-slim")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a\nCOPY . /x\n", [Source("")]),
        ("FROM a\nCOPY x y/ /z\n", [Source("", ("x", "y"))]),
        ('FROM a\nCOPY ["a b", "/z"]\n', [Source("", ("a b",))]),
        ("FROM a\nENV D=dir\nCOPY $D/x /z\n", [Source("", ("dir/x",))]),
        ("FROM a\nARG D=dir\nCOPY ${D}/x /z\n", [Source("", ("dir/x",))]),
        ("FROM a\nCOPY --from=other:1 /x /z\n", [Source("other:1", ("x",))]),
        ("FROM other:1 AS b\nFROM a\nCOPY --from=b /x /z\n", [Source("other:1", ("x",))]),
        ("FROM a\nCOPY <<END /z\ntext\nEND\n", []),
        ("FROM a\nRUN --mount=target=/x,source=./s true\n", [Source("", ("s",))]),
        ("FROM a\nRUN --mount=type=cache,target=/x --mount=type=secret,id=y true\n", []),
        ("FROM a\nRUN --mount=type=cache,target=/x,from=seed true\n", [Source("seed")]),
        ("FROM a\nADD https://example.org/x /z\n", []),
        ("FROM a\nWORKDIR /x\n", []),
    ],
)
def test_what_a_step_reads(text: str, expected: list[Source]) -> None:
    assert list(read(text)[-1].sources) == expected


def test_which_values_a_step_sees() -> None:
    text = (
        "ARG GLOBAL=g\nARG OTHER=o\nFROM a AS base\nARG GLOBAL\nENV X=$GLOBAL\nARG HTTP_PROXY\nRUN one\nARG LATE=1\n"
        "FROM base AS next\nUSER 1\nWORKDIR /w/$X\nRUN two\nENV Y=2\nCMD x\n"
    )
    one, workdir, two = read(text, {"HTTP_PROXY": "http://proxy"}, "next")
    assert one.variables == (("GLOBAL", "g"),)
    assert one.surroundings == ("ENV X=$GLOBAL",)
    assert (workdir.variables, workdir.surroundings) == ((("GLOBAL", "g"),), ("ENV X=$GLOBAL",))
    assert two.variables == (("GLOBAL", "g"), ("LATE", "1"))
    assert two.surroundings == ("ENV X=$GLOBAL", "USER 1")


def test_names_of_stages_are_those_of_buildkit() -> None:
    assert [s.stage for s in read("FROM a AS only\nRUN x\n")] == [""]
    assert [s.stage for s in read("FROM a AS One\nRUN x\nFROM one\nRUN y\n")] == ["one", "stage-1"]


def test_stages_that_a_context_replaces_or_nobody_needs() -> None:
    text = "FROM a AS one\nRUN x\nFROM b AS two\nRUN y\nFROM c\nCOPY --from=one /x /x\n"
    assert [s.stage for s in read(text)] == ["one", "stage-2"]
    (only,) = read(text, contexts=("one",))
    assert only.sources == (Source("one", ("x",)),)


@pytest.mark.parametrize(
    "text", ["", "RUN x\n", "FROM\nRUN x\n", "FROM a\nCOPY\n", 'FROM a\nCOPY ["a"\n', "FROM a\nRUN\n", "\0\nFROM a\n"]
)
def test_what_is_no_dockerfile_has_no_meaning_but_no_error(text: str) -> None:
    read(text)


SERVICE = Service("api", "api", Path("/x"), Path("/x/Dockerfile"), "api", key="api")


def progress(*vertexes: tuple[str, str]) -> Progress:
    """Return the progress of a build: names and states of its steps."""
    made = Progress()
    times = {"started": "2026-01-01T00:00:00Z", "completed": "2026-01-01T00:00:01.5Z"}
    for at, (name, state) in enumerate(vertexes):
        item = {"digest": str(at), "name": name, "cached": state == "cached"}
        more = {"error": "exit code: 1"} if state == "failed" else {}
        made.update({"vertexes": [{**item, **(times if state else {}), **more}]})
    return made


@pytest.mark.parametrize("prefix", ["", "api ", "linux/amd64 ", "api linux/amd64->arm64 "])
@pytest.mark.parametrize("counts", [True, False])
def test_steps_are_found_whatever_precedes_their_names(prefix: str, counts: bool, tmp_path: Path) -> None:
    build = History(tmp_path).build(Project())
    shift = 1 if counts else 0  # a base image that a named context replaces has no step, but still counts
    names = [
        (f"[{prefix}compile {1 + shift}/4] RUN setup", "cached"),
        (f"[{prefix}compile {2 + shift}/4] WORKDIR /out", "cached"),
        (f"[{prefix}compile  {3 + shift}/4] RUN /compile build", "ran"),
        (f"[{prefix}compile  {3 + shift}/4] RUN /compile build", ""),
        (f"[{prefix}stage-2 {1 + shift}/3] COPY --from=compile /out/api /usr/local/bin/", "failed"),
        (f"[{prefix}stage-2 {2 + shift}/3] COPY config /etc/config", ""),
        (f"[{prefix}internal] load build context", "ran"),
        (f"[{prefix}stage-9 1/3] RUN something else", "ran"),
    ]
    made = progress(*names)
    found = observed.states(build.inputs, observed.positions(build.inputs, [SERVICE], made), made)
    states = {step.text.split()[0] + str(step.line): step.state for step in found}
    assert states == {
        "COPY3": "cached",
        "RUN6": "cached",
        "WORKDIR7": "cached",
        "RUN12": "ran",
        "COPY15": "failed",
        "COPY16": "",
    }


def test_crates_and_images(tmp_path: Path) -> None:
    made = progress(("[stage 1/2] FROM docker.io/library/debian:12@sha256:" + "a" * 64, "cached"))
    made.update({"vertexes": [{"digest": "c", "name": "[compile 1/1] RUN x"}]})
    text = (
        "  Downloaded serde v1.0.1\n   Compiling serde v1.0.1\n"
        "   Compiling api v0.1.0 (/build/2-abc/src/services/api)\nbuildkit-tasks: total 2\n"
        "    Finished `release` profile [optimized] target(s) in 1s\n"
    )
    data = base64.b64encode(text.encode()).decode()
    made.update({"logs": [{"vertex": "c", "data": data, "timestamp": "2026-01-01T00:00:03.25Z"}]})
    build = History(tmp_path).build(Project())
    seen, cargo = observed.reported(observed.positions(build.inputs, [SERVICE], made), made)
    assert [(c.name, c.version, c.place, c.began, c.step) for c in cargo.crates] == [
        ("serde", "1.0.1", None, 3.25, 1),
        ("api", "0.1.0", "services/api", 3.25, 1),
    ]
    assert (cargo.tree, cargo.total, cargo.downloaded) == ("2-abc", 2, 1)
    assert [(s.name[:9], s.cached, s.internal, s.finished) for s in seen] == [
        ("[stage 1/", True, False, None),
        ("[compile ", False, False, 3.25),
    ]
    known = {"debian:12": "sha256:1", "rust:1": "sha256:2"}
    assert observed.bases(known, made) == {"debian:12": "registry sha256:" + "a" * 64, "rust:1": "sha256:2"}
    same = {"debian:12": "sha256:" + "a" * 64}
    assert observed.bases(same, made) == same
