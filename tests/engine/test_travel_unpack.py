"""What the program refuses to unpack, and what a failure leaves behind: with handmade packs, in one container."""

from __future__ import annotations

import gzip
import io
import secrets
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.support import process

pytestmark = pytest.mark.engine

REPOSITORY = Path(__file__).parents[2]
PLACE = "/build/2-0123456789abcdef"
UNIT = "release/.fingerprint/dep-0123456789abcdef"
UNPACK = "SOURCE=. sh /scripts/travel.sh unpack /compile replace {limit} abc"
PROGRAM = "rustc --edition 2021 /scripts/unpack.rs"
OLD = f"{PLACE}/target/{UNIT}/old"


class Box:
    """A container with a compile step's mounts in memory; the pack's directory is shared with the host."""

    def __init__(self, image: str, folder: Path) -> None:
        self.folder = folder
        (folder / "pack").mkdir()
        (folder / "context").mkdir()
        (folder / "context/Cargo.lock").write_text("version = 4\n")
        self.name = f"buildkit-tasks-test-travel-{secrets.token_hex(4)}"
        shared = {
            folder / "pack": "/run/buildkit-tasks-pack",
            folder / "context": "/context",
            REPOSITORY / "docker": "/docker",
            REPOSITORY / "src/buildkit_tasks/data/cache": "/scripts",
        }
        mounts = [part for here, there in shared.items() for part in ("-v", f"{here}:{there}:ro")]
        # few inodes: a full disk that `df` cannot predict
        memory = [part for place in ("/build", "/cargo") for part in ("--tmpfs", f"{place}:size=600m,nr_inodes=200")]
        process.ok(
            [
                *("docker", "run", "-d", "--init", "--name", self.name, *mounts, *memory, "-e", "CARGO_HOME=/cargo"),
                *(image, "sleep", "infinity"),
            ],
            folder,
        )
        # compiled as in the short build's own step, and without warnings
        done = self.sh(f"{PROGRAM} -D warnings -o /buildkit-tasks-unpack")
        assert done.code == 0, done.all
        self.sh("printf '0123456789abcdef\\nrustc 1\\nx86_64-unknown-linux-gnu\\nnanoseconds\\n' > /toolchain.key")
        made = self.sh("rustc --edition 2021 -o /compile /docker/compile.rs")
        assert made.code == 0, made.err

    def sh(self, script: str) -> process.Done:
        """Run a script in the container; it may fail."""
        return process.run(["docker", "exec", self.name, "sh", "-c", script], self.folder)

    def empty(self) -> None:
        """Create mounts with one old unit, and an empty pack."""
        unit = OLD.rpartition("/")[0]
        self.sh(f"rm -rf /build/* /build/.i* /cargo/*; mkdir -p /cargo/registry /cargo/git {unit}; : > {OLD}")
        for path in (self.folder / "pack").iterdir():
            path.unlink()

    def unpack(self, limit: int = 500_000_000) -> process.Done:
        """Unpack the pack's directory, and replace the content of the mounts."""
        return self.sh(f"cd /tmp && {UNPACK.format(limit=limit)}")

    def there(self) -> list[str]:
        """Return every file in the mounts."""
        return sorted(self.sh("find /build /cargo -type f").out.split())

    def unpack_and_compare(self) -> process.Done:
        """Like `unpack`; print what was added to the mounts or removed from them.

        Uses a single command: a refusal takes less time than a request to the container.
        """
        look = (
            "find /build /cargo /etc /tmp -path /tmp/b -prune -o -path /tmp/a -prune -o -printf '%p %y %l %s\\n' | sort"
        )
        unpack = UNPACK.format(limit=500_000_000)
        return self.sh(f"cd /tmp; {look} > b; {unpack} > /dev/null; code=$?; {look} > a; diff b a; exit $code")

    def remove(self) -> None:
        process.run(["docker", "rm", "-f", "-v", self.name], self.folder)


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory, base_images: Mapping[str, str]) -> Iterator[Box]:
    image = base_images.get("rust:1-bookworm", "rust:1-bookworm")
    made = Box(image, tmp_path_factory.mktemp("unpack"))
    yield made
    made.remove()


