"""`invoke cache` and its tasks from the user's perspective, with a recording docker."""

from __future__ import annotations

import json
import time

import pytest

from tests.cli.conftest import Bench
from tests.support.situations import INFO


def mount(number: int, identity: str, size: str = "300MB", idle: str = "2 days", *, free: bool = True) -> str:
    """Return a cache mount as JSON, as printed by buildx 0.29."""
    return json.dumps(
        {
            "ID": f"r{number}",
            "Description": f'cached mount /x from exec /bin/sh -c cargo build with id "{identity}"',
            "LastUsedAt": f"{idle} ago",
            "Parents": None,
            "Reclaimable": free,
            "Shared": False,
            "Size": size,
            "UsageCount": 7,
        }
    )


MOUNTS = [
    mount(1, "/shop-target-amd64"),
    mount(2, "/shop-target-arm64", "200MB", "3 weeks"),
    mount(3, "/store-target-amd64", "100MB"),
    mount(4, "/shop-cargo-registry", "50MB"),
]


@pytest.fixture
def listed(bench: Bench) -> Bench:
    """An engine with mounts of two projects."""
    bench.reply("buildx du", stdout="\n".join(MOUNTS) + "\n")
    bench.reply("buildx prune", stdout="")
    bench.reply("system df", stdout='{"Type":"Images","Size":"1.5GB"}\n')
    return bench


def prunes(bench: Bench) -> list[list[str]]:
    """Return the arguments of every deletion."""
    return [c["argv"] for c in bench.calls if "prune" in c["argv"]]


def test_view_tells_every_mount_and_whose_it_is(listed: Bench) -> None:
    done = listed.invoke("cache", "--json")
    assert done.code == 0, done.all
    content = json.loads(done.out)
    assert content["schema"] == 1
    first = content["mounts"][0]
    assert (first["id"], first["kind"], first["project"], first["platform"]) == (
        "shop-target-amd64",
        "target",
        "shop",
        "linux/amd64",
    )
    assert (first["bytes"], first["used"], first["records"], first["flags"]) == (300_000_000, 7, ["r1"], [])
    flags = {m["id"]: m["flags"] for m in content["mounts"]}
    assert flags["shop-target-arm64"] == ["not used for 21 d"]
    assert flags["shop-cargo-registry"] == ["orphan"]
    assert flags["store-target-amd64"] == ["other project"]
    assert content["ours"]["bytes"] == 550_000_000
    # a busy machine may not report this figure in time, and the view does not wait for it
    seen = (json.loads(listed.invoke("cache", "--json").out)["images"]["bytes"] for _ in range(20))
    assert next(figure for figure in seen if figure is not None) == 1_500_000_000
    table = listed.invoke("cache").out
    assert "shop-target-amd64" in table
    assert "total build cache: 650.0 MB" in table


def test_an_older_buildx_is_asked_for_text_and_a_builder_goes_through(listed: Bench) -> None:
    old = json.loads(json.dumps(INFO))
    old["ClientInfo"]["Plugins"][0]["Version"] = "v0.13.1"
    listed.reply("info", stdout=json.dumps(old))
    listed.invoke("cache")
    assert listed.call("du")["argv"] == ["buildx", "du", "--verbose"]
    listed.reply("info", stdout=json.dumps(INFO))
    listed.reply(
        "buildx inspect farm", stdout="Name:   farm\nDriver: remote\n\nNodes:\nName:   farm0\nStatus: running\n"
    )
    listed.invoke("cache", "--builder", "farm")
    assert listed.calls[-1]["argv"] == ["buildx", "du", "--builder", "farm", "--format", "json"]


def test_clear_deletes_one_record_by_its_exact_id_after_listing_again(listed: Bench) -> None:
    done = listed.invoke("cache.clear", "--mount", "shop-target-arm64", "--yes")
    assert done.code == 0, done.all
    assert prunes(listed) == [["buildx", "prune", "--force", "--all", "--filter", "id=^r2$"]]
    words = [c["argv"][1] for c in listed.calls if c["argv"][0] == "buildx"]
    assert words == ["du", "du", "prune", "du"]


