"""Settings and their origins through the real command line."""

from __future__ import annotations

import json

from tests.cli.conftest import Bench


def test_every_setting_has_a_value_and_an_origin_and_later_ones_win(bench: Bench) -> None:
    (bench.root / "pyproject.toml").write_text('[tool.buildkit-tasks]\nprofile = "fast"\nhealth-timeout = 5\n')
    (bench.root / ".env").write_text("BUILDKIT_TASKS_BUILD_PROFILE=from-dotenv\n")
    found = {s["name"]: s for s in json.loads(bench.invoke("settings", "--json").out)["settings"]}
    assert found["build.profile"] == {
        "name": "build.profile",
        "value": "from-dotenv",
        "origin": ".env (BUILDKIT_TASKS_BUILD_PROFILE)",
    }
    assert found["stack.health_timeout"]["origin"] == "pyproject.toml"
    assert found["stack.health_timeout"]["value"] == "5s"
    bench.env["BUILDKIT_TASKS_BUILD_PROFILE"] = "from-environment"
    found = {s["name"]: s for s in json.loads(bench.invoke("settings", "--json").out)["settings"]}
    assert found["build.profile"]["value"] == "from-environment"


def test_unknown_setting_is_refused_by_name(bench: Bench) -> None:
    (bench.root / "pyproject.toml").write_text('[tool.buildkit-tasks]\nprofil = "fast"\n')
    done = bench.invoke("settings")
    assert done.code == 4
    assert "unknown setting 'profil'" in done.err


def test_a_number_that_is_none(bench: Bench) -> None:
    bench.env["BUILDKIT_TASKS_STACK_HEALTH_TIMEOUT"] = "soon"
    done = bench.invoke("settings")
    assert done.code == 4
    assert "is not a duration such as 90s" in done.err


def test_a_word_that_a_setting_does_not_know(bench: Bench) -> None:
    bench.env["BUILDKIT_TASKS_PACKS_PUSH"] = "alway"
    done = bench.invoke("settings")
    assert done.code == 4
    assert "is not one of ci-main, always, never" in done.err


def test_list_names_the_tasks(bench: Bench) -> None:
    done = bench.invoke("--list")
    assert done.code == 0
    assert not bench.calls
    for task in ("build", "up", "down", "quickstart", "engine.status", "images", "settings", "prune"):
        assert f" {task}" in done.out
