"""The units in a target mount: units reached by cargo's fingerprints and unclear ones are kept, others are not."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from buildkit_tasks.caches import cargo_tree, leftovers, mount_listing
from buildkit_tasks.caches import sweep as cache_sweep
from buildkit_tasks.caches.mount_listing import Content
from buildkit_tasks.engine import cache_records

ROOT = "1-aaaa/target/release"
LOCK = 'name = "api"\nversion = "0.1.0"\nname = "serde"\nversion = "1.0.1"\nsource = "registry+x"\n'


@dataclass
class Mount:
    """Create a cargo target directory unit by unit; each file uses 8 blocks of 512 bytes."""

    lines: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=lambda: [f"./1-aaaa/src/Cargo.lock:{x}" for x in LOCK.splitlines()])
    inode: int = 0

    def add(self, path: str, *, directory: bool = False, inode: int = 0, time: int = 1000) -> int:
        """Add an entry; return its inode."""
        self.inode += 1
        number = inode or self.inode
        self.lines.append(f"{'41ed' if directory else '81a4'} 8 {time} {number} ./{path}")
        return number

    def unit(self, name: str, key: str, own: int, needs: dict[str, int], *, root: str = ROOT, kind: str = "lib") -> int:
        """Add a unit `name-key` with fingerprint number `own`, built from other units; return its object's inode."""
        if not any(line.endswith(f"{root}/.fingerprint") for line in self.lines):
            self.add(f"{root}/.fingerprint", directory=True)
        key = key * 16
        place = f"{root}/.fingerprint/{name}-{key}"
        self.add(place, directory=True)
        self.add(f"{place}/{kind}-{name}")
        self.add(f"{place}/{kind}-{name}.json")
        self.texts.append(f"./{place}/{kind}-{name}:{own.to_bytes(8, 'little').hex()}")
        deps = json.dumps({"deps": [[1, crate, False, number] for crate, number in needs.items()]})
        self.texts.append(f"./{place}/{kind}-{name}.json:{deps}")
        return self.add(f"{root}/deps/{'' if kind == 'bin' else 'lib'}{name}-{key}{'' if kind == 'bin' else '.rlib'}")

    def program(self, name: str, inode: int, root: str = ROOT) -> None:
        """Add the hard link that cargo creates for a finished program."""
        self.add(f"{root}/{name}", inode=inode)

    @property
    def content(self) -> Content:
        """Return the content as read from a mount."""
        return mount_listing.read("\n".join(self.lines), "\n".join(self.texts), "g1")

    def tree(self) -> cargo_tree.Tree:
        """Return the only profile directory."""
        (tree,) = cargo_tree.take_apart(self.content).trees
        return tree


def built() -> Mount:
    """api built from serde, next to an older api and an older serde."""
    made = Mount()
    made.unit("serde", "a", 11, {})
    made.unit("serde", "b", 12, {})
    made.program("api", made.unit("api", "c", 21, {"serde": 11}, kind="bin"))
    made.unit("api", "d", 22, {"serde": 12}, kind="bin")
    return made


def stale_keys(tree: cargo_tree.Tree) -> set[str]:
    """Return the first letters of the hashes that are reported as stale."""
    return {path.rpartition("-")[2][0] for path in tree.stale}


def test_what_the_program_was_made_from_is_kept_and_nothing_else() -> None:
    tree = built().tree()
    assert stale_keys(tree) == {"b", "d"}
    assert tree.bytes["workspace"] == tree.bytes["dependencies"] == 4 * 4096
    assert tree.bytes["stale"] == 8 * 4096
    assert tree.crates == {"serde": 4 * 4096, "api": 4 * 4096}
    assert tree.why_not == ""


def test_the_program_in_place_decides_not_the_newest_object() -> None:
    """After returning to an older lock file, cargo finds the old objects fresh and links the old program again."""
    made = built()
    made.unit("serde", "e", 13, {})
    made.unit("api", "f", 23, {"serde": 13}, kind="bin")
    assert stale_keys(made.tree()) == {"b", "d", "e", "f"}


def test_a_service_built_alone_leaves_the_other_pointing_at_an_older_state() -> None:
    made = built()
    # worker uses a version of serde whose fingerprint has since been overwritten: all units with that name are kept
    made.program("worker", made.unit("worker", "e", 31, {"serde": 99}, kind="bin"))
    assert stale_keys(made.tree()) == {"d"}


def test_where_cargo_cannot_be_followed_nothing_is_a_leftover() -> None:
    renamed = built()
    renamed.program("worker", renamed.unit("worker", "e", 31, {"other_name": 99}, kind="bin"))
    assert renamed.tree().stale == {}
    assert "other_name" in renamed.tree().why_not
    broken = built()
    broken.texts = [t if "api-c" not in t or ".json" not in t else t.replace("deps", "dips") for t in broken.texts]
    assert broken.tree().stale == {}
    assert "cannot read" in broken.tree().why_not
    warm = Mount()
    warm.unit("serde", "a", 11, {})
    assert warm.tree().stale == {}
    assert "no compiled program" in warm.tree().why_not


