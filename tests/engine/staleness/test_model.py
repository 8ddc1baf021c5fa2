"""Random sequences of everything that can happen between builds: ours is never stale, and builds whatever compiles.

Each run prints its seed; `BT_STALE_SEED=N` repeats it. `BT_STALE_STEPS=N` sets the number of steps (default 40; a step
is one or more edits or other events and a build; `nox -s stale -- --steps 2000` is the long run). Walks that begin with
a pull take two thirds of these steps. Failures are shrunk.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import tempfile
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from buildkit_tasks.builds import manifest
from buildkit_tasks.core.progress import Vertex
from buildkit_tasks.packs import pack as packs
from tests.engine.staleness import model, tree
from tests.engine.staleness.cases import AN_HOUR_AHEAD, BUMP, BUMPED, CONFIGURED, DECLARED, GENERATING
from tests.engine.staleness.site import BUSYBOX, OURS, Build, Design, Images, Oracle, Result, Site, together
from tests.engine.staleness.tree import API, COMMON, WORKER, Change, Exchange, Mode, Several, Times

pytestmark = pytest.mark.engine

STEPS = int(os.environ.get("BT_STALE_STEPS", "40"))  # Hypothesis starts with the smallest example, which proves little
SEED = int(os.environ.get("BT_STALE_SEED", str(random.SystemRandom().randrange(2**32))))
PER_EXAMPLE = 20
AGAINST_THE_ORACLE = 15  # how often a judgement is also checked with a real build from scratch


@dataclass(frozen=True)
class Put(Change):
    """Replace a path with a file or a link ("->…"). `time`: now, old, base."""

    path: str
    text: str
    time: str = "now"

    def apply(self, root: Path) -> None:
        target = root / self.path
        for parent in target.relative_to(root).parents:
            if (root / parent).is_symlink() or (root / parent).is_file():
                (root / parent).unlink()
        Gone(self.path).apply(root)
        times = {"now": None, "old": tree.OLD, "base": tree.BASE_TIME}
        tree.put(root, self.path, self.text, times[self.time])


@dataclass(frozen=True)
class Overwritten(Change):
    """New content in place, with the old time if there was one; the same inode."""

    path: str
    text: str

    def apply(self, root: Path) -> None:
        target = root / self.path
        if not target.is_file() or target.is_symlink():
            Put(self.path, self.text).apply(root)
            return
        before = target.stat()
        target.write_text(self.text)
        os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))


@dataclass(frozen=True)
class Gone(Change):
    """Delete a path, whatever it is."""

    path: str

    def apply(self, root: Path) -> None:
        target = root / self.path
        if target.is_symlink() or target.is_file():
            target.unlink()
        elif target.is_dir():
            shutil.rmtree(target)


@dataclass(frozen=True)
class Swapped(Change):
    """Exchange two files with mv, if both exist."""

    one: str
    two: str

    def apply(self, root: Path) -> None:
        if (root / self.one).is_file() and (root / self.two).is_file():
            Exchange(self.one, self.two).apply(root)


@dataclass(frozen=True)
class Bits(Change):
    """Change the permission bits of a file, if it exists."""

    path: str
    mode: int

    def apply(self, root: Path) -> None:
        if (root / self.path).is_file():
            Mode(self.path, self.mode).apply(root)


def _files() -> dict[str, list[str]]:
    """Return paths and the contents that an edit may give them; most have the same length, so sizes reveal nothing."""
    parts = [f'pub const TEXT: &str = "part {word}";\n' for word in ("one", "two", "six")]
    manifest = tree.BASE[f"{COMMON}/Cargo.toml"]
    config = tree.BASE["services/.cargo/config.toml"]
    release = tree.BASE["services/Cargo.toml"]
    lock = tree.BASE["services/Cargo.lock"]
    main = tree.BASE[f"{API}/src/main.rs"]
    other = tree.BASE[f"{WORKER}/src/main.rs"]
    return {
        f"{COMMON}/src/part.rs": [*parts, "nonsense\n"],
        f"{COMMON}/src/part/mod.rs": parts,
        f"{COMMON}/Cargo.toml": [manifest, manifest.replace("default = []", 'default = ["extra"]')],
        f"{COMMON}/build.rs": [
            tree.BASE[f"{COMMON}/build.rs"],
            tree.BASE[f"{COMMON}/build.rs"].replace(DECLARED.old, DECLARED.new),
        ],
        f"{COMMON}/sql/1.sql": ["one", "two"],
        f"{COMMON}/sql/2.sql": ["one", "two"],
        f"{COMMON}/sql/a b|é": ["odd"],
        f"{COMMON}/input/value": ["value one\n", "value two\n"],
        f"{COMMON}/input/value/x": ["x"],
        f"{COMMON}/input/value/y": ["y"],
        f"{COMMON}/listed/a": ["a\n"],
        f"{COMMON}/listed/b": ["b\n"],
        f"{COMMON}/listed/c": ["c\n"],
        f"{COMMON}/data/text.txt": ["text one\n", "text two\n"],
        f"{COMMON}/data/swap1.txt": ["swap one\n", "swap two\n"],
        f"{COMMON}/data/swap2.txt": ["swap two\n", "swap six\n"],
        f"{COMMON}/data/link.txt": ["->swap1.txt", "->swap2.txt", "->text.txt", "->missing", "swap own\n"],
        f"{COMMON}/data/dirlink": ["->d1", "->d2"],
        f"{COMMON}/data/d1/file.txt": ["d one\n", "d two\n"],
        f"{COMMON}/outside": ["->../../shared", "->../../shared2"],
        f"{COMMON}/README.md": ["words\n"],
        "services/shared/note.txt": ["shared one\n", "shared two\n", "shared six\n"],
        "services/migrations/1.sql": ["create", "modify"],
        "services/migrations/2.sql": ["alter"],
        "services/Cargo.toml": [release, release.replace("debug-assertions = false", "debug-assertions = true")],
        "services/Cargo.lock": [lock, lock.replace(BUMPED, BUMP)],
        "services/.cargo/config.toml": [config, CONFIGURED],
        "services/rust-toolchain": ["a\n", "b\n"],
        "services/vendor/dep-1.0.1/src/lib.rs": [
            'pub const TEXT: &str = "dep one";\n',
            'pub const TEXT: &str = "dep new";\n',
        ],
        f"{API}/src/main.rs": [main, main.replace("api one", "api two"), main.replace("api one", "api six")],
        f"{WORKER}/src/main.rs": [other, other.replace("worker one", "worker two")],
        f"{WORKER}/notes/a.txt": ["note one", "note two"],
        f"{WORKER}/notes/b.txt": ["note one"],
    }


FILES = _files()
#: Files that can be missing without breaking the tree permanently; others are only overwritten.
OPTIONAL = [
    path
    for path in FILES
    if any(word in path for word in ("/sql/", "/listed/", "/input/value", "migrations", "toolchain", "notes/", "part"))
]


@st.composite
def edits(draw: st.DrawFn) -> Change:
    """Edit one file."""
    path = draw(st.sampled_from(sorted(FILES)))
    text = draw(st.sampled_from(FILES[path]))
    if draw(st.booleans()) and not text.startswith("->"):
        return Overwritten(path, text)
    return Put(path, text, draw(st.sampled_from(["now", "old", "base"])))


CHANGES = st.one_of(
    edits(),
    edits(),
    edits(),
    st.builds(Gone, st.sampled_from(OPTIONAL)),
    st.builds(
        Swapped,
        st.sampled_from([f"{COMMON}/data/swap1.txt", f"{COMMON}/data/text.txt"]),
        st.just(f"{COMMON}/data/swap2.txt"),
    ),
    st.builds(Bits, st.just(f"{COMMON}/input/tool.sh"), st.sampled_from([0o644, 0o755])),
    st.builds(Bits, st.just(f"{COMMON}/src/part.rs"), st.sampled_from([0o644, 0o755])),
    st.builds(Times, st.sampled_from([None, tree.BASE_TIME, tree.OLD])),
)
BUILDS = st.builds(
    Build,
    bins=st.sampled_from(["api worker", "api worker", "api", "worker"]),
    args=st.sampled_from(
        [
            (),
            (),
            (),
            (("GREETING", "hello"),),
            (("UNTRACKED", "1"),),
            (("PROFILE", "fast"),),
            (("CARGO_INCREMENTAL", "0"),),
        ]
    ),
    image=st.sampled_from(["plain", "plain", "plain", "plain", "library", "rustc"]),
)


class Machine(RuleBasedStateMachine):
    """One site with three checkouts, two of them with the same name."""

    design: ClassVar[Design] = OURS
    images: ClassVar[Images]
    oracle: ClassVar[Oracle]
    judged: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="bt-stale-"))
        self.site = Site(self.root, self.design, self.images, self.oracle)
        self.saved: list[Path] = []
        self.packed: Path | None = None

    def teardown(self) -> None:
        """Delete the files; the mounts are deleted with the session's other mounts."""
        shutil.rmtree(self.root, ignore_errors=True)

    @initialize(generating=st.booleans(), build=BUILDS)
    def begin(self, generating: bool, build: Build) -> None:
        """Create the checkouts, with or without a build script that writes into the sources, and run a first build."""
        for name in ("b", "two/app", "one/app"):
            self.site.worktree(name)
            if generating:
                GENERATING.apply(self.site.context)
        self._build(build)

    @rule(changes=st.lists(CHANGES, min_size=1, max_size=3), build=BUILDS)
    def edit(self, changes: list[Change], build: Build) -> None:
        """Edit and build: the usual step."""
        Several(tuple(changes)).apply(self.site.context)
        self._build(build)

    @rule(changes=st.lists(CHANGES, min_size=1, max_size=2), build=BUILDS)
    def edit_again(self, changes: list[Change], build: Build) -> None:
        """Edit again: edits are the most frequent step."""
        self.edit(changes, build)

    @rule(build=BUILDS)
    def build_again(self, build: Build) -> None:
        """Build without an edit; the program or an argument may change."""
        self._build(build)

    @rule(name=st.sampled_from(["one/app", "two/app", "b"]), build=BUILDS)
    def other_checkout(self, name: str, build: Build) -> None:
        """Switch to another worktree on the same mounts."""
        self.site.checkout = name
        self._build(build)

    @rule()
    def save(self) -> None:
        """Save the tree with its times, as a commit, a stash or a copy does."""
        kept = self.root / f"saved-{len(self.saved)}"
        shutil.copytree(self.site.context / "services", kept, symlinks=True)
        self.saved.append(kept)

    @rule(which=st.integers(0, 100), times=st.booleans(), build=BUILDS)
    def restore(self, which: int, times: bool, build: Build) -> None:
        """Restore a saved tree, with its times (rsync, tar) or with the current time (git checkout)."""
        if not self.saved:
            return
        kept = self.saved[which % len(self.saved)]
        shutil.rmtree(self.site.context / "services")
        shutil.copytree(kept, self.site.context / "services", symlinks=True)
        if not times:
            Times(None).apply(self.site.context)
        self._build(build)

    @rule(changes=st.lists(CHANGES, max_size=2), build=BUILDS)
    def clock_back(self, changes: list[Change], build: Build) -> None:
        """Make the mount look as if it was written under a clock an hour ahead."""
        self.site.in_mount(AN_HOUR_AHEAD)
        Several(tuple(changes)).apply(self.site.context)
        self._build(build)

    @rule(
        what=st.sampled_from(["*/src", "*/target", "*/state", "*", "*/target/*/.fingerprint", "*/state/tree"]),
        build=BUILDS,
    )
    def prune(self, what: str, build: Build) -> None:
        """Delete a part of the mount, or all of it."""
        self.site.in_mount(f"rm -rf {what}")
        self._build(build)

    @rule(
        changes=st.lists(CHANGES, min_size=1, max_size=2),
        more=st.lists(CHANGES, max_size=2),
        build=BUILDS,
        lines=st.integers(0, 4),
    )
    def killed(self, changes: list[Change], more: list[Change], build: Build, lines: int) -> None:
        """Kill a build (early: while it syncs; late: while it compiles), maybe make edits, and build."""
        Several(tuple(changes)).apply(self.site.context)
        self.site.build(build, until=lambda progress: _said(progress.vertexes.values()) >= lines)
        Several(tuple(more)).apply(self.site.context)
        self._build(build)

    @rule(changes=st.lists(CHANGES, min_size=1, max_size=2), build=BUILDS, other=BUILDS)
    def at_once(self, changes: list[Change], build: Build, other: Build) -> None:
        """Build two checkouts at the same time on the same mounts."""
        here, there = copy(self.site), copy(self.site)
        there.checkout = "b" if here.checkout != "b" else "two/app"
        Several(tuple(changes)).apply(here.context)
        with together([(here, build), (there, other)]) as (first, second):
            self._judge(here, build, first)
            self._judge(there, other, second)

    @rule(scope=st.sampled_from(packs.SCOPES))
    def pack(self, scope: str) -> None:
        """Pack the compiled objects, only the dependencies or everything, as a push does."""
        if self.design.image != "busybox":  # caches are packed with GNU tar
            kept = self.root / f"pack-{secrets.token_hex(4)}"
            if self.site.travel("pack", scope, out=kept):
                self.packed = kept

    @rule(changes=st.lists(CHANGES, max_size=1), build=BUILDS)
    def pulled(self, changes: list[Change], build: Build) -> None:
        """Replace the content of the mount with an older pack, if a pull would allow it."""
        if self.packed is None:
            return
        self._pull(self.packed)
        Several(tuple(changes)).apply(self.site.context)
        self._build(build)

    def _pull(self, pack: Path) -> bool:
        """Unpack over the content of the mount; return False if a pull would object."""
        now = self.root / f"probe-{secrets.token_hex(4)}"
        assert self.site.travel("probe", out=now)
        packed, here = (packs.read_facts((p / "facts").read_text(), "") for p in (pack, now))
        said = json.loads(packs.label(packed, "", "amd64", ""))
        if packs.objections(said, here, 10**9):
            return False
        assert self.site.travel("unpack", "replace", str(10**9), secrets.token_hex(4), pack=pack)
        return True

    def _build(self, build: Build) -> None:
        self._judge(self.site, build, self.site.build(build))

    def _judge(self, site: Site, build: Build, result: Result) -> None:
        wanted = model.expected(site.context, build)
        assert result.programs == wanted, result.log
        for text in result.manifests.values():
            made = manifest.parse(text)
            assert manifest.compare(made, site.context, site.context / "docker/Dockerfile") == ()
        type(self).judged += 1
        if self.judged % AGAINST_THE_ORACLE == 0:
            args = tuple((name, value) for name, value in build.args if name != "CARGO_INCREMENTAL")
            assert self.oracle.programs(site.context, replace(build, args=args)) == wanted, "the model is wrong"


