"""Names of packs, what they can be used for, and whether they are worth it."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import pytest

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockerfiles import compile_step
from buildkit_tasks.packs import keys, steps
from buildkit_tasks.packs import pack as packs
from buildkit_tasks.packs.pack import Facts, Listed
from buildkit_tasks.registry.names import Digest, Malformed, Tag

FACTS = Facts(
    toolchain="0123456789abcdef",
    rustc="rustc 1.95.0 (59807616e 2026-04-14)",
    host="x86_64-unknown-linux-gnu",
    profile="release",
    rustflags="",
    lock="a" * 64,
    manifests="b" * 64,
    units=0,
    crates=300,
    form="zst",
    packages=("gcc 12.2", "libssl-dev 3.0.15"),
    parts={"registry.tar.zst": 50_000_000, "deps-1.tar.zst": 700_000_000},
    packed_units=500,
    compile_seconds=320.0,
)
TEXT = """\
toolchain=0123456789abcdef
rustc=rustc 1.95.0 (59807616e 2026-04-14)
host=x86_64-unknown-linux-gnu
profile=release
rustflags=-C target-cpu=native
lock=aa
manifests=bb
form=gz
units=3
crates=300
part=deps-2.tar.gz 400000000 5000
part=rest.tar.gz 1000 2
part=deps-1.tar.gz 300000000 4000
part=registry.tar.gz 50000000 600
compile_seconds=320.5
packed_units=500
"""


def said(facts: Facts, **other: object) -> dict[str, object]:
    found = packs.read_label({packs.LABEL: packs.label(facts, "deps", "amd64", "2026-11-01T00:00:00+00:00")})
    assert found is not None
    return {**found, **other}


def test_facts_are_read_as_the_script_writes_them() -> None:
    facts = packs.read_facts(TEXT, "gcc 12.2\nlibssl-dev 3.0.15\n")
    assert (facts.rustflags, facts.units, facts.form, facts.bytes) == ("-C target-cpu=native", 3, "gz", 750_001_000)
    # parts that change least come first
    assert [*facts.parts] == ["registry.tar.gz", "deps-1.tar.gz", "deps-2.tar.gz", "rest.tar.gz"]
    assert (facts.compile_seconds, facts.packed_units, facts.packages[1]) == (320.5, 500, "libssl-dev 3.0.15")


@pytest.mark.parametrize(
    "other",
    [
        replace(FACTS, lock="c" * 64),
        replace(FACTS, manifests="c" * 64),
        replace(FACTS, rustflags="-g"),
        replace(FACTS, profile="dev"),
        replace(FACTS, toolchain="f" * 16),
        replace(FACTS, host="aarch64-unknown-linux-gnu"),
    ],
)
def test_everything_that_makes_units_valid_is_in_the_exact_tag(other: Facts) -> None:
    assert keys.cargo_exact("deps", "linux/amd64", FACTS) != keys.cargo_exact("deps", "linux/amd64", other)


def test_what_a_machine_only_holds_is_not_in_the_exact_tag() -> None:
    elsewhere = replace(FACTS, units=99, parts={}, compile_seconds=1.0, packages=())
    assert keys.cargo_exact("deps", "amd64", FACTS) == keys.cargo_exact("deps", "linux/amd64", elsewhere)


def test_tags_are_tags() -> None:
    odd = replace(FACTS, profile="Release With Debug/1", toolchain="0123456789abcdef-01234567")
    tag = keys.cargo_exact("deps", "linux/arm/v7", odd)
    assert len(tag) <= 128
    assert set(tag) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.-")


def test_a_pack_of_another_toolchain_profile_or_size_is_objected_to() -> None:
    assert packs.objections(said(FACTS), FACTS, 10**9) == []
    (reason,) = packs.objections(said(FACTS, toolchain="f" * 16), FACTS, 10**9)
    assert "different toolchain" in reason
    (reason,) = packs.objections(said(FACTS), FACTS, 10**8)
    assert "750.0 MB" in reason
    assert packs.objections(said(FACTS, profile="dev"), FACTS, 10**9)


def test_a_pack_that_this_image_cannot_read_is_objected_to_before_it_is_fetched() -> None:
    without = replace(FACTS, form="gz")
    (reason,) = packs.objections(said(FACTS), without, 10**9)
    assert "zstd" in reason
    assert packs.objections(said(without), FACTS, 10**9) == []


@pytest.mark.parametrize("labels", [{}, {packs.LABEL: "{"}, {packs.LABEL: "[]"}, {packs.LABEL: '{"format":1}'}])
def test_an_image_that_is_no_pack_says_nothing(labels: dict[str, str]) -> None:
    assert packs.read_label(labels) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *product(["parts"], [None, [], {"deps-1.tar.gz": "9"}, {"deps-1.tar.gz": -1}, {"../x": 1}]),
        *product(["packages"], [None, {}, [1], "gcc 12"]),
        *product(["compile_seconds"], [None, "3", True, 1e300]),
        *product(["toolchain", "rustc", "created"], [None, 7, [], "\ud800"]),
        ("units", True),
    ],
)
def test_a_pack_that_describes_itself_in_another_shape_is_malformed(name: str, value: object) -> None:
    label = {**json.loads(packs.label(FACTS, "deps", "amd64", "")), name: value}
    with pytest.raises(Malformed):
        packs.read_label({packs.LABEL: json.dumps(label)})


def test_what_a_pack_says_is_fit_for_a_screen() -> None:
    label = packs.label(replace(FACTS, rustc="\x1b[2Jrustc\nfake", packages=("gcc \x07",)), "deps", "amd64", "")
    found = packs.read_label({packs.LABEL: label})
    assert found is not None
    assert found["rustc"] == "\ufffd[2Jrustc\ufffdfake"
    assert found["packages"] == ["gcc \ufffd"]


def test_what_differs_between_two_toolchain_images_is_told() -> None:
    other = said(FACTS, rustc="rustc 1.90.0", packages=["gcc 12.2", "libssl-dev 3.0.14", "zlib 1"])
    assert packs.differences(other, FACTS) == [
        "compiler: rustc 1.90.0 in the pack, rustc 1.95.0 (59807616e 2026-04-14) here",
        "libssl-dev: 3.0.14 in the pack, 3.0.15 here",
        "zlib: 1 in the pack, absent here",
    ]
    assert "files in /usr differ" in packs.differences(said(FACTS), FACTS)[0]


def test_only_moving_tags_of_the_same_kind_of_pack_tell_of_other_toolchains() -> None:
    tags = [
        keys.cargo_newest("deps", "amd64", FACTS),
        keys.cargo_exact("deps", "amd64", FACTS),
        Tag("deps-amd64-release-ffff"),
        Tag("deps-amd64-release-ffff-0000"),
        Tag("deps-arm64-release-ffff"),
        Tag("all-amd64-release-ffff"),
        Tag("base-rust"),
    ]
    assert keys.cargo_others(tags, "deps", "linux/amd64", FACTS) == ("deps-amd64-release-ffff",)


def test_a_pack_pays_when_its_first_use_does() -> None:
    assert packs.economy(FACTS, save=10).pays
    tiny = replace(FACTS, parts={"deps-1.tar.zst": 1_000_000}, compile_seconds=1.5)
    assert not packs.economy(tiny, save=1.0).pays
    assert "compiling takes 1.5 s" in packs.economy(tiny, save=1.0).words


def test_old_packs_beyond_those_to_keep_expire_by_kind() -> None:
    def pack(day: int, platform: str = "amd64") -> Listed:
        label = {"scope": "deps", "platform": platform, "profile": "release"}
        return Listed(Digest.of(f"{platform}{day}".encode()), (), 1, f"2026-11-{day:02d}T00:00:00+00:00", label)

    found = [pack(1), pack(2), pack(3), pack(20), pack(1, "arm64")]
    going = packs.expired(found, keep=2, before="2026-11-10T00:00:00+00:00")
    assert [p.digest for p in going] == [pack(2).digest, pack(1).digest]


DOCKERFILE = """\
FROM rust:1 AS compile
ARG CACHE_SCOPE
RUN --mount=type=bind,target=/context \\
    --mount=type=cache,id=${CACHE_SCOPE}-target-amd64,target=/build,sharing=locked \\
    /compile build
