"""The compile script run on this machine, each of its tools failing once: then the step fails, or nothing is missing.

The tools are real; a shim in front of each notes the call, and fails where it is the one that shall. cargo is a
stand-in that "compiles" a program into its own source.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import process
from tests.support.process import Done

SCRIPT = (Path(__file__).parents[2] / "docker/compile.sh").read_text()

TOOLS = (
    *("awk", "cat", "chmod", "cmp", "cp", "cut", "date", "find", "grep", "head", "ln", "ls", "mkdir", "mktemp", "mv"),
    *("readlink", "rm", "sed", "sha256sum", "sort", "stat", "tail", "tar", "touch", "tr", "uname", "xargs"),
)

SHIM = """#!/bin/sh
nl='
'
call="{tool} ${{PWD#{root}}} $*"
call=${{call%%"$nl"*}}
printf '%s\\n' "$call" >> {root}/calls
read -r failing < {root}/failing
if [ "$call" = "$failing" ]; then exit 1; fi
exec {real} "$@"
"""

RUSTC = """#!/bin/sh
case $* in
    -vV) printf 'rustc 1.0\\nhost: x86_64-unknown-linux-gnu\\n' ;;
    -V) echo 'rustc 1.0' ;;
    '--print sysroot') echo /usr ;;
    *) exit 1 ;;
esac
"""

CARGO = """#!/bin/sh
PATH={path}
case $1 in
    -V) echo 'cargo 1.0' ;;
    build)
        mkdir -p "$CARGO_TARGET_DIR/release"
        program=$CARGO_TARGET_DIR/release/app
        cp app/src/main.rs "$program"
        echo "$program: $PWD/app/src/main.rs" > "$program.d"
        printf '%s%s%s\\n' '{{"reason":"compiler-artifact","package_id":"path+file:///app#app@0.1.0","target":' \\
            '{{"kind":["bin"],"name":"app"}},"features":[],"executable":"' "$program\\",\\"fresh\\":false}}"
        echo '{{"reason":"build-finished","success":true}}' ;;
esac
"""


@dataclass(frozen=True)
class Place:
    """A build context, a mount and an image's tools, all below one directory."""

    root: Path

    @property
    def context(self) -> Path:
        return self.root / "context"

    @property
    def base(self) -> Path:
        return self.root / "build/1-key"

    def put(self, name: str, text: str) -> Path:
        path = self.context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run(self, command: str = "build", failing: str = "", **env: str) -> Done:
        """Run the script as the Dockerfile does; `failing` is the call that fails."""
        (self.root / "failing").write_text(failing + "\n")
        out = self.root / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        known = {
            "PATH": f"{self.root}/bin:/usr/bin:/bin",
            "CARGO_HOME": f"{self.root}/cargo",
            "HOME": f"{self.root}/home",
        }
        return process.run(["sh", self.context / "docker/compile.sh", command], out, {**known, **env})

    def calls(self) -> list[str]:
        """What was called since the last question, each once."""
        log = self.root / "calls"
        found = list(dict.fromkeys(log.read_text().splitlines()))
        log.unlink()
        return found

    def outcome(self) -> tuple[object, ...]:
        """All that a build answers for: the tree, what cargo is to compile again, the program and its manifest."""
        touch = self.base / "state/touch"
        made = self.root / "out/app"
        manifest = made / "share/buildkit-tasks/manifest.json"
        return (
            listing(self.base / "src"),
            sorted(touch.read_text().splitlines()) if touch.exists() else None,
            sorted(p.name for p in (self.base / "target").rglob("*") if ".fingerprint" in p.parts),
            (made / "bin/service").read_text() if (made / "bin/service").exists() else None,
            manifest.read_text() if manifest.exists() else None,
        )


