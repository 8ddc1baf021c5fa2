"""What a command imports: startup time is a feature, and a test of times would only test the machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

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
