"""External text is read and parsed in one way each: with limits, without blocking, with named errors.

`json.loads` raises RecursionError for deep documents; `Path.read_text` blocks on a FIFO and never stops reading
/dev/zero.
"""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit_tasks.caches import cargo_tree
from buildkit_tasks.core import readfile
from buildkit_tasks.dockerfiles.document import Dockerfile
from buildkit_tasks.lint.ignorefile import IgnoreFile

SOURCES = Path(__file__).parents[2] / "src/buildkit_tasks"

#: Modules that parse JSON themselves, and the reason.
JSON = {
    "core/shapes.py": "it is the one that the others use",
    "builds/plan_words.py": "a copy of its own value",
    "builds/transfer.py": "its own file; part of the recipe, which the never-stale proof covers",
    "registry/reader.py": "stricter than the others, and guarded",
}

#: Modules that use `Path.read_text` or `Path.read_bytes`, and the reason why this is safe.
FILES = {
    "bench/arena.py": "our copy of the project",
    "bench/contenders.py": "files of this package",
    "bench/machine.py": "/proc",
    "bench/registry.py": "our temporary directory",
    "caches/mount_open.py": "written into our temporary directory",
    "cargo/shared.py": "written into our temporary directory, and files of this package",
    "cargo/work.py": "written into our temporary directory, and files of this package",
    "packs/job.py": "written into our temporary directory",
    "stack/holders.py": "/proc",
    "unchanged/inputs.py": "/proc",
    "unchanged/keep.py": "after is_file; docker and compose read them whole as well",
    "builds/solve.py": "buildx has written it into our temporary directory",
    "builds/inputs.py": "after is_file; docker reads it whole as well",
    "builds/manifest.py": "a program of a build",
    "builds/transfer.py": "its own file; part of the recipe",
    "builders/images.py": "unpacked by us",
    "caches/gc.py": "root's or the user's configuration of the engine, which was read safely before",
    "doctor/host.py": "/proc",
    "engine/daemon.py": "/proc",
    "engine/host.py": "/etc",
    "engine/install.py": "/etc",
    "engine/start.py": "/run",
    "history/places.py": "a file of known kind and size",
    "images/emulator.py": "a program of the machine",
    "images/offline.py": "files of this package",
    "project/host_ports.py": "/proc",
    "recipes/package_files.py": "files of this package",
    "shells/completion.py": "files of this package",
    "unchanged/fingerprint.py": "/proc",
    "watch/targets.py": "after is_file, of known size",
}


def calls(names: set[str]) -> Iterator[tuple[str, int]]:
    """Return the module and line of all calls of a method or function with one of these names."""
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names:
                owner = node.func.value
                if node.func.attr in ("load", "loads") and not (isinstance(owner, ast.Name) and owner.id == "json"):
                    continue
                yield str(path.relative_to(SOURCES)), node.lineno


def test_json_from_outside_is_parsed_by_shapes() -> None:
    found = list(calls({"load", "loads"}))
    assert [f"{module}:{line}" for module, line in found if module not in JSON] == []
    assert {module for module, _ in found} == JSON.keys()


def test_files_from_outside_are_read_by_readfile() -> None:
    found = [(module, line) for module, line in calls({"read_text", "read_bytes"}) if module != "core/readfile.py"]
    assert [f"{module}:{line}" for module, line in found if module not in FILES] == []
    assert {module for module, _ in found} == FILES.keys()


def test_links_are_followed_by_readfile() -> None:
    """`Path.resolve` raises RuntimeError for links that form a loop, and ValueError for a NUL."""
    found = [
        f"{path.relative_to(SOURCES)}:{node.lineno}"
        for path in sorted(SOURCES.rglob("*.py"))
        if path.relative_to(SOURCES).as_posix() != "builds/transfer.py"  # part of the recipe, like its own JSON
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if node.func.attr == "resolve" and not node.args
    ]
    assert found == []


def test_a_path_that_leads_nowhere_stays_and_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "link").symlink_to(".")
    assert readfile.real(tmp_path / "loop/x") == tmp_path / "loop/x"
    assert readfile.real(tmp_path / "link/x") == tmp_path / "x"
    assert readfile.real(tmp_path / "a\0b") == tmp_path / "a\0b"
    for name in ("loop", "a\0b"):
        with pytest.raises(OSError, match=r"symbolic links|NUL"):
            readfile.content(tmp_path / name)


#: Modules that write files in place. All others replace files, so they never block on a FIFO or device.
IN_PLACE = {
    "bench/arena.py": "our copy of the project",
    "bench/contenders.py": "our copy of the project",
    "bench/registry.py": "our temporary directory",
    "builds/transfer.py": "a new name, then a rename; part of the recipe",
    "caches/gc.py": "the copy of a file of the engine, by root",
    "caches/mount_open.py": "our temporary directory",
    "cargo/work.py": "our temporary directory",
    "ci/login.py": "our temporary directory",
    "images/offline.py": "our temporary directory",
    "legacy/fallback.py": "our temporary directory",
    "project/resolve.py": "our temporary directory",
    "shells/startup_file.py": "a file with several hard links, which must stay so",
    "survey/model.py": "our temporary directory",
}


def test_files_are_replaced() -> None:
    found = [(module, line) for module, line in calls({"write_text", "write_bytes"}) if module != "core/files.py"]
    assert [f"{module}:{line}" for module, line in found if module not in IN_PLACE] == []
    assert {module for module, _ in found} == IN_PLACE.keys()


@pytest.mark.parametrize("text", ['{"syntax":' * 100_000, '{"deps":' * 100_000])
def test_deeply_nested_documents_are_rejected(text: str) -> None:
    assert Dockerfile.read(text).syntax == ""
    unit = cargo_tree._Unit("a")
    cargo_tree._read_print(unit, "a.json", text)
    assert not unit.readable


@pytest.mark.parametrize("text", ["x" * 1_000_000, "[" * 1_000_000, "a[b]" * 50_000])
def test_a_one_megabyte_ignore_file_is_fast(text: str) -> None:
    began = time.monotonic()
    assert not IgnoreFile(text).excludes("src/main.rs")
    assert time.monotonic() - began < 20
