"""Text for opening, warming and configuring caches: Dockerfiles, builder rules, policies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from buildkit_tasks.caches import collector, mount_script, warm_step
from buildkit_tasks.caches.mount_script import Opened
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockercli import buildx

INSPECTED = """\
Name:   default
Driver: docker

Nodes:
Name:             default
BuildKit version: v0.25.1
GC Policy rule#0:
 All:            false
 Filters:        type==source.local,type==exec.cachemount,type==source.git.checkout
 Keep Duration:  48h0m0s
 Max Used Space: 3.346GiB
GC Policy rule#1:
 All:            true
 Reserved Space: 20GiB
 Max Used Space: 100GiB
 Min Free Space: 10GiB
"""

DOCKERFILE = """\
FROM rust:1 AS toolchain
RUN --mount=type=cache,target=/var/cache/apt apt-get update
FROM toolchain AS compile
ARG CACHE_SCOPE
RUN --mount=type=bind,target=/context \\
    --mount=type=cache,id=${CACHE_SCOPE}-target-${TARGETARCH},target=/build,sharing=locked \\
    /compile build
FROM scratch
COPY --from=compile /out /
"""


def test_an_impossible_filter_spares_mounts_and_the_verdict_says_so() -> None:
    found = collector.parse(INSPECTED)
    assert (found.driver, found.buildkit) == ("docker", "v0.25.1")
    first, *rest = collector.verdict(found)
    assert first.startswith("on: cache mounts are deleted while the total build cache exceeds 107.4 GB")
    assert rest[0].startswith("rule 0 has no effect")


def test_the_fixed_filter_takes_mounts_after_48_hours() -> None:
    fixed = INSPECTED.replace(",type==", " type==")
    first, *rest = collector.verdict(collector.parse(fixed))
    assert first.startswith("on: cache mounts are deleted if unused for 2 d while the total build cache exceeds 3.6")
    assert rest[0].startswith("rule 0 deletes mounts if unused for 2 d")


def test_no_rules_is_off() -> None:
    assert collector.verdict(collector.parse("Name: default\nDriver: docker\n"))[0].startswith("off")


def test_the_proposed_policy_takes_no_mount_and_keeps_the_rest_of_the_file() -> None:
    text = collector.daemon_text('{"features": {"x": true}, "builder": {"other": 1}}', 30 * 10**9, (28, 5))
    content = json.loads(text)
    assert content["features"] == {"x": True}
    assert content["builder"]["other"] == 1
    rules = content["builder"]["gc"]["policy"]
    assert all("cachemount" not in f and r["maxUsedSpace"] == "30GB" for r in rules for f in r["filter"])
    assert '"keepStorage": "30GB"' in collector.daemon_text("", 30 * 10**9, (26, 1))
    with pytest.raises(Problem, match="Cannot parse"):
        collector.daemon_text("{", 1, (28,))
    toml = collector.buildkitd_text(30 * 10**9, (0, 25, 1))
    assert 'filters = ["type==regular"]\n  maxUsedSpace = "30GB"' in toml
    assert "keepBytes = 30000000000" in collector.buildkitd_text(30 * 10**9, (0, 12))


def test_warming_wraps_the_step_with_the_target_mount_and_leaves_the_rest() -> None:
    text, stage = warm_step.derive(DOCKERFILE, {"CACHE_SCOPE": "shop"}, "n1")
    lines = text.split("\n")
    assert stage == "compile"
    assert lines[:4] == DOCKERFILE.split("\n")[:4]
    assert lines[5:] == DOCKERFILE.split("\n")[7:]
    assert lines[4] == (
        "RUN --mount=type=bind,target=/context "
        "--mount=type=cache,id=${CACHE_SCOPE}-target-${TARGETARCH},target=/build,sharing=locked "
        "--mount=type=bind,from=buildkit-tasks-warm,target=/run/buildkit-tasks-warm "
        "--mount=type=tmpfs,target=/.buildkit-tasks-warm : n1; "
        "sh /run/buildkit-tasks-warm/warm.sh prepare && "
        "{ /compile build ; sh /run/buildkit-tasks-warm/warm.sh judge; }"
    )


def test_warming_needs_a_step_with_a_target_mount() -> None:
    with pytest.raises(Problem, match="compiles into a cache mount"):
        warm_step.derive("FROM rust:1\nRUN cargo build\n", {}, "n1")


def test_opening_uses_the_sharing_of_the_project_and_checks_all_before_anything_goes() -> None:
    mounts = [Opened("shop-target-amd64", "locked"), Opened("shop-cargo-registry", "shared")]
    text = mount_script.removal("rust:1", mounts, ["g0  -", "g1  -"], "n1")
    assert "--mount=type=cache,id=shop-target-amd64,target=/mnt/0,sharing=locked" in text
    assert "--mount=type=cache,id=shop-cargo-registry,target=/mnt/1,sharing=shared" in text
    assert text.index('= "g1  -" ] || exit 75') < text.index("rm -rf")


@pytest.mark.parametrize(
    "text", ["", "a b", "a,target=/x", "a\nRUN id", "$(id)", "a;id", 'a"', "a'", "a\\", "a#", "`id`", "${X}"]
)
def test_nothing_that_could_go_on_with_something_else_comes_into_a_generated_dockerfile(text: str) -> None:
    sound = [Opened("shop-target-amd64", "locked")]
    for make in (
        lambda: Opened(text, "locked"),
        lambda: Opened("shop", text),
        lambda: mount_script.listing(text, sound, "n1"),
        lambda: mount_script.removal("rust:1", sound, [text], "n1"),
    ):
        with pytest.raises(Problem) as caught:
            make()
        assert caught.value.code == "cache-missing"


def test_a_definition_means_what_it_says() -> None:
    definition = {"target": {"a": {"args": {"X": "${Y}", "%{N}": "$${Z}"}, "tags": ["t"], "no-cache": True}}}
    written = buildx.bake(Path("/"), definition, Path("/m")).stdin
    assert written is not None
    assert json.loads(written) == {
        "target": {"a": {"args": {"X": "$${Y}", "%%{N}": "$$${Z}"}, "tags": ["t"], "no-cache": True}}
    }