def test_clear_takes_this_project_by_default_and_several_in_one_go(listed: Bench) -> None:
    listed.invoke("cache.clear", "--yes", "--builder", "farm")
    assert prunes(listed) == [
        ["buildx", "prune", "--builder", "farm", "--force", "--all", "--filter", "id=^(r1|r2|r4)$"]
    ]


def test_what_a_build_took_between_showing_and_deleting_stays(listed: Bench) -> None:
    listed.reply("buildx du", stdout="\n".join([mount(1, "/shop-target-amd64", free=False), *MOUNTS[1:]]) + "\n")
    done = listed.invoke("cache.clear", "--mount", "target", "--yes")
    assert prunes(listed) == [["buildx", "prune", "--force", "--all", "--filter", "id=^r2$"]]
    assert "keeping 1 more in use by a running build" in done.err


def test_layers_stay_while_any_build_runs(listed: Bench) -> None:
    layer = mount(9, "x").replace("cached mount /x from exec", "[compile 2/3] WORKDIR /out/shop/x")
    running = mount(3, "/store-target-amd64", free=False)
    listed.reply("buildx du", stdout="\n".join([MOUNTS[0], layer, running]) + "\n")
    done = listed.invoke("cache.clear", "--mount", "layers", "--mount", "target", "--yes")
    assert prunes(listed) == [["buildx", "prune", "--force", "--all", "--filter", "id=^r1$"]]
    assert "a build is running: keeping the layers" in done.err


def kept_by_cargo(bench: Bench, sizes: str = "") -> None:
    """Create two volumes of the project's cargo tasks. `sizes`: the engine's answer about them."""
    rows = [{"Name": "shop-cargo-target", "Size": "3GB", "Links": "0"}]
    rows += [{"Name": "shop-cargo-registry", "Size": "1GB", "Links": "1"}, {"Name": "data", "Size": "9GB"}]
    bench.reply(
        "volume ls --quiet --filter label=buildkit-tasks.cargo=shop", stdout="".join(f"{r['Name']}\n" for r in rows[:2])
    )
    bench.reply("system df --verbose", stdout=sizes or json.dumps(rows))
    bench.reply("volume rm", stdout="")


def test_the_volumes_of_cargo_tasks_are_listed(listed: Bench) -> None:
    kept_by_cargo(listed)
    # a busy machine may not report sizes in time, and the view does not wait for them
    seen = (json.loads(listed.invoke("cache", "--json").out)["volumes"] for _ in range(20))
    assert next(found for found in seen if found[0]["bytes"] is not None) == [
        {"name": "shop-cargo-target", "bytes": 3_000_000_000, "in_use": False},
        {"name": "shop-cargo-registry", "bytes": 1_000_000_000, "in_use": True},
    ]
    assert any("cargo task volumes: 4.0 GB" in listed.invoke("cache").out for _ in range(20))
    kept_by_cargo(listed, "Error response from daemon: busy")
    content = json.loads(listed.invoke("cache", "--json").out)
    assert content["volumes"][0] == {"name": "shop-cargo-target", "bytes": None, "in_use": None}
    assert "shop-cargo-target" in listed.invoke("cache").out


def test_clear_deletes_the_volumes_of_cargo_tasks_only_if_they_are_named(listed: Bench) -> None:
    kept_by_cargo(listed)
    assert listed.invoke("cache.clear", "--yes").code == 0
    assert not [c for c in listed.calls if c["argv"][:2] == ["volume", "rm"]]
    count = len(prunes(listed))
    assert listed.invoke("cache.clear", "--mount", "volumes").code == 18
    done = listed.invoke("cache.clear", "--mount", "volumes", "--yes")
    assert done.code == 0, done.all
    assert "freed 4.0 GB" in done.err
    removed = [c["argv"] for c in listed.calls if c["argv"][:2] == ["volume", "rm"]]
    assert removed == [["volume", "rm", "shop-cargo-target"], ["volume", "rm", "shop-cargo-registry"]]
    assert len(prunes(listed)) == count
    assert listed.invoke("cache.clear", "--mount", "volumes", "--older", "1d").code == 33
    listed.reply("volume rm shop-cargo-registry", code=1, stderr="Error: volume is in use - [c0ffee]\n")
    done = listed.invoke("cache.clear", "--mount", "volumes", "--mount", "target", "--yes")
    assert "kept shop-cargo-registry: in use by a cargo task" in done.err
    assert len(prunes(listed)) == count + 1


