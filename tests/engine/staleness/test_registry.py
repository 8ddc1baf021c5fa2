"""Concurrent builds share the registry mount, and the mount survives builds that are killed while they use it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.engine.staleness.site import (
    CROSS,
    HERE,
    OURS,
    SCRIPT,
    SESSION,
    Build,
    Images,
    Oracle,
    Result,
    Site,
    dockerfile,
)
from tests.engine.staleness.tree import put

pytestmark = pytest.mark.engine

ROUNDS = int(os.environ.get("BT_STALE_ROUNDS", "3"))  # the long run does 30
PROGRAMS = ("one", "two", "three", "four", "five")
CRATES = "/mnt/src/*/"  # in the registry mount


#: All five start cargo at the same moment: each waits until it sees the others in the mount, for at most a minute.
_TOGETHER = (
    "touch $CARGO_HOME/registry/.here-{program}; n=0; "
    "until [ $(ls -a $CARGO_HOME/registry | grep -c here-) = 5 ] || [ $n = 3000 ]; do sleep 0.02; n=$((n+1)); done"
)


class Online(Site):
    """A workspace of five programs that need a dozen small crates from crates.io; each has a separate compile step."""

    program = "one"
    key = SCRIPT
    together = False

    def worktree(self, name: str, time: float | None = None) -> None:
        """Create the tree; there is only one checkout."""
        self.checkout = name
        for file in ("Cargo.toml", "Cargo.lock"):
            put(self.context, f"services/{file}", (HERE / "registry" / file).read_text(), time)
        for program in PROGRAMS:
            put(self.context, f"services/src/bin/{program}.rs", f'fn main() {{ println!("{program}"); }}\n', time)
        self._write_docker(SCRIPT)

    def _write_docker(self, script: str) -> None:
        text = dockerfile(spoilt=False).replace("-target-", f"-target-{self.program}-")
        assert text.count("    /compile build\n") == 1
        if self.together:
            text = text.replace(
                "    /compile build\n", f"    {_TOGETHER.format(program=self.program)}; /compile build\n"
            )
        text += "\nFROM scratch AS programs\nARG CACHE_SCOPE\nCOPY --from=compile /out/${CACHE_SCOPE} /\n"
        put(self.context, "docker/Dockerfile", text)
        put(self.context, "docker/compile.rs", script)
        put(self.context, "docker/key.rs", self.key)
        put(self.context, "docker/cross.sh", CROSS)
        put(self.context, ".dockerignore", "*\n!services\n!docker/*.rs\n!docker/*.sh\n")


def _sites(top: Path, images: Images, oracle: Oracle, scope: str, *, together: bool = False) -> list[Online]:
    sites = []
    for program in PROGRAMS:
        kind = type("Program", (Online,), {"program": program, "together": together})
        sites.append(kind(top / f"{scope}-{program}", OURS, images, oracle, scope))
    return sites


def _all_at_once(sites: list[Online]) -> list[Result]:
    with ThreadPoolExecutor(len(sites)) as pool:
        return list(pool.map(lambda site: site.build(Build(site.program)), sites))


@pytest.mark.parametrize(
    "number", [pytest.param(n, marks=pytest.mark.cornerstone if n == 0 else ()) for n in range(ROUNDS)]
)
def test_five_parallel_builds_on_an_empty_registry(number: int, images: Images, oracle: Oracle, tmp_path: Path) -> None:
    """No build fails: cargo's lock is inside the mount (outside, builds would unpack into each other's crates).

    Builds no longer fail without the lock either: the program repairs what cargo left and runs cargo again. The
    program's own test `share_cargo_lock` checks that the lock is in the mount.
    """
    sites = _sites(tmp_path, images, oracle, f"{SESSION}-race-{secrets.token_hex(4)}", together=True)
    for site, result in zip(sites, _all_at_once(sites), strict=True):
        assert result.programs == {site.program: f"{site.program}\n"}, result.log


@pytest.fixture
def make_online(images: Images, oracle: Oracle, tmp_path: Path) -> Callable[[str], Online]:
    """Create one of the five programs on separate mounts."""
    scope = f"{SESSION}-heal-{secrets.token_hex(4)}"

    def make(program: str) -> Online:
        return next(site for site in _sites(tmp_path, images, oracle, scope) if site.program == program)

    return make


#: Commands that damage the registry, by the damage they cause; the first two always run.
DAMAGE = {
    "partly unpacked crate": f"rm {CRATES}hex-*/.cargo-ok {CRATES}hex-*/src/lib.rs",
    "empty download": f"rm -r {CRATES}fnv-* && for f in cache/*/fnv-*.crate; do : > $f; done",
    "killed before .cargo-ok was written": f": > $(echo {CRATES}hex-*/.cargo-ok)",
    "truncated download": (
        f"rm -r {CRATES}fnv-* && for f in cache/*/fnv-*.crate; do head -c 1000 $f > t && mv t $f; done"
    ),
    "corrupted download": (
        f"rm -r {CRATES}fnv-* && for f in cache/*/fnv-*.crate; do echo x >> $f; sed -i s/a/b/ $f; done"
    ),
    "downloads deleted": "rm -r cache",
    "index deleted": "rm -r index",
    "unpacked crates deleted": "rm -r src",
    "index files truncated": "find index -type f -exec sh -c ': > $1' _ {} ';'",
}


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(command, id=name, marks=pytest.mark.cornerstone if number < 2 else ())
        for number, (name, command) in enumerate(DAMAGE.items())
    ],
)
def test_a_damaged_registry_is_repaired(damage: str, make_online: Callable[[str], Online]) -> None:
    """Another program with an empty target builds on a registry that was damaged by a kill or a bad disk."""
    first = make_online("one")
    assert first.build(Build("one")).programs == {"one": "one\n"}
    first.in_mount(damage, "cargo-registry")
    second = make_online("two").build(Build("two"))
    assert second.programs == {"two": "two\n"}, second.log