@pytest.fixture
def box(container: Box) -> Box:
    container.empty()
    return container


def member(name: str, data: bytes = b"x", **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    info.size = len(data) if info.isreg() else 0
    return info, data


def write(box: Box, part: str, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    path = box.folder / "pack" / f"{part}.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return path


def zstd(box: Box, part: Path) -> Path:
    """Convert the part to zstd."""
    other = part.with_suffix(".zst")
    done = box.sh(f"gzip -d -c /run/buildkit-tasks-pack/{part.name} | zstd -q -f -o /tmp/{other.name}")
    assert done.code == 0, done.all
    process.ok(["docker", "cp", f"{box.name}:/tmp/{other.name}", str(other)], box.folder)
    part.unlink()
    return other


def test_a_sound_pack_takes_the_place_of_what_was_there_times_and_all(box: Box) -> None:
    write(
        box,
        "deps-1",
        member(f"{UNIT}/new", mtime=1_700_000_000.123456789),
        member(f"{UNIT}/hard", b"", type=tarfile.LNKTYPE, linkname=f"{UNIT}/new"),
        member(f"{UNIT}/soft", b"", type=tarfile.SYMTYPE, linkname="new"),
        member("release/deps/tool", mode=0o755),
    )
    write(box, "registry", member("cache/index-1/dep-1.0.0.crate"), member("index/index-1/.cache/de/p_/dep_"))
    done = box.unpack()
    assert done.code == 0, done.all
    there = box.there()
    assert OLD not in there
    assert f"{PLACE}/target/{UNIT}/new" in there
    assert "/cargo/registry/cache/index-1/dep-1.0.0.crate" in there
    assert not [path for path in there if "incoming" in path]
    unit = f"{PLACE}/target/{UNIT}"
    assert box.sh(f"stat -c '%.5Y %h' {unit}/new").out.split() == ["1700000000.12345", "2"]
    assert box.sh(f"readlink {unit}/soft; stat -c %a {PLACE}/target/release/deps/tool").out.split() == ["new", "755"]


def test_links_between_places_of_a_part_are_sources_like_others(box: Box) -> None:
    write(
        box,
        "rest",
        member("src/shared/note", b"shared"),
        member("src/crates/a/outside", b"", type=tarfile.SYMTYPE, linkname="../../shared"),
        member("src/state-of-a", b"", type=tarfile.SYMTYPE, linkname="../state/tree"),
        member("state/tree"),
    )
    done = box.unpack()
    assert done.code == 0, done.all
    assert box.sh(f"cat {PLACE}/src/crates/a/outside/note").out == "shared"


def test_an_interrupted_unpack_is_tidied_up_by_the_next(box: Box) -> None:
    box.sh("mkdir -p /build/.incoming-dead/target && : > /build/.incoming-dead/target/x")
    write(box, "deps-1", member(f"{UNIT}/new"))
    assert box.unpack().code == 0
    assert not [path for path in box.there() if "incoming" in path]


Member = tuple[tarfile.TarInfo, bytes]


def link(name: str, to: str) -> Member:
    return member(name, b"", type=tarfile.SYMTYPE, linkname=to)


def hard(name: str, to: str) -> Member:
    return member(name, b"", type=tarfile.LNKTYPE, linkname=to)


#: The parts of a forged pack, and the error. Every part is written next to a valid `deps-1`.
REFUSED: dict[str, tuple[dict[str, Sequence[Member]], str]] = {
    "path traversal": ({"deps-2": [member("release/deps/../../../../etc/evil")]}, "a path that leads outside"),
    "absolute path": ({"deps-2": [member("/build/evil")]}, "a path that leads outside"),
    "path that starts with ./": ({"deps-2": [member("./release/deps/x")]}, "a path that leads outside"),
    "symlink with path traversal": ({"deps-2": [link("release/deps/x", "../../../etc")]}, "a link that leads outside"),
    "symlink out of the sources": ({"rest": [link("src/a/x", "../../../etc")]}, "a link that leads outside"),
    "symlink with path traversal after a name": (
        {"rest": [link("src/a/b/c/x", "y/../../z")]},
        "a link that leads outside",
    ),
    "symlink to an absolute path": ({"deps-2": [link("release/deps/x", "/etc")]}, "a link that leads outside"),
    "symlink with an arrow in its name": (
        {"rest": [link("src/a -> b", "/etc -> x")]},
        "a link that leads outside: src/a -> b",
    ),
    "symlink with an arrow in its target": (
        {"rest": [link("src/a", "x -> ../../../etc")]},
        "a link that leads outside",
    ),
    "newline in a file name": ({"rest": [member("src/a\nb")]}, "a control character in a name: src/a\\nb"),
    "newline in a symlink target": ({"rest": [link("src/a", "b\n/etc")]}, "a link that leads outside"),
    "file below a symlink": (
        {"rest": [link("src/x", "../state"), member("src/x/env")]},
        "a path through something that is not a directory: src/x",
    ),
    "file below a symlink with an arrow in its name": (
        {"rest": [link("src/a -> b", "../target"), member("src/a -> b/x")]},
        "a path through something that is not a directory: src/a -> b",
    ),
    "symlink in place of another part's directory": (
        {"deps-2": [member("release/build/x/out/file")], "rest": [link("target/release/build/x", "../../../src")]},
        "release/build/x",
    ),
    "symlink in place of a top-level directory": ({"rest": [link("src", "target")]}, "not allowed in this part: src"),
    "hard link with path traversal": (
        {"deps-2": [hard("release/deps/x", "../../state/env")]},
        "a path that leads outside",
    ),
    "hard link out of the target directory": (
        {"deps-2": [hard("release/deps/x", "state/env")]},
        "a link that leads outside",
    ),
    "dangling hard link": ({"deps-2": [hard("release/deps/x", "release/deps/y")]}, "a hard link to a missing file"),
    "hard link to a symlink": (
        {"deps-2": [link("release/deps/y", "z"), hard("release/deps/x", "release/deps/y")]},
        "a hard link to a missing file",
    ),
    "character device": ({"deps-2": [member("release/deps/null", b"", type=tarfile.CHRTYPE, devmajor=1)]}, "a device"),
    "block device": ({"deps-2": [member("release/deps/sda", b"", type=tarfile.BLKTYPE, devmajor=8)]}, "a device"),
    "named pipe": (
        {"deps-2": [member("release/deps/pipe", b"", type=tarfile.FIFOTYPE)]},
        "a device or another special",
    ),
    "contiguous file": ({"deps-2": [member("release/deps/x", b"", type=tarfile.CONTTYPE)]}, "an entry of type '7'"),
    "sparse file": ({"deps-2": [member("release/deps/x", b"", type=tarfile.GNUTYPE_SPARSE)]}, "an entry of type 'S'"),
    "unknown entry type": ({"deps-2": [member("release/deps/x", b"", type=b"Z")]}, "an entry of type 'Z'"),
    "pax header of a sparse file": (
        {"deps-2": [member("release/deps/x", pax_headers={"GNU.sparse.major": "1"})]},
        "an attribute that our packs never have: GNU.sparse.major",
    ),
    "path overridden by a pax header": (
        {"deps-2": [member("release/deps/x", pax_headers={"path": "../../etc/evil"})]},
        "a path that leads outside",
    ),
    "symlink target overridden by a pax header": (
        {
            "deps-2": [
                member("release/deps/x", b"", type=tarfile.SYMTYPE, linkname="y", pax_headers={"linkpath": "/etc"})
            ]
        },
        "a link that leads outside",
    ),
    "negative size in a pax header": ({"deps-2": [member("release/deps/x", pax_headers={"size": "-1"})]}, ""),
    "1 EiB size in a pax header": ({"deps-2": [member("release/deps/x", pax_headers={"size": str(1 << 60)})]}, ""),
    "path traversal in a long name": ({"rest": [member("src/../../" + "n" * 200)]}, "a path that leads outside"),
    "setuid bit": ({"deps-2": [member("release/deps/tool", mode=0o4755)]}, "set-user-id"),
    "setgid bit": ({"deps-2": [member("release/deps/tool", mode=0o2755)]}, "set-group-id"),
    "duplicate file": ({"deps-2": [member("release/deps/x"), member("release/deps/x")]}, "twice"),
    "same file in two parts": (
        {"deps-2": [member("release/deps/x")], "deps-3": [member("release/deps/x")]},
        "twice",
    ),
    "file in place of another part's directory": (
        {"deps-2": [member("release/deps/x")], "deps-3": [member("release/deps/x/y")]},
        "release/deps/x",
    ),
    "state file in a dependency part": ({"deps-2": [member("state/env")]}, "not allowed in this part"),
    "different profile": ({"deps-2": [member("debug/deps/libdep-0123456789abcdef.rlib")]}, "not allowed in this part"),
    "credentials": ({"registry": [member("credentials.toml")]}, "not allowed in this part"),
    "symlink in the registry": (
        {"registry": [link("cache/index-1/a-1.crate", "b-1.crate")]},
        "not allowed in this part",
    ),
    "unpacked crate": ({"registry": [member("src/index-1/dep-1.0.0/build.rs")]}, "not allowed in this part"),
    "file outside git's directories": ({"git": [member("config")]}, "not allowed in this part"),
    "file outside the tree": ({"rest": [member("evil/x")]}, "not allowed in this part"),
    "unknown state file": ({"rest": [member("state/forget")]}, "not allowed in this part"),
    "directory in place of a state file": (
        {"rest": [member("state/tree", b"", type=tarfile.DIRTYPE)]},
        "not allowed in this part",
    ),
    "symlink in place of a state file": ({"rest": [link("state/env", "../src/x")]}, "not allowed in this part"),
    "4,000-character path": ({"rest": [member("src" + "/" + "/".join(["d" * 199] * 20))]}, "a path longer than"),
    "70,000-character path": ({"rest": [member("src" + "/d" * 35_000)]}, "that is too long"),
    "4,000-character symlink target": ({"rest": [link("src/x", "d/" * 2000 + "x")]}, "a link that leads outside"),
    "300-character name": ({"rest": [member("src/" + "n" * 300)]}, "a name longer than 255"),
    "3,000 levels deep": ({"rest": [member("src" + "/d" * 3000)]}, "a path longer than"),
    "100 levels deep": ({"rest": [member("src" + "/d" * 100)]}, "a path deeper than 64"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_hostile_pack_is_refused_and_nothing_changes(box: Box, what: str) -> None:
    parts, reason = REFUSED[what]
    for part, members in parts.items():
        write(box, part, *members)
    write(box, "deps-1", member(f"{UNIT}/new"))
    done = box.unpack_and_compare()
    assert done.code == 65, done.all
    assert done.err.startswith("buildkit-tasks: refused:")
    assert reason in done.err
    assert len(done.err) < 1000
    assert done.out == ""


def test_the_number_of_directories_is_limited(box: Box) -> None:
    """180,000 directories, in a separate file system, because the mounts have few inodes on purpose."""
    write(box, "rest", *(member(f"src/{n}{'/d' * 59}/x") for n in range(3000)))
    program = "/buildkit-tasks-unpack write 1000000 90000000000 release /run/buildkit-tasks-pack"
    done = box.sh(
        f"{program} /dev/shm/t /dev/shm/r /dev/shm/g; code=$?; ls -A /dev/shm/r; rm -rf /dev/shm/?; exit $code"
    )
    assert done.code == 65, done.all
    assert "more than 100000 directories" in done.err
    assert done.out == ""


def test_names_are_taken_as_they_are(box: Box) -> None:
    """Names with quotes, arrows, backslashes and non-text bytes are valid."""
    names = ["a -> b", "it's", 'say "x"', "back\\slash", "$(id)", " ", "é", "*", "-rf"]
    write(box, "rest", *(member(f"src/{name}") for name in names), link("src/x -> y", "a -> b"), member("state/tree"))
    done = box.unpack()
    assert done.code == 0, done.all
    there = box.sh(f"cd {PLACE}/src && find . -mindepth 1 -printf '%f\\n'; readlink 'x -> y'").out.splitlines()
    assert sorted(there) == sorted([*names, "x -> y", "a -> b"])


def test_parallel_pulls_into_a_shared_registry_do_not_interfere(box: Box) -> None:
    """Two platforms have separate target mounts and one registry; a running pull's staging files are not leftovers."""
    write(box, "registry", *(member(f"cache/index-1/dep-{n}.crate", b"x" * 1000) for n in range(50)))
    write(box, "deps-1", *(member(f"{UNIT}/{n}") for n in range(20)))
    free = "500000000 500000000 release /run/buildkit-tasks-pack"
    runs = " ".join(
        f"/buildkit-tasks-unpack write {free} /tmp/tree-$n-{n} /cargo/registry /cargo/git > /dev/null & p{n}=$!;"
        for n in range(4)
    )
    script = f"for n in 1 2 3; do {runs} wait $p0 && wait $p1 && wait $p2 && wait $p3 || exit 9; done"
    done = box.sh(f"mkdir /tmp/parallel && {script}; code=$?; rm -rf /tmp/parallel /tmp/tree-*; exit $code")
    assert done.code == 0, done.all
    assert len([path for path in box.there() if path.endswith(".crate")]) == 50
    assert not [path for path in box.there() if "incoming" in path]


def test_cargo_is_waited_for(box: Box) -> None:
    """A process that holds cargo's lock may be writing to the registry or creating a repository."""
    write(box, "git", member("db/x-0123456789abcdef/HEAD"))
    held = "exec 9> /cargo/registry/.package-cache; flock 9; (sleep 1.5; touch /tmp/let-go) &"
    done = box.sh(f"rm -f /tmp/let-go; {held} exec 9>&-; cd /tmp; {UNPACK.format(limit=1000)} && cat /tmp/let-go")
    assert done.code == 0, done.all
    assert "/cargo/git/db/x-0123456789abcdef/HEAD" in box.there()


def test_the_programs_own_tests(box: Box) -> None:
    done = box.sh(f"{PROGRAM} --test -D warnings -o /tmp/unpack-tests && /tmp/unpack-tests")
    assert done.code == 0, done.all


def _cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-6] ^= 0xFF  # part of the checksum at the end: everything that was unpacked before it looks valid
    path.write_bytes(bytes(data))


def _lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + gzip.compress(bytes(50_000_000)))


@pytest.mark.parametrize("damage", [_cut, _flip, _lengthen])
@pytest.mark.parametrize("form", ["gz", "zst"])
def test_a_damaged_part_changes_nothing(box: Box, form: str, damage: Callable[[Path], None]) -> None:
    part = write(box, "deps-1", *(member(f"{UNIT}/{n}", secrets.token_bytes(100_000)) for n in range(3)))
    damage(zstd(box, part) if form == "zst" else part)
    before = box.there()
    done = box.unpack()
    assert done.code != 0, done.all
    assert box.there() == before


def test_more_bytes_than_allowed_are_refused(box: Box) -> None:
    write(box, "deps-1", member(f"{UNIT}/big", b"x" * 5000))
    before = box.there()
    done = box.unpack(limit=4000)
    assert done.code == 65
    assert "more than 4000 bytes" in done.err
    assert box.there() == before


@pytest.mark.parametrize("form", ["gz", "zst"])
def test_a_few_bytes_that_become_more_than_allowed_are_refused(box: Box, form: str) -> None:
    """The unpacked size counts: a small file expands to a hundred million zeros."""
    part = write(box, "deps-1", member(f"{UNIT}/big", bytes(100_000_000)))
    part = zstd(box, part) if form == "zst" else part
    assert part.stat().st_size < 200_000
    before = box.there()
    done = box.unpack(limit=5_000_000)
    assert done.code == 65, done.all
    assert "more than 5000000 bytes" in done.err
    assert box.there() == before


def test_parts_that_are_small_each_count_together(box: Box) -> None:
    write(box, "deps-1", member(f"{UNIT}/one", b"x" * 3000))
    write(box, "deps-2", member("release/deps/two", b"x" * 3000))
    before = box.there()
    done = box.unpack(limit=5000)
    assert done.code == 65
    assert "more than 5000 bytes" in done.err
    assert box.there() == before


def test_both_forms_are_read_and_one_that_the_image_cannot_read_is_told(box: Box) -> None:
    write(box, "deps-1", member(f"{UNIT}/one"))
    zstd(box, write(box, "deps-2", member("release/deps/two")))
    before = box.there()
    done = box.sh("mv $(command -v zstd) /zstd; cd /tmp; " + UNPACK.format(limit=500_000_000))
    box.sh("mv /zstd /usr/bin/zstd")
    assert done.code == 2
    assert "compressed with zstd, which this image does not have" in done.err
    assert box.there() == before
    assert box.unpack().code == 0
    assert {f"{PLACE}/target/{UNIT}/one", f"{PLACE}/target/release/deps/two"} <= {*box.there()}


def test_a_disk_that_is_too_small_is_told_before_anything_happens(box: Box) -> None:
    box.sh("head -c 590000000 /dev/zero > /build/full")
    write(box, "deps-1", member(f"{UNIT}/new"))
    before = box.there()
    done = box.unpack()
    assert done.code == 74
    assert "MB are free" in done.err
    assert box.there() == before


def test_a_disk_that_gets_full_on_the_way_changes_nothing(box: Box) -> None:
    write(box, "deps-1", *(member(f"{UNIT}/{n}") for n in range(300)))
    before = box.there()
    done = box.unpack()
    assert done.code == 74, done.all
    assert "could not unpack deps-1.tar.gz" in done.err
    assert box.there() == before


def test_filled_mounts_are_kept_where_only_empty_ones_are_to_be_filled(box: Box) -> None:
    write(box, "deps-1", member(f"{UNIT}/new"))
    before = box.there()
    done = box.sh("cd /tmp && SOURCE=. sh /scripts/travel.sh unpack /compile empty 1000 abc")
    assert done.code == 0, done.all
    assert "kept:" in done.err
    assert box.there() == before


def test_parts_are_unpacked_side_by_side_into_the_same_directories(box: Box) -> None:
    for number in range(4):
        unit = f"{number:016x}"
        write(
            box,
            f"deps-{number + 1}",
            member(f"release/.fingerprint/dep-{unit}", type=tarfile.DIRTYPE, mode=0o755),
            member(f"release/.fingerprint/dep-{unit}/new"),
            member(f"release/deps/libdep-{unit}.rlib"),
            member(f"aarch64-unknown-linux-gnu/release/deps/libdep-{unit}.rlib"),
        )
    done = box.unpack()
    assert done.code == 0, done.all
    assert len(box.there()) == 4 * 3 + 2, box.there()


# ---- another tool's mount, in memory in the same container

MOUNT = "/run/buildkit-tasks-mount"
LOOK = (  # the times of symlinks are not preserved
    f"find {MOUNT} -mindepth 1 -type l -printf '%P %y %l %U %G\\n'"
    " -o -mindepth 1 -printf '%P %y %m %U %G %T@\\n' | sort"
)


def carried(box: Box, script: str) -> process.Done:
    """Run a script in an empty mount."""
    return box.sh(f"rm -rf {MOUNT} /buildkit-tasks-travel; mkdir -p {MOUNT} && cd {MOUNT} && {script}")


def test_a_mount_comes_back_as_it_was_owners_times_and_links(box: Box) -> None:
    fill = (
        "mkdir -p _cacache/a/b .hidden empty && echo x > _cacache/a/b/f && ln _cacache/a/b/f hard"
        " && ln -s a/b _cacache/l"
        " && echo 'y z' > '.hidden/a name' && chown -R 1234:42 _cacache && chmod 500 empty && chmod 751 hard"
        " && touch -d @1700000000.5 _cacache/a/b/f _cacache/a && printf long > $(printf 'n%.0s' $(seq 200))"
    )
    leave_out = "echo s > .npmrc && ln -s /etc/passwd out && mkfifo pipe && echo x > s && chmod 4755 s"
    look = f"{LOOK} | grep -v -e '^.npmrc ' -e '^out ' -e '^pipe ' -e '^s '"
    done = carried(box, f"{fill} && {leave_out} && {look} > /tmp/before && sh /scripts/mount.sh pack")
    assert done.code == 0, done.all
    assert done.err.count("left out") == 4
    process.ok(
        ["docker", "cp", f"{box.name}:/buildkit-tasks-travel/mount.tar.zst", str(box.folder / "pack/mount.tar.zst")],
        box.folder,
    )
    again = box.sh(f"cd {MOUNT} && sh /scripts/mount.sh pack && sha256sum < /buildkit-tasks-travel/mount.tar.zst")
    assert again.out == box.sh("sha256sum < /run/buildkit-tasks-pack/mount.tar.zst").out
    facts = box.sh("cat /buildkit-tasks-travel/facts").out
    assert "form=zst\nentries=10\n" in facts

    done = carried(box, f"mkdir -p old/empty && sh /scripts/mount.sh unpack empty 500000000 abc && {LOOK}")
    assert done.code == 0, done.all
    assert done.out == box.sh("cat /tmp/before").out
    kept = box.sh("sh /scripts/mount.sh unpack empty 500000000 abc")
    assert "kept" in kept.err
    done = carried(box, f"echo x > other && sh /scripts/mount.sh unpack replace 500000000 abc && {LOOK}")
    assert done.out == box.sh("cat /tmp/before").out


def test_an_empty_mount_is_not_packed(box: Box) -> None:
    done = carried(box, "mkdir -p a/b .incoming-9 && : > .incoming-9/x && sh /scripts/mount.sh pack")
    assert done.code == 0, done.all
    assert box.sh("cat /buildkit-tasks-travel/facts; ls /buildkit-tasks-travel").out.split()[1:] == [
        "entries=0",
        "bytes=0",
        "facts",
    ]


@pytest.mark.parametrize(
    ("part", "entry", "why"),
    [
        ("mount", member("../etc/x"), "leads outside"),
        ("mount", member("/etc/x"), "leads outside"),
        ("mount", member(".incoming-1/x"), "not allowed"),
        ("mount", member("l", type=tarfile.SYMTYPE, linkname="/etc"), "leads outside"),
        ("mount", member("d", type=tarfile.CHRTYPE), "special file"),
        ("mount", member("s", mode=0o4755), "set-user-id"),
        ("mount", member("/".join(["d" * 200] * 6)), "longer than"),
        ("rest", member("src/x"), "not allowed in this pack"),
        ("deps-1", member(f"{UNIT}/x"), "not allowed in this pack"),
    ],
)
def test_a_pack_that_is_no_mount_is_refused_and_the_mount_stays(
    box: Box, part: str, entry: tuple[tarfile.TarInfo, bytes], why: str
) -> None:
    write(box, part, entry)
    done = carried(
        box, f"echo mine > mine && sh /scripts/mount.sh unpack replace 500000000 abc; {LOOK} | cut -d' ' -f1"
    )
    assert "buildkit-tasks: refused: " in done.err
    assert why in done.err
    assert done.out == "mine\n"


def test_the_mount_of_another_tool_has_no_place_in_a_pack_of_ours(box: Box) -> None:
    write(box, "mount", member("x"))
    done = box.unpack_and_compare()
    assert done.code != 0
    assert "not allowed in this pack: mount.tar.gz" in done.err
