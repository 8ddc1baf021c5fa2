"""Settings: their types, their old names, and the reference that is generated from them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from buildkit_tasks.config import settings_reference
from buildkit_tasks.config.setting import KINDS
from buildkit_tasks.config.settings import Settings, known
from buildkit_tasks.config.settings_load import Loaded, load
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.world import World

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"

#: Settings that did not exist in 0.1.
NEW = {
    "stack.smoke",
    "stack.smoke_command",
    "packs.wait",
    "packs.mounts",
    "build.toolchain",
    "build.provenance",
    "build.sbom",
    "cargo.services",
    "cargo.env",
    *(f"database.{n}" for n in ("service", "url", "migrations", "tool", "seeds")),
}
NEW_GROUPS = {"audit", "ci", "watch"}


def loaded(tmp_path: Path, pyproject: str = "", env: dict[str, str] | None = None, **more: Any) -> Loaded:
    """Load the settings of a project with this pyproject.toml, in an otherwise empty environment."""
    (tmp_path / "pyproject.toml").write_text(pyproject)
    return load(World(env or {}, tmp_path, tmp_path), tmp_path, dotenv=more.get("dotenv", {}), flags=more.get("flags"))


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("caches.budget", '"20GB"', 20 * 10**9),
        ("caches.budget", '"1.5GiB"', 1610612736),
        ("caches.budget", "1000", 1000),
        ("caches.budget", '""', 0),
        ("stack.health_timeout", '"3m"', 180.0),
        ("stack.health_timeout", "90", 90.0),
        ("packs.timeout", '"45s"', 45.0),
        ("builders.platforms", '"arm64=a amd64=b"', ("arm64=a", "amd64=b")),
        ("builders.platforms", '["arm64=a", "amd64=b"]', ("arm64=a", "amd64=b")),
        ("build.incremental", '"off"', "off"),
    ],
)
def test_values_are_parsed_when_they_are_loaded(tmp_path: Path, name: str, written: str, value: object) -> None:
    group, _, key = name.partition(".")
    found = loaded(tmp_path, f"[tool.buildkit-tasks.{group}]\n{key} = {written}\n").settings
    assert getattr(getattr(found, group), key) == value


@pytest.mark.parametrize(
    ("name", "written", "said"),
    [
        ("caches.budget", '"much"', "is not a size such as 10GB"),
        ("caches.budget", "-1", "is not a size"),
        ("caches.budget", "true", "is not a size"),
        ("stack.health_timeout", '"soon"', "is not a duration such as 90s"),
        ("build.profile", "1", "is not a string"),
        ("build.static", '"glibc"', "is not one of empty, gnu, musl"),
        ("caches.layers_to", "[1]", "is not a list of strings"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_origin(tmp_path: Path, name: str, written: str, said: str) -> None:
    group, _, key = name.partition(".")
    with pytest.raises(Problem) as caught:
        loaded(tmp_path, f"[tool.buildkit-tasks.{group}]\n{key} = {written}\n")
    assert caught.value.code == "settings-invalid"
    assert f"The setting {name} = " in caught.value.message
    assert "from pyproject.toml" in caught.value.message
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tool = 3\n", "tool: expected an object, found a number"),
        ("[tool]\nbuildkit-tasks = [1]\n", "tool.buildkit-tasks: expected an object, found a list"),
        ('[tool.buildkit-tasks]\nbench = "x"\n', "tool.buildkit-tasks.bench: expected an object, found a string"),
        (f"a = {'[' * 5000}{']' * 5000}\n", "it is nested too deeply"),
        ("[tool\n", "Expected"),
        ("\0", "Invalid statement"),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Problem) as caught:
        loaded(tmp_path, text)
    assert caught.value.code == "settings-invalid"
    assert said in caught.value.message


def test_every_old_name_works_and_is_said_to_be_old(tmp_path: Path) -> None:
    for item in (item for item in known() if item.doc.was):
        value = item.doc.choices[-1] if item.doc.choices else "7" if item.doc.kind in ("size", "duration") else "x"
        variable = f"BUILDKIT_TASKS_{item.doc.was}".upper()
        by_env = loaded(tmp_path, env={variable: value})
        by_file = loaded(tmp_path, f'[tool.buildkit-tasks]\n{item.doc.was.replace("_", "-")} = "{value}"\n')
        assert by_env.settings == by_file.settings, item.dotted
        assert by_env.settings != loaded(tmp_path).settings, item.dotted
        assert len(by_env.renamed) == len(by_file.renamed) == 1
        assert by_env.renamed[0].endswith(f"was renamed to {item.dotted}")


def test_an_old_number_of_gigabytes_keeps_its_unit(tmp_path: Path) -> None:
    assert loaded(tmp_path, "[tool.buildkit-tasks]\nmin_disk_gb = 7\n").settings.caches.min_free == 7 * 10**9


def test_the_later_wins_and_a_new_name_beats_an_old_one(tmp_path: Path) -> None:
    text = '[tool.buildkit-tasks]\nprofile = "old"\n[tool.buildkit-tasks.build]\nprofile = "file"\n'
    assert loaded(tmp_path, text).settings.build.profile == "file"
    env = {"BUILDKIT_TASKS_BUILD_PROFILE": "env"}
    assert loaded(tmp_path, text, env, dotenv={"BUILDKIT_TASKS_PROFILE": "dotenv"}).settings.build.profile == "env"
    assert loaded(tmp_path, text, env, flags={"build.profile": "flag"}).settings.build.profile == "flag"


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("[tool.buildkit-tasks.build]\nprofil = 'x'\n", "build.profile"),
        ("[tool.buildkit-tasks.packs]\nrepo = 'x'\n", "packs.repository"),
        ("[tool.buildkit-tasks]\nremote_cach = 'x'\n", "packs.repository"),
    ],
)
def test_an_unknown_name_is_refused_with_a_near_match(tmp_path: Path, text: str, near: str) -> None:
    with pytest.raises(Problem) as caught:
        loaded(tmp_path, text)
    assert list(caught.value.causes) == [f"did you mean {near}?"]


def test_every_setting_is_documented(tmp_path: Path) -> None:
    for item in known():
        assert item.doc.text.endswith("."), item.dotted
        assert item.doc.kind in KINDS, item.dotted
        assert bool(item.doc.was) == (item.dotted not in NEW and item.group not in NEW_GROUPS), item.dotted
    assert loaded(tmp_path).settings != Settings(tmp_path / "other")


def test_the_reference_is_up_to_date() -> None:
    assert (REFERENCE / "settings.md").read_text() == settings_reference.markdown(), "run nox -s reference"
    assert (REFERENCE / "settings.schema.json").read_text() == settings_reference.schema(), "run nox -s reference"
    assert json.loads(settings_reference.schema())["properties"]["packs"]["properties"]["pull"]["enum"]


def test_no_message_names_a_setting_by_its_old_name() -> None:
    old = {item.doc.was for item in known() if item.doc.was} - {item.dotted for item in known()}
    named = re.compile(rf"\bsettings? `?(?:{'|'.join(sorted(old))})\b(?!\.)")
    found = [
        f"{file.name}: {match[0]}"
        for file in sorted(Path(settings_reference.__file__).parents[1].rglob("*.py"))
        for match in named.finditer(file.read_text("utf-8"))
    ]
    assert not found
