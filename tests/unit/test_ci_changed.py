"""Map changed files to affected services: fifty services against a brute-force check, and each rule separately."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from buildkit_tasks.ci import affected, changed, taken
from buildkit_tasks.ci.crates import Crates, Locked
from buildkit_tasks.config.session import Session
from buildkit_tasks.config.settings import Settings
from buildkit_tasks.core.report import Report
from buildkit_tasks.core.world import World
from buildkit_tasks.dockerfiles.document import Dockerfile
from buildkit_tasks.dockerfiles.ignore import Ignore
from buildkit_tasks.project import compose
from buildkit_tasks.workspaces import tree
from tests.support import many_services, process

GIT: Mapping[str, str | None] = {
    **{f"GIT_{who}_{what}": "x@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    "GIT_CONFIG_GLOBAL": "/dev/null",
}


def git(root: Path, *words: str) -> None:
    done = process.run(["git", *words], root, {**GIT, "PATH": "/usr/bin:/bin"})
    assert done.code == 0, done.all


def commit(root: Path) -> None:
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A", "-f")
    git(root, "commit", "-qm", "one")


def differences(root: Path) -> tuple[str, ...]:
    world = World({"PATH": "/usr/bin:/bin"}, root, root)
    session = Session(world, Report(world))
    return tuple(changed._paths(session, root, "HEAD"))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> many_services.Site:
    site = many_services.Site(tmp_path_factory.mktemp("many"), 20).make()
    commit(site.root)
    assert len(site.services) == 50
    return site


@pytest.mark.parametrize("seed", range(20))
def test_exactly_the_images_that_an_edit_concerns(many: many_services.Site, seed: int) -> None:
    git(many.root, "reset", "-q", "--hard")
    git(many.root, "clean", "-qfdx")
    many.sums = {w: {key: f"{w}-{key}" for key in sums} for w, sums in many.sums.items()}
    locks = {f"{w}/Cargo.lock": many.lock(w) for w in many.sums}
    before = many.fingerprints()
    chance = random.Random(seed)
    edits = [many_services.edit(many, chance) for _ in range(chance.randrange(1, 5))]
    after = many.fingerprints()
    expected = {name for name in before if before[name] != after[name]}
    workspace = compose.from_compose(many.config(), Settings(many.root), ())
    files = tree.read(many.root)
    found = affected.find(many.root, workspace, Crates(files), differences(many.root), locks.get)
    assert set(found) == expected, (edits, found)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A root crate, a member that reads a file of another member, an outside crate, and a patched package."""
    texts = {
        "Cargo.toml": '[workspace]\nmembers = ["a", "b"]\n[package]\nname = "top"\nversion = "0.1.0"\n'
        '[dependencies]\nout = { path = "other/out" }\nserde = "1"\n[patch.crates-io]\nleaf = { path = "leaf" }\n',
        "Cargo.lock": '[[package]]\nname = "top"\nversion = "0.1.0"\ndependencies = ["out", "serde"]\n'
        '[[package]]\nname = "out"\nversion = "0.1.0"\n[[package]]\nname = "leaf"\nversion = "1.0.0"\n'
        '[[package]]\nname = "serde"\nversion = "1.0.0"\nsource = "registry+x"\ndependencies = ["leaf"]\n'
        '[[package]]\nname = "a"\nversion = "0.1.0"\n[[package]]\nname = "b"\nversion = "0.1.0"\n',
        "src/main.rs": "fn main() {}",
        "templates/x.html": "x",
        "a/Cargo.toml": '[package]\nname = "a"\nversion = "0.1.0"\n',
        "a/src/main.rs": 'const X: &str = include_str!("../../b/data.json");',
        "b/Cargo.toml": '[package]\nname = "b"\nversion = "0.1.0"\n',
        "b/src/main.rs": "fn main() {}",
        "b/data.json": "{}",
        "leaf/Cargo.toml": '[package]\nname = "leaf"\nversion = "1.0.0"\n',
        "leaf/src/lib.rs": "",
        "other/Cargo.toml": '[workspace]\nmembers = ["out"]\n',
        "other/out/Cargo.toml": '[package]\nname = "out"\nversion = "0.1.0"\n',
        "other/out/src/lib.rs": "",
        "Dockerfile": many_services.DOCKERFILE.replace("COPY etc/${BIN}.conf /etc/\n", ""),
    }
    for path, text in texts.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("src/main.rs", "top child"),
        ("a/src/main.rs", "a"),
        ("b/src/main.rs", "b"),
        ("b/data.json", "a b"),  # a reads it
        ("templates/x.html", "a b top child"),  # it belongs to a crate with nested crates: any of them may read it
        ("Cargo.toml", "a b top child"),
        ("leaf/src/lib.rs", "top child"),  # patched
        ("other/out/src/lib.rs", "top child"),
        ("other/Cargo.toml", "top child"),  # the workspace of a crate that top uses
        ("Dockerfile", "a b top child"),
        ("compose.yaml", "a b child far on plain top"),
        ("dev/compose.more.yml", "a b child far on plain top"),
        (".env.example", "a b child far on plain top"),
        ("child/x", "a b child top"),
        ("assets/y", "a b child on plain top"),
        ("docker/compile.rs", "a b child top"),
    ],
)
def test_rules(small: Path, path: str, expected: str) -> None:
    def build(name: str) -> dict[str, object]:
        args = {"BIN": name, "CACHE_SCOPE": "small"}
        return {"build": {"context": str(small), "dockerfile": "Dockerfile", "args": args}}

    (small / "child").mkdir()
    (small / "child" / "Dockerfile").write_text("FROM base\n")
    (small / "assets").mkdir()
    (small / "apart").mkdir()
    (small / "assets" / "Dockerfile").write_text("FROM scratch\nCOPY y /\n")
    child = {"context": str(small / "child"), "additional_contexts": {"base": "service:top"}}
    services = {
        **{name: build(name) for name in ("top", "a", "b")},
        "child": {"build": child},
        "plain": {"image": "small/plain:dev", "build": {"context": str(small / "assets")}},
        "on": {"build": {"context": str(small / "apart"), "dockerfile_inline": "FROM small/plain:dev\n"}},
        "far": {"build": {"context": "https://example.org/x.git"}},
    }
    workspace = compose.from_compose({"name": "small", "services": services}, Settings(small), ())
    found = affected.find(small, workspace, Crates(tree.read(small)), [path], lambda _: None)
    assert sorted(found) == sorted(expected.split()), found


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("COPY a b /x/", ["a", "b"]),
        ('COPY ["a b", "/x/"]', ["a b"]),
        ("COPY --chown=1:1 ./conf/*.toml /x/", ["conf/*.toml"]),
        ("COPY . /x", ["."]),
        ("COPY --from=other a /x", []),
        ("ADD https://example.org/x /x", []),
        ("COPY ${UNKNOWN}/x /x", ["."]),
        ("COPY ${KNOWN}/x /x", ["here/x"]),
        ("RUN --mount=type=bind,source=s,target=/t cat /t", ["s"]),
        ("RUN --mount=target=/t cat /t", ["."]),
        ("RUN --mount=type=bind,target=/context cat /t", []),
        ("RUN --mount=type=cache,target=/t cat /t", []),
        ("FROM x AS unused\nCOPY q /\nFROM y\nCOPY r /", ["r"]),
    ],
)
def test_what_steps_take(lines: str, expected: list[str]) -> None:
    file = Dockerfile.read(f"FROM scratch\nARG KNOWN\n{lines}\n")
    assert list(taken.patterns(file, {"KNOWN": "here"}, "", ())) == expected


