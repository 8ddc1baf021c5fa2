"""What a command imports: start-up time is a feature, and a test on times would be a test of the machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Bench
from tests.support import process

#: Modules that cost 50 ms and more, and what they are for. Invoke itself imports asyncio, and with it ssl.
HEAVY = {
    "urllib.request": "HTTP and TLS",
    "urllib3": "registries",
    "docker": "the Docker SDK",
    "rich": "drawing",
    "nox": "sessions",
}


def imported(bench: Bench, *args: str) -> set[str]:
    """The modules that a command imported, by `python -X importtime`."""
    argv: list[str | Path] = [sys.executable, "-X", "importtime", process.BIN / "invoke", *args]
    done = process.run(argv, bench.root, bench.environment())
    assert done.code == 0, done.all
    return {line.rpartition("|")[2].strip() for line in done.err.splitlines() if line.startswith("import time:")}


@pytest.mark.parametrize("args", [("--list",), ("build",)], ids=" ".join)
def test_no_heavy_module_is_imported(bench: Bench, args: tuple[str, ...]) -> None:
    found = imported(bench, *args)
    assert "invoke" in found
    assert not {f"{name}: {why}" for name, why in HEAVY.items() if name in found}
