"""What a command imports: startup time is a feature, and a test of times would only test the machine."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

import buildkit_tasks
from tests.cli.conftest import Bench
from tests.support import process

#: Modules that take 50 ms or more to import, and their purpose. Invoke itself imports asyncio, and with it ssl.
HEAVY = {
    "urllib.request": "HTTP and TLS",
    "urllib3": "registries",
    "docker": "the Docker SDK",
    "rich": "drawing",
    "nox": "sessions",
}


def imported(bench: Bench, *args: str) -> set[str]:
    """Return the modules that a command imports, from `python -X importtime`."""
    argv: list[str | Path] = [sys.executable, "-X", "importtime", process.BIN / "invoke", *args]
    done = process.run(argv, bench.root, bench.environment())
    assert done.code == 0, done.all
    return {line.rpartition("|")[2].strip() for line in done.err.splitlines() if line.startswith("import time:")}


@pytest.mark.parametrize("args", [("--list",), ("build",)], ids=" ".join)
def test_no_heavy_module_is_imported(bench: Bench, args: tuple[str, ...]) -> None:
    found = imported(bench, *args)
    assert "invoke" in found
    assert not {f"{name}: {why}" for name, why in HEAVY.items() if name in found}


@pytest.mark.parametrize("off", [None, "1"])
def test_the_first_command_caches_our_bytecode_and_nothing_next_to_tasks_py(
    bench: Bench, tmp_path: Path, off: str | None
) -> None:
    package = tmp_path / "installed/buildkit_tasks"
    shutil.copytree(Path(buildkit_tasks.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (bench.root / "beside.py").write_text("")
    (bench.root / "tasks.py").write_text("import beside\nfrom buildkit_tasks import namespace\nimport beside\n")
    env = {**bench.environment(), "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": off}
    done = process.run([process.BIN / "invoke", "settings"], bench.root, env)
    assert done.code == 0, done.all
    rooms = {path.parent.parent.name for path in package.rglob("*.pyc")}
    assert rooms >= {"tasks", "core", "config"} if off is None else not rooms
    assert not list(bench.root.rglob("__pycache__"))