FROM debian
COPY --from=compile /x /y
"""


def test_the_scripts_take_the_place_of_the_compile_steps_command_and_nothing_else() -> None:
    step = compile_step.find(DOCKERFILE, {"CACHE_SCOPE": "shop"})
    text = steps.dockerfile(DOCKERFILE, step, ("unpack", "empty", "100", "abc"), "nonce", pack=True)
    program, line = (line for line in text.splitlines() if line.startswith("RUN"))
    assert "rustc " in program
    assert "type=cache" not in program
    assert "id=${CACHE_SCOPE}-target-amd64,target=/build,sharing=locked" in line
    assert "from=buildkit-tasks-pack,target=/run/buildkit-tasks-pack" in line
    assert line.endswith("travel.sh unpack /compile empty 100 abc")
    assert "/compile build" not in text
    assert "COPY --from=compile /buildkit-tasks-travel/ /" in text


def test_a_probe_does_not_wait_for_the_program_that_unpacks() -> None:
    step = compile_step.find(DOCKERFILE, {"CACHE_SCOPE": "shop"})
    assert "rustc" not in steps.dockerfile(DOCKERFILE, step, ("probe",), "nonce")


@pytest.mark.parametrize(
    "secret", ["type=secret,id=npm,target=/x", "id=npm,type=secret", "type=secret", '"type=secret",id=npm']
)
def test_a_short_step_has_no_secrets_and_every_other_mount(secret: str) -> None:
    text = DOCKERFILE.replace("RUN ", f"RUN --mount={secret} --network=none ", 1)
    step = compile_step.find(text, {"CACHE_SCOPE": "shop"})
    assert secret in step.flags
    bare = compile_step.without_secrets(step)
    assert bare.flags == step.flags.replace(f"--mount={secret} ", "")
    assert "type=cache" in bare.flags
    assert (bare.command, bare.first, bare.last) == (step.command, step.first, step.last)


@pytest.mark.parametrize("word", ["100; id", "$(id)", "a b", "", "a\nb", "x,target=/y"])
def test_only_words_come_into_the_shell_line(word: str) -> None:
    with pytest.raises(ValueError, match="words"):
        steps.command_for("/compile build", ("unpack", word), "nonce")


def test_a_compile_step_without_the_compile_program_is_refused() -> None:
    step = compile_step.find(DOCKERFILE.replace("/compile build", "cargo build"), {"CACHE_SCOPE": "a"})
    with pytest.raises(Problem, match="does not use the compile program"):
        steps.command_for(step.command, ("probe",), "nonce")