def test_incremental_sessions_of_live_crates_stay_the_newest_of_each() -> None:
    made = built()
    for name, time in (("api-new", 2000), ("api-old", 1000), ("gone-x", 3000)):
        made.add(f"{ROOT}/incremental/{name}/s-1-a-h/dep-graph.bin", time=time)
    tree = made.tree()
    assert list(tree.incremental) == [f"{ROOT}/incremental/api-new"]
    assert {p for p in tree.stale if "incremental" in p} == {
        f"{ROOT}/incremental/api-old",
        f"{ROOT}/incremental/gone-x",
    }


def test_of_a_crates_sessions_only_the_newest_finished_one_stays() -> None:
    made = built()
    for session in ("s-1-a-h/x", "s-1-a.lock", "s-2-b-h/x", "s-2-b.lock", "s-3-c-working/x", "s-3-c.lock"):
        made.add(f"{ROOT}/incremental/api-new/{session}")
    tree = made.tree()
    assert {p.rpartition("/")[2] for p in tree.stale if "incremental" in p} == {
        "s-1-a-h",
        "s-1-a.lock",
        "s-3-c-working",
        "s-3-c.lock",
    }
    assert tree.bytes["incremental"] == 2 * 4096


def test_registry_and_git_leftovers_are_what_no_lock_file_names() -> None:
    made = Mount()
    for path in (
        "cache/i-1/serde-1.0.1.crate",
        "cache/i-1/serde-1.0.0.crate",
        "src/i-1/serde-1.0.0/lib.rs",
        "src/i-1/serde_json-1.0.1/lib.rs",
        "index/i-1/.cache/se/rd/serde",
        "checkouts/tool-1/abc1234/x",
        "checkouts/tool-1/fff1234/x",
    ):
        made.add(path)
    crates, revisions = leftovers.wanted_crates(
        [LOCK + 'name = "tool"\nversion = "1.0.0"\nsource = "git+https://h/t#abc1234def"\n']
    )
    assert set(leftovers.registry_leftovers(made.content, crates)) == {
        "cache/i-1/serde-1.0.0.crate",
        "src/i-1/serde-1.0.0",
        "src/i-1/serde_json-1.0.1",
    }
    assert set(leftovers.git_leftovers(made.content, revisions)) == {"checkouts/tool-1/fff1234"}


def record(identity: str, size: int, idle: float = 0, **more: object) -> cache_records.Record:
    """Return a record of one of our mounts."""
    values: dict[str, object] = {"reclaimable": True, "shared": False, **more}
    return cache_records.Record(f"r-{identity}", (), size, idle, "", mount_id=identity, **values)  # type: ignore[arg-type]


def test_leftovers_go_whatever_the_limit_is_and_alone_without_one() -> None:
    ours = [record("shop-target-amd64", 100_000)]
    decision = cache_sweep.decide(ours, {"shop-target-amd64": built().content}, [LOCK], None)
    assert [i.why for i in decision.items] == [f"leftovers in {ROOT}"]
    assert decision.freed == 8 * 4096
    assert decision.records == ()


def test_the_registry_goes_last_and_the_oldest_target_first() -> None:
    ours = [
        record("shop-cargo-registry", 50, idle=900),
        record("shop-target-amd64", 100, idle=10),
        record("shop-target-arm64", 100, idle=500),
        record("shop-cargo-git", 10, idle=800),
    ]
    order = [i.where for i in cache_sweep.decide(ours, {}, [], 0).items]
    assert order == ["shop-target-arm64", "shop-target-amd64", "shop-cargo-git", "shop-cargo-registry"]
    assert [i.where for i in cache_sweep.decide(ours, {}, [], 165).items] == ["shop-target-arm64"]


def test_what_is_held_stays_and_the_reason_is_told() -> None:
    ours = [record("shop-target-amd64", 500, reclaimable=False)]
    decision = cache_sweep.decide(ours, {}, [], 100)
    assert decision.items == ()
    assert any("running build" in n for n in decision.notes)


def test_other_profiles_go_before_the_mount_and_after_leftovers() -> None:
    made = built()
    debug = ROOT.replace("release", "debug")
    made.program("api", made.unit("api", "9", 91, {}, kind="bin", root=debug), root=debug)
    made.add(f"{ROOT}/late", time=5000)
    ours = [record("shop-target-amd64", 100_000)]
    decision = cache_sweep.decide(ours, {"shop-target-amd64": made.content}, [LOCK], 60_000)
    assert [i.why for i in decision.items] == [f"leftovers in {ROOT}", "files from an earlier profile: debug"]
    assert decision.paths("shop-target-amd64")[-1] == debug
