"""A registry that dies or hangs while a pack is sent or fetched: one error in time, and the next try is correct."""

from __future__ import annotations

import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engine.faults.conftest import SLICE, Range, endings
from tests.support import oci_registry, process, strikes
from tests.support.oci_registry import Registry

pytestmark = [pytest.mark.engine, pytest.mark.slow]

#: Seconds after which a command gives up on a registry that hangs: three tries of an upload, a minute each.
BOUND = 240


@contextmanager
def stopped(registry: Registry, after: float, number: signal.Signals) -> Iterator[Callable[[], bool]]:
    """Kill or stop the registry after some seconds; yield a function that returns whether this has happened."""
    done = threading.Event()

    def stop() -> None:
        registry.server.send_signal(number)
        done.set()

    timer = threading.Timer(after, stop)
    timer.start()
    try:
        yield done.is_set
    finally:
        timer.cancel()
        timer.join()


@pytest.mark.parametrize(
    ("task", "number"),
    [
        ("cache.push", signal.SIGKILL),
        ("cache.pull", signal.SIGKILL),
        ("build", signal.SIGKILL),
        ("cache.push", signal.SIGSTOP),
        ("cache.pull", signal.SIGSTOP),
        ("build", signal.SIGSTOP),
    ],
)
def test_a_registry_that_stops(place: Range, tmp_path: Path, task: str, number: signal.Signals) -> None:
    """`build` pulls automatically; its result is correct whatever the registry does, even if it hangs."""
    fault = f"the registry {'ends' if number == signal.SIGKILL else 'hangs'} during `{task}`"
    binary = oci_registry.program()
    place.filled()
    for turn in range(1 if SLICE else 3):
        folder = tmp_path / str(turn)
        with oci_registry.running(binary, folder) as registry:
            ref = f"{registry.host}/faults/{secrets.token_hex(4)}"
            if task != "cache.push":
                assert place.invoke("cache.push", "--force", "--ref", ref).code == 0
            env: dict[str, str | None] = {
                "BUILDKIT_TASKS_CACHES_NAMESPACE": "" if task == "cache.push" else f"f{secrets.token_hex(4)}",
                "BUILDKIT_TASKS_PACKS_REPOSITORY": ref,
                "BUILDKIT_TASKS_PACKS_PULL": "when-empty" if task == "build" else "never",
                "BUILDKIT_TASKS_PACKS_TIMEOUT": "10s",
                **place.online,
            }
            words = {"build": [task], "cache.pull": [task, "--ref", ref]}.get(task, [task, "--force", "--ref", ref])
            argv: list[str | Path] = [process.BIN / "invoke", *words]
            with stopped(registry, place.chance.uniform(0.2, 1.5), number) as happened:
                done = strikes.strike(argv, place.site.root, {**place.env, **env}, signal.SIGKILL, BOUND)
                hit = happened()
            found = endings(done)
            if done.hit:
                found.append(("rough", f"no end in {BOUND} s"))
            if registry.server.poll() is None:
                registry.server.send_signal(signal.SIGCONT)
            if task == "build" and done.code:
                found.append(("lost", f"code {done.code}: {done.said[-800:]}"))
            found += place.built(**(env | {"BUILDKIT_TASKS_PACKS_PULL": "never"}))
            place.tally.count(fault, hit=hit, findings=found)
    place.agreed(fault)