@pytest.mark.parametrize("extra", [(), ("--yes",), ("--confirm", "yes")])
def test_everything_of_everybody_needs_the_word_itself(listed: Bench, extra: tuple[str, ...]) -> None:
    done = listed.invoke("cache.clear", "--everything", *extra)
    assert done.code == 18, done.all
    assert prunes(listed) == []
    assert listed.invoke("cache.clear", "--everything", "--confirm", "everything").code == 0
    assert prunes(listed)[0][-1] == "id=^(r1|r2|r3|r4)$"


def test_a_dry_run_and_a_missing_consent_delete_nothing(listed: Bench) -> None:
    assert listed.invoke("cache.clear", "--dry-run").code == 0
    assert listed.invoke("cache.clear").code == 18
    assert prunes(listed) == []


def test_an_unknown_mount_and_bad_values_are_problems(listed: Bench) -> None:
    done = listed.invoke("cache.clear", "--mount", "shop-target")
    assert done.code == 34
    assert "shop-target-amd64" in done.err
    assert listed.invoke("cache.clear", "--older", "soon").code == 33
    assert listed.invoke("cache.trim", "--keep", "much").code == 33
    assert prunes(listed) == []


def test_a_build_above_the_budget_says_so(listed: Bench) -> None:
    listed.env["BUILDKIT_TASKS_CACHES_BUDGET"] = "500MB"
    done = listed.invoke("build")
    assert done.code == 0, done.all
    assert "the caches use 550.0 MB, more than caches.budget = 500.0 MB" in done.err
    listed.env["BUILDKIT_TASKS_CACHES_BUDGET"] = "1GB"
    assert "caches.budget" not in listed.invoke("build").err


def test_garbage_collection_is_told_from_the_builders_own_rules(listed: Bench) -> None:
    listed.reply(
        "buildx inspect", stdout="Name: default\nDriver: docker\nGC Policy rule#0:\n All: true\n Keep Bytes: 5GB\n"
    )
    answer = json.loads(listed.invoke("cache", "--gc", "--json").out)["gc"]
    assert answer["verdict"].startswith("on: cache mounts are deleted while the total build cache exceeds 5.0 GB")


def test_a_thousand_records_are_shown_within_a_second_of_work(listed: Bench) -> None:
    lines = [mount(n, f"/p{n}-target-amd64") for n in range(1000)]
    listed.reply("buildx du", stdout="\n".join(lines) + "\n")
    began = time.monotonic()
    done = listed.invoke("cache")
    assert done.code == 0, done.all
    assert len(done.out.splitlines()) >= 1000
    # tests/unit measures the work itself; this is the whole process on a machine that may be busy
    assert time.monotonic() - began < 10


def test_a_policy_is_a_diff_until_it_is_consented_to(listed: Bench) -> None:
    listed.reply("buildx inspect", stdout="Name: farm\nDriver: docker-container\nBuildKit version: v0.25.1\n")
    config = listed.place / "home" / ".docker"
    listed.env["DOCKER_CONFIG"] = str(config)
    written = config / "buildx" / "buildkitd.default.toml"
    shown = listed.invoke("engine.gc", "--builder", "farm", "--keep", "30GB")
    assert '+  filters = ["type==regular"]' in shown.out
    assert listed.invoke("engine.gc", "--builder", "farm", "--keep", "30GB", "--write").code == 18
    assert not written.exists()
    assert listed.invoke("engine.gc", "--builder", "farm", "--keep", "30GB", "--write", "--yes").code == 0
    assert 'maxUsedSpace = "30GB"' in written.read_text()
    assert "already has this policy" in listed.invoke("engine.gc", "--builder", "farm", "--keep", "30GB").err


def test_a_remote_builders_file_is_printed_and_nothing_written(listed: Bench) -> None:
    listed.reply("buildx inspect", stdout="Name: farm\nDriver: remote\nBuildKit version: v0.25.1\n")
    done = listed.invoke("engine.gc", "--builder", "farm", "--keep", "30GB", "--write", "--yes")
    assert done.code == 0, done.all
    assert "on the builder's machine" in done.err
    assert not (listed.root / "buildkitd.toml").exists()