def listing(top: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        kind = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else "directory"
        found[str(path.relative_to(top))] = (kind, path.lstat().st_mode)
    return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A context with a workspace that was built once."""
    made = Place(tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    for tool in TOOLS:
        real = shutil.which(tool, path="/usr/bin:/bin")
        if real:
            (programs / tool).write_text(SHIM.format(tool=tool, root=tmp_path, real=real))
    (programs / "cargo").write_text(CARGO.format(path="/usr/bin:/bin"))
    (programs / "rustc").write_text(RUSTC)
    (programs / "sleep").write_text("#!/bin/sh\nexec /bin/sleep 0.01\n")  # the real find compares nanoseconds anyway
    for program in programs.iterdir():
        program.chmod(0o755)
    (tmp_path / "cargo").mkdir()
    (tmp_path / "toolchain.key").write_text("key\nrustc 1.0\nx86_64-unknown-linux-gnu\nnanoseconds\n")
    script = SCRIPT
    for name, there in (
        ("CONTEXT=/context", f"CONTEXT={tmp_path}/context"),
        ("MOUNT=/build", f"MOUNT={tmp_path}/build"),
        ("TOOLCHAIN=/toolchain.key", f"TOOLCHAIN={tmp_path}/toolchain.key"),
        ("CROSS=/cross.env ", f"CROSS={tmp_path}/cross.env "),
        ("for dir in /usr /opt /bin /sbin /lib /lib64 /etc/alternatives ", f"for dir in {tmp_path}/image "),
    ):
        assert script.count(name) == 1
        script = script.replace(name, there)
    made.put("docker/compile.sh", script)
    made.put("Cargo.toml", '[workspace]\nmembers = ["app"]\n')
    made.put("Cargo.lock", "version = 4\n")
    made.put("app/Cargo.toml", '[package]\nname = "app"\n')
    made.put("app/src/main.rs", 'include_str!("../../words")\n')
    made.put("app/src/old.rs", "old\n")
    made.put("app/sql/1.sql", "one\n")
    made.put("words", "words\n")
    made.put("vendor/dep/Cargo.toml", '[package]\nname = "dep"\n')
    made.put("vendor/dep/.cargo-checksum.json", "{}\n")
    made.put("vendor/dep/src/lib.rs", "dep\n")
    (made.context / "app/link").symlink_to("sql")
    done = made.run(SOURCE=".")
    assert done.code == 0, done.err
    (made.base / "target/release/.fingerprint/dep-1").mkdir(parents=True)
    return made


def edit(place: Place) -> None:
    """One of each: a file edited, deleted, added, a link moved, a vendored crate changed, another package's notes."""
    place.put("app/src/main.rs", "edited\n")
    (place.context / "app/src/old.rs").unlink()
    place.put("app/more/new.sql", "new\n")
    place.put("app/sql/1.sql", "two\n").chmod(0o755)
    (place.context / "app/link").unlink()
    (place.context / "app/link").symlink_to("more")
    place.put("vendor/dep/src/lib.rs", "other\n")


def nothing(place: Place) -> None:
    """The context stays as it is."""


def clock(place: Place) -> None:
    """The last build was under a clock an hour ahead."""
    for path in (*(place.base / "target").rglob("*"), *(place.base / "src").rglob("*")):
        process.ok(["touch", "-h", "-d", "+1 hour", path], place.root)
    place.put("app/src/main.rs", "edited\n")


def odd(place: Place) -> None:
    """A name that cannot be handled line by line."""
    place.put("app/sql/a\nb", "odd\n")


#: Questions whose answer "no" is the careful one: the environment is another, find compares whole seconds.
CAREFUL = ("cmp ", "--version", "grep ")


def harmful(call: str) -> bool:
    return not any(part in call for part in CAREFUL)


@pytest.mark.parametrize(
    ("change", "precision"),
    [(edit, "nanoseconds"), (clock, "nanoseconds"), (clock, "seconds"), (odd, "nanoseconds")],
    ids=["edit", "clock", "clock-seconds", "odd"],
)
def test_whatever_tool_fails_the_step_fails_or_nothing_is_missing(
    place: Place, change: Callable[[Place], None], precision: str
) -> None:
    key = place.root / "toolchain.key"
    key.write_text(key.read_text().replace("nanoseconds", precision))
    change(place)
    before = place.root / "before"
    _copy(place.root / "build", before)
    place.calls()
    done = place.run(SOURCE=".")
    assert done.code == 0, done.err
    right, wrong = place.outcome(), []
    for call in filter(harmful, place.calls()):
        shutil.rmtree(place.root / "build")
        _copy(before, place.root / "build")
        done = place.run(SOURCE=".", failing=call)
        if done.code == 0 and place.outcome() != right:
            wrong.append(call)
    assert not wrong, "\n".join(wrong)


def _copy(source: Path, target: Path) -> None:
    process.ok(["cp", "-a", source, target], source.parent)


def test_a_key_is_printed_whole_or_not_at_all(place: Place) -> None:
    image = place.root / "image"
    (image / "lib").mkdir(parents=True)
    for number in range(4):
        (image / f"lib/{number}.a").write_text(str(number))
    (image / "lib/link").symlink_to("0.a")
    place.calls()
    right = place.run("key")
    assert right.code == 0, right.err
    assert len(right.out.splitlines()) == 4
    wrong = [
        call
        for call in filter(harmful, place.calls())
        if (done := place.run("key", failing=call)).code == 0 and done.out != right.out
    ]
    assert not wrong, "\n".join(wrong)


def test_the_hosts_target_directory_stays_out(place: Place) -> None:
    """Of a workspace at the top of the context as of any other."""
    place.put("target/debug/huge", "huge\n")
    place.put("target/debug/build/out.rs", 'include_str!("../..")\n')
    for change in (nothing, edit, odd):
        change(place)
        done = place.run(SOURCE=".")
        assert done.code == 0, done.err
        assert not (place.base / "src/target").exists(), change.__name__
        assert "target" not in (place.base / "state/context").read_text()
        manifest = json.loads((place.root / "out/app/share/buildkit-tasks/manifest.json").read_text())
        assert not [name for name in manifest["files"] if name.startswith("target")]


@pytest.mark.parametrize("text", ["", "key\n", "key\nrustc 1.0\nhost\n", "key\nrustc 1.0\nhost\nnanosec"])
@pytest.mark.parametrize("command", ["build", "place"])
def test_a_toolchain_key_that_is_cut_short_is_named(place: Place, text: str, command: str) -> None:
    (place.root / "toolchain.key").write_text(text)
    done = place.run(command, SOURCE=".")
    assert done.code == 2
    assert "toolchain.key does not hold the four lines that `compile.sh key` prints" in done.err


@pytest.mark.parametrize("name", ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"])
@pytest.mark.parametrize("value", ["-C opt-level=1", ""])
def test_static_is_refused_where_flags_of_the_environment_outdo_it(place: Place, name: str, value: str) -> None:
    """cargo reads an empty variable as no flags, and the target's own flags not at all."""
    done = place.run(SOURCE=".", STATIC="gnu", **{name: value})
    assert done.code == 2
    assert f"STATIC=gnu has no effect where {name} is set" in done.err
    assert place.run(SOURCE=".", **{name: value}).code == 0
    assert place.run(SOURCE=".", STATIC="gnu").code == 0