@pytest.mark.parametrize(
    ("pattern", "path", "takes"),
    [
        (".", "a/b", True),
        ("a", "a/b", True),
        ("a", "ab", False),
        ("a/*.toml", "a/b.toml", True),
        ("a/*.toml", "a/c/b.toml", False),
        ("*", "a/c/b.toml", True),
        ("a?", "ab/c", True),
        ("a/b", "a", False),
    ],
)
def test_patterns(pattern: str, path: str, takes: bool) -> None:
    assert taken.Matcher.of(pattern).takes(path) is takes


def test_what_an_ignore_file_keeps_out_is_not_sent() -> None:
    ignore = Ignore.parse("*\n!src\nsrc/*.md\n!src/keep.md\n")
    kept = [p for p in ("x", "src/a.rs", "src/b/c.rs", "src/x.md", "src/keep.md", "y/src/a") if taken.sent(ignore, p)]
    assert kept == ["src/a.rs", "src/b/c.rs", "src/keep.md"]


@pytest.mark.parametrize("text", ["", "package = 1", "[[package]]\n", "\0", "[[package]]\nname = 'a'\nversion = []"])
def test_any_text_may_be_a_lock_file(text: str) -> None:
    found = Locked.read(text)
    assert found is None or isinstance(found.identity, dict)
