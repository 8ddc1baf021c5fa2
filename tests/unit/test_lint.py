"""Every rule on its own fixtures, on the classic recipe, and on our Dockerfiles."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.lint import project as flow
from buildkit_tasks.lint import reading
from buildkit_tasks.lint.catalogue import RULES, Finding
from buildkit_tasks.lint.check import check
from buildkit_tasks.lint.reading import Source

ROOT = Path(__file__).parents[2]
FIXTURES = sorted((ROOT / "tests/fixtures/lint").iterdir())


def source(folder: Path, name: str = "Dockerfile") -> Source:
    return flow.read_source(folder / name, folder)


def codes(*sources: Source) -> list[str]:
    return [f"{f.code}@{f.line}" for f in check(sources) if f.reason is None]


OURS = source(ROOT, "docker/Dockerfile")


@pytest.mark.parametrize("folder", FIXTURES, ids=lambda f: f.name)
def test_a_fixture_shows_exactly_what_it_was_written_for(folder: Path) -> None:
    given = source(folder)
    expected = re.match(r"# expect:(.*)", given.text)
    assert expected
    assert sorted(codes(given)) == sorted(expected[1].split())
    named = folder.name.split("-")[0]
    if named in RULES:
        assert {found.split("@")[0] for found in codes(given)} == {named}


def test_every_rule_has_a_fixture_and_a_documented_heading() -> None:
    assert {f.name.split("-")[0] for f in FIXTURES} >= set(RULES)
    text = (ROOT / "docs/reference/lint.md").read_text()
    headings = {line[3:] for line in text.splitlines() if line.startswith("## BT")}
    assert headings == {rule.heading for rule in RULES.values()}
    for rule in RULES.values():
        assert rule.code == "BT000" or rule.sources
        assert rule.docs == f"docs/reference/lint.md#{rule.heading.lower().replace(' ', '-')}"
        assert rule.severity in text.split(f"## {rule.heading}\n", 1)[1].split("\n## ")[0]


def test_our_own_dockerfiles_are_clean() -> None:
    services = {name: {"BIN": name, "CACHE_SCOPE": "sample"} for name in ("api", "worker")}
    assert codes(replace(OURS, services=services, platforms=2)) == []
    images = ROOT / "src/buildkit_tasks/data/images"
    assert codes(source(images)) == []


@pytest.mark.parametrize(
    ("code", "old", "new"),
    [
        ("BT001", "id=${CACHE_SCOPE}-target-${TARGETARCH},", ""),
        ("BT002", "ARG TARGETARCH\n", ""),
        ("BT003", "target=/build,sharing=locked", "target=/build"),
        ("BT005", "COPY --from=compile /out/", "COPY --from=compile /build/"),
        ("BT006", "ARG RUSTFLAGS\n", "ARG RUSTFLAGS\nUSER 1000\n"),
        ("BT007", "ARG RUSTFLAGS\n", "ARG RUSTFLAGS\nARG BIN\n"),
        (
            "BT012",
            "-cargo-git,target=${CARGO_HOME}/git,sharing=shared",
            "-cargo-git,target=${CARGO_HOME}/git,sharing=locked",
        ),
        ("BT013", "ARG RUSTFLAGS\n", 'ARG RUSTFLAGS=""\n'),
        ("BT015", "target=${CARGO_HOME}/git", "target=${CARGO_HOME}"),
        ("BT016", "ARG RUSTFLAGS\n", "ARG RUSTFLAGS\nARG CARGO_REGISTRIES_SHOP_TOKEN\n"),
        ("BT017", "target=${CARGO_HOME}/git", "target=/root/.cargo/git"),
    ],
)
def test_a_mistake_in_our_dockerfile_would_be_seen(code: str, old: str, new: str) -> None:
    services = {name: {"BIN": name, "CACHE_SCOPE": "sample"} for name in ("api", "worker")}
    assert old in OURS.text
    broken = replace(OURS, services=services, text=OURS.text.replace(old, new))
    assert {f.code for f in check([broken])} == {code}


def test_an_id_without_the_architecture_is_a_mistake_unless_cargo_itself_keeps_targets_apart() -> None:
    services = {name: {"BIN": name, "CACHE_SCOPE": "sample"} for name in ("api", "worker")}
    cross = replace(OURS, services=services, text=OURS.text.replace("-target-${TARGETARCH}", "-target"))
    assert not check([cross])
    native = replace(cross, text=cross.text.replace("FROM --platform=$BUILDPLATFORM ", "FROM "))
    assert {f.code for f in check([native])} == {"BT002"}


def test_it_is_the_script_that_waives_the_rules_for_our_dockerfile() -> None:
    assert "docker/compile.rs" in OURS.files
    naive = replace(OURS, files={"docker/compile.rs": 'fn main() { Command::new("cargo").args(["build"]); }\n'})
    assert {f.code for f in check([naive])} == {"BT008"}
    parallel = replace(naive, platforms=2)
    assert {f.code for f in check([parallel])} == {"BT008", "BT014"}
    assert {f.code for f in check([replace(OURS, ignore=None)])} == {"BT010", "BT011"}


# ---- findings that need several services or files

SPLIT = """\
FROM rust:1-bookworm AS compile
WORKDIR /app
COPY Cargo.toml Cargo.lock ./
COPY src src
ARG WHICH=api
RUN --mount=type=cache,id=shop-registry,target=/usr/local/cargo/registry cargo build --release --bin $WHICH
"""
IGNORE = "*\n!Cargo.toml\n!Cargo.lock\n!src\n"


def test_services_that_differ_before_the_compile_step_compile_apart_and_race() -> None:
    differ = {"api": {"WHICH": "api"}, "worker": {"WHICH": "worker"}}
    assert codes(Source("Dockerfile", SPLIT, differ, ignore=IGNORE)) == ["BT007@5", "BT014@6"]
    partly: dict[str, dict[str, str]] = {"api": {}, "worker": {"WHICH": "worker"}}
    assert codes(Source("Dockerfile", SPLIT, partly, ignore=IGNORE)) == ["BT007@5", "BT014@6"]
    for same in ({"api": {"WHICH": "all"}, "worker": {"WHICH": "all"}}, {"api": {"WHICH": "api"}}, {}):
        assert codes(Source("Dockerfile", SPLIT, same, ignore=IGNORE)) == []


def test_platforms_race_unless_the_id_tells_them_apart_or_another_mount_is_locked() -> None:
    text = SPLIT.replace("ARG WHICH=api", "ARG TARGETARCH")
    assert codes(Source("Dockerfile", text, platforms=2, ignore=IGNORE)) == ["BT014@6"]
    apart = text.replace("shop-registry", "shop-registry-$TARGETARCH")
    assert codes(Source("Dockerfile", apart, platforms=2, ignore=IGNORE)) == []
    locked = text.replace("RUN ", "RUN --mount=type=cache,id=shop-turn,target=/turn,sharing=locked ")
    assert codes(Source("Dockerfile", locked, platforms=2, ignore=IGNORE)) == []


def test_ids_are_names_of_the_whole_engine() -> None:
    text = (ROOT / "tests/fixtures/lint/clean-sync/Dockerfile").read_text()
    one = Source("a/Dockerfile", text, ignore=IGNORE)
    two = Source("b/Dockerfile", text.replace("rust:1-bookworm", "rust:1-trixie"), ignore=IGNORE)
    found = check([one, two])
    assert [(f.file, f.code, f.line) for f in found] == [("b/Dockerfile", "BT004", 7)]
    assert "rust:1-trixie" in found[0].message
    assert "a/Dockerfile:7" in found[0].message


def test_rust_settings_make_an_empty_rustflags_an_error() -> None:
    found = check([source(ROOT / "tests/fixtures/lint/BT013-with-settings")])
    assert [f.severity for f in found] == ["error"]
    assert [f.severity for f in check([source(ROOT / "tests/fixtures/lint/BT013-argument")])] == ["warning"]


@pytest.mark.parametrize(
    ("settings", "severity"),
    [
        ('[target.x86_64-pc-windows-msvc]\nrustflags = ["-Clink-arg=/STACK:1"]\n', "warning"),
        ('[target."cfg(windows)"]\nrustflags = ["-Clink-arg=/STACK:1"]\n', "warning"),
        ('[target.x86_64-unknown-linux-gnu]\nrustflags = ["-Clink-arg=-fuse-ld=lld"]\n', "error"),
        ('[target."cfg(target_arch = \'x86_64\')"]\nrustflags = ["-Ctarget-cpu=x86-64-v3"]\n', "error"),
        ('[build]\nrustflags = ["-Ctarget-cpu=x86-64-v3"]\n', "error"),
        ("[build]\nrustflags = [broken\n", "error"),
    ],
)
def test_only_rust_settings_for_linux_count(settings: str, severity: str) -> None:
    given = source(ROOT / "tests/fixtures/lint/BT013-argument")
    found = check([replace(given, files={**given.files, ".cargo/config.toml": settings})])
    assert [f.severity for f in found if f.code == "BT013"] == [severity]


def test_an_allowlist_may_name_the_readme() -> None:
    assert OURS.ignore
    assert not check([replace(OURS, ignore=f"{OURS.ignore}\n!README.md\n")])
    assert {f.code for f in check([replace(OURS, ignore="*.log\n")])} == {"BT010", "BT011"}


def test_other_tools_caches_are_a_note_only() -> None:
    for name in ("wild-go", "wild-maven"):
        assert [f.failing for f in check([source(ROOT / f"tests/fixtures/lint/{name}")])] == [False]


def test_a_secret_is_not_repeated() -> None:
    for name in ("BT016-address", "wild-everything"):
        assert "reader:example" not in "".join(f.message for f in check([source(ROOT / f"tests/fixtures/lint/{name}")]))


# ---- suppression


@pytest.mark.parametrize("folder", [f for f in FIXTURES if re.match(r"BT0(?!00)", f.name)], ids=lambda f: f.name)
def test_every_finding_can_be_suppressed_where_it_stands(folder: Path) -> None:
    given = source(folder)
    lines = given.text.split("\n")
    found = check([given])[0]
    starts = [i.line for i in syntax.instructions(given.text) if i.line <= found.line]
    lines.insert(starts[-1] - 1, f"# buildkit-tasks: ignore={found.code} known, and measured")
    quiet = check([replace(given, text="\n".join(lines))])
    assert [(f.code, f.line, f.reason) for f in quiet] == [(found.code, found.line + 1, "known, and measured")]
    assert not any(f.failing for f in quiet)


def test_suppressions_inside_an_instruction_of_several_codes_and_of_another_tool() -> None:
    text = SPLIT.replace(
        "RUN --mount",
        "# buildkit-tasks: ignore=BT001, BT003, DL3059 one builder only\nRUN \\\n  --mount",
    ).replace("id=shop-registry,target=/usr/local/cargo/registry", "target=/app/target")
    theirs = Finding("DL3059", "warning", "Dockerfile", 8, "Multiple consecutive RUN instructions.")
    found = check([Source("Dockerfile", text, ignore=IGNORE)], [theirs])
    assert [(f.code, f.line) for f in found if f.reason == "one builder only"] == [
        ("BT001", 8),
        ("BT003", 8),
        ("DL3059", 8),
    ]
    assert [f.code for f in found if f.reason is None] == ["BT008"]


def test_a_suppression_without_a_reason_counts_and_is_noted() -> None:
    text = SPLIT.replace("registry,target", "registry,sharing=locked,target").replace(
        "RUN --mount", "# buildkit-tasks: ignore=BT012\nRUN --mount"
    )
    found = check([Source("Dockerfile", text, ignore=IGNORE)])
    assert [(f.code, f.severity, f.reason) for f in found] == [("BT000", "note", None), ("BT012", "warning", "")]


# ---- arbitrary text

WORDS = st.sampled_from(
    [
        *("FROM rust:1 AS a", "FROM a", "FROM", "FROM --platform=$BUILDPLATFORM ${X:-a} AS b", "USER 1000:0", "USER"),
        *("ARG X", "ARG X=${X}", 'ENV A="b c" D=', "ENV A b", "ARG RUSTFLAGS=", "WORKDIR ${X}/..", "WORKDIR", "ENV"),
        *("COPY . .", "COPY --from=a /t/x /y", 'COPY ["a"]', "COPY [", "COPY <<E /x", "E", "ADD a", "COPY --from=0 ."),
        *("RUN --mount=type=cache,target=target", "RUN --mount=type=cache", "RUN --mount=", "RUN <<E <<F", "F", "RUN"),
        *(
            "RUN --mount=from=b,target=/z --mount=type=cache,id=$X,target=$X,uid=$A,mode=9",
            "cd ${X",
            "cargo build",
            "\\",
        ),
        *(
            "# buildkit-tasks: ignore=BT001",
            "# escape=`",
            "`",
            "echo 'fn main(){}' > src/main.rs",
            "'",
            '"',
            "\\\\",
            "&&",
        ),
        *(
            'CMD ["/t/x"]',
            "CMD",
            "ENTRYPOINT x",
            "ONBUILD RUN x",
            "\t",
            "\x00",
            "\u2028",
            "\ufeff",
            "touch src/main.rs",
        ),
    ]
)
TEXT = st.one_of(
    st.text(),
    st.lists(st.tuples(WORDS, st.sampled_from(["\n", " ", " \\\n", "\r\n", ",", ""])), max_size=40).map(
        lambda parts: "".join(word + gap for word, gap in parts)
    ),
)


@settings(max_examples=400, deadline=None)
@given(text=TEXT, ignore=st.one_of(st.none(), st.text(alphabet="*!/#[]ab.\\^- \n")))
def test_no_text_makes_it_crash_and_every_line_exists(text: str, ignore: str | None) -> None:
    services = {"api": {"X": "1"}, "worker": {"X": "${X}"}}
    given = Source("Dockerfile", text, services, 2, ignore)
    reading.wanted(given)
    for found in check([given, replace(given, name="other", services={})]):
        assert 1 <= found.line <= text.count("\n") + 1
        assert found.severity in ("error", "warning", "note")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(FIXTURES), st.integers(1, 9), st.booleans())
def test_blank_lines_comments_and_line_ends_only_move_findings(folder: Path, count: int, windows: bool) -> None:
    given = source(folder)
    moved = "# a comment\n\n" * count + given.text
    found = codes(replace(given, text=moved.replace("\n", "\r\n") if windows else moved))
    shifted = [(code, int(line) + 2 * count) for code, line in (one.split("@") for one in codes(given))]
    assert sorted(found) == sorted(f"{code}@{line}" for code, line in shifted)
