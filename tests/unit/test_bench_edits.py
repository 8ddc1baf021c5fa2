"""The benchmark's edits: found in a workspace without settings, or read from the settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from buildkit_tasks.bench import edits, source_text
from buildkit_tasks.bench.edits import Dependency, Edit
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.workspaces import tree
from tests.support import repositories
from tests.support.repositories import Files, manifest

MAIN = """
// "a comment is not in the program"
#[doc = "nor is an attribute"]
const PAGE: &str = include_str!("../assets/page.html");
const HOME: &str = env!("CARGO_MANIFEST_DIR");
fn main() {
    info!("said twice"); info!("said twice");
    println!("short");
    println!("listening on {address} and {}", "port");
    let file = open("settings.toml").expect("cannot open \\"settings\\" at all");
}
"""


def shop(main: str = MAIN, shared: str = 'pub fn f() { panic!("nothing left to give") }\n') -> Files:
    return {
        "back/Cargo.toml": '[workspace]\nmembers = ["api", "mail", "shared", "once"]\n',
        "back/Cargo.lock": repositories.locked("api: shared, once", "mail: shared", "shared", "once"),
        "back/api/Cargo.toml": manifest("shop-api", "[[bin]]", 'name = "api"', 'path = "src/main.rs"')
        + '\n[dependencies]\nshared = { path = "../shared" }\nonce = { path = "../once" }\n',
        "back/api/src/main.rs": main,
        "back/mail/Cargo.toml": manifest("mail", '\n[dependencies]\nshared = { path = "../shared" }'),
        "back/mail/src/main.rs": "fn main() {}\n",
        "back/shared/Cargo.toml": manifest("shared"),
        "back/shared/src/lib.rs": shared,
        "back/once/Cargo.toml": manifest("once"),
        "back/once/src/lib.rs": 'pub fn g() { println!("only one of them uses me") }\n',
    }


def found(place: Path, files: Files) -> edits.Edits:
    repositories.write(place, files)
    return edits.find(tree.read(place), {"mail": ("back", "mail"), "api": ("back", "api")})


def test_a_service_with_a_text_and_the_crate_that_most_programs_use(tmp_path: Path) -> None:
    got = found(tmp_path, shop())
    assert got.service == "api"
    assert got.code[0] == Edit("back/api/src/main.rs", "listening on")
    assert got.code[1].text == "cannot open"
    texts = {edit.text for edit in got.code}
    assert not texts & {"said twice", "short", "CARGO_MANIFEST_DIR", "nor is an attribute"}
    assert not any("page.html" in text or "comment" in text for text in texts)
    assert [edit.text for edit in got.shared[:2]] == ["nothing left to give", "only one of them uses me"]
    assert got.dependency is not None
    assert (got.dependency.manifest, got.dependency.package) == ("back/api/Cargo.toml", "shop-api")
    assert got.dependency.crate["name"] == "fnv"


def test_an_edit_changes_only_its_text(tmp_path: Path) -> None:
    files = shop()
    for edit in found(tmp_path, files).code:
        text = source_text.edit_literal(files[edit.file], edit.text, "bench-0123456789ab")
        assert text.replace(" bench-0123456789ab", "") == files[edit.file]
        line = next(line for line in text.splitlines() if "bench-" in line)
        assert len(re.findall(r'(?<!\\)"', line)) % 2 == 0


def test_without_a_shared_crate_there_is_no_such_edit(tmp_path: Path) -> None:
    files = {
        "Cargo.toml": manifest("one"),
        "Cargo.lock": repositories.locked("one"),
        "src/main.rs": 'fn main() { println!("hello to you") }\n',
    }
    repositories.write(tmp_path, files)
    got = edits.find(tree.read(tmp_path), {"one": (".", "one")})
    assert (got.code, got.shared) == ((Edit("src/main.rs", "hello to you"),), ())
    assert got.dependency is None  # its manifest has no dependency section


def test_nothing_to_edit_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(Problem) as caught:
        found(tmp_path, shop(main="fn main() {}\n"))
    assert caught.value.code == "bench-failed"
    assert "[tool.buildkit-tasks.bench]" in str(caught.value.hint)


CRATE = {"name": "fnv", "version": "1.0.7", "checksum": "3f"}
TABLE: dict[str, Any] = {
    "service": "api",
    "code": {"file": "a.rs", "text": "x"},
    "shared": {"file": "b.rs", "text": "y"},
    "dependency": {"manifest": "crates/api/Cargo.toml", **CRATE},
}


def configured(place: Path, **more: Any) -> edits.Edits:
    table = {key: value for key, value in {**TABLE, **more}.items() if value is not None}
    files = {"a.rs": "x", "b.rs": "y", "crates/api/Cargo.toml": "", "Cargo.toml": ""}
    return edits.configured(table, ["api", "mail"], repositories.write(place / "shop", files))


def test_settings_name_the_edits(tmp_path: Path) -> None:
    got = configured(tmp_path)
    assert got.code == (Edit("a.rs", "x"),)
    assert got.dependency == Dependency("crates/api/Cargo.toml", "api", CRATE)
    newer = {"version": "1.0.8", "checksum": "4f"}
    got = configured(tmp_path, dependency={**TABLE["dependency"], "newer": newer})
    assert got.dependency == Dependency("crates/api/Cargo.toml", "api", CRATE, {**CRATE, **newer})
    got = configured(tmp_path, dependency={"manifest": "Cargo.toml", "package": "shop", **CRATE})
    assert got.dependency == Dependency("Cargo.toml", "shop", CRATE)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        *(({name: None}, f"{name} is missing") for name in TABLE),
        ({"code": {"file": "a.rs"}}, "code.text is missing"),
        ({"code": {"file": "a.rs", "text": "x", "line": 1}}, "code.line is not a setting"),
        ({"code": {"file": "a.rs", "text": "z"}}, "code.file: 'a.rs' does not contain 'z'"),
        ({"shared": {"file": "c.rs", "text": "y"}}, "shared.file: cannot read 'c.rs'"),
        ({"shared": {"file": "../shop/b.rs", "text": "y"}}, "not a path in the repository"),
        ({"shared": {"file": "/etc/hosts", "text": ""}}, "not a path in the repository"),
        ({"service": "post"}, "service: 'post' is not one of api, mail"),
        ({"dependency": "fnv"}, "dependency: expected an object, found a string"),
        ({"dependency": {"manifest": 1, **CRATE}}, "dependency.manifest: expected a string"),
        ({"dependency": {"manifest": "Cargo.toml", **CRATE}}, "dependency.package is missing"),
        ({"dependency": {"manifest": "Cargo.toml", "package": "x"}}, "dependency.name is missing"),
        ({"dependency": {**TABLE["dependency"], "newer": "1"}}, "dependency.newer: expected an object"),
    ],
)
def test_an_invalid_table_is_refused_with_the_setting(tmp_path: Path, more: dict[str, Any], says: str) -> None:
    with pytest.raises(Problem) as caught:
        configured(tmp_path, **more)
    assert caught.value.code == "settings-invalid"
    assert says in caught.value.message