class Pulling(Machine):
    """A machine whose mounts contain an older or a newer cache when it pulls."""

    @initialize(
        generating=st.booleans(),
        scope=st.sampled_from(packs.SCOPES),
        changes=st.lists(CHANGES, min_size=1, max_size=3),
        newer=st.booleans(),
        build=BUILDS,
    )
    def begin(self, generating: bool, scope: str, changes: list[Change], newer: bool, build: Build) -> None:
        """Build and pack; edit, build and pack again; then unpack the first pack, and maybe the second one over it."""
        super().begin(generating, Build())
        self.pack(scope)
        first = self.packed
        assert first is not None
        Several(tuple(changes)).apply(self.site.context)
        self._build(Build())
        self.pack(scope)
        for pack in (first, self.packed) if newer else (first,):
            assert pack is not None
            # a pull objects to another compiler
            assert self._pull(pack) or (self.site.context / "services/rust-toolchain").exists()
        self._build(build)


def _said(vertexes: Iterable[Vertex]) -> int:
    return sum(len(vertex.log) for vertex in vertexes)


@pytest.mark.parametrize("design", [OURS, BUSYBOX], ids=lambda design: design.name)
def test_random_steps(design: Design, images: Images, oracle: Oracle, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs always match the model; builds never fail if the tree compiles, and never succeed if it does not."""
    walk(Machine, design, images, oracle, capsys, STEPS if design is OURS else STEPS // 10)


def test_random_steps_after_a_pull(images: Images, oracle: Oracle, capsys: pytest.CaptureFixture[str]) -> None:
    """The same, starting from mounts that a pull has filled over their content."""
    walk(Pulling, OURS, images, oracle, capsys, STEPS * 2 // 3)


def walk(
    machine: type[Machine],
    design: Design,
    images: Images,
    oracle: Oracle,
    capsys: pytest.CaptureFixture[str],
    steps: int,
) -> None:
    """Run this many steps, or a few more, and print how many builds were judged."""

    class Chosen(machine):  # type: ignore[valid-type,misc]
        pass

    Chosen.design, Chosen.images, Chosen.oracle, Chosen.judged = design, images, oracle, 0
    with capsys.disabled():
        print(f"\n{machine.__name__}, {design.name}: {steps} random steps, BT_STALE_SEED={SEED}")  # noqa: T201
    run_state_machine_as_test(
        seed(SEED)(Chosen),
        settings=settings(
            max_examples=max(1, steps // PER_EXAMPLE),
            stateful_step_count=PER_EXAMPLE,
            deadline=None,
            database=None,
            print_blob=True,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert Chosen.judged > 0
    with capsys.disabled():
        print(f"{machine.__name__}, {design.name}: {Chosen.judged} builds judged")  # noqa: T201
