"""If anything fails inside the compile program, the step fails with the file's name, and the next build is correct."""

from __future__ import annotations

import errno
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engine.staleness import model, tree
from tests.engine.staleness.site import HERE, PROJECT, Build, Images
from tests.engine.staleness.tree import COMMON, Change, Delete, Link, Several, Write
from tests.support import process

pytestmark = pytest.mark.engine

PART, SQL, LINK = f"{COMMON}/src/part.rs", f"{COMMON}/sql/1.sql", f"{COMMON}/data/link.txt"
SRC, STATE, OUT = "/build/2-0123456789abcdef/src", "/build/2-0123456789abcdef/state", "/out/api"


@dataclass(frozen=True)
class Fault:
    """A system call that fails for one file. `named`: the file in the error message, if it is a different one."""

    call: str
    code: int
    path: str
    named: str = ""


FAULTS = (
    Fault("opendir", errno.EIO, f"/context/{COMMON}/sql"),
    Fault("readdir", errno.EIO, f"/context/{COMMON}/sql"),
    Fault("opendir", errno.EMFILE, f"{SRC}/{COMMON}/sql"),
    Fault("readdir", errno.EIO, f"{SRC}/{COMMON}/sql"),
    Fault("open", errno.EIO, f"/context/{PART}"),
    Fault("open", errno.EMFILE, f"{SRC}/{PART}"),
    Fault("fstat", errno.EIO, f"/context/{PART}"),
    Fault("read", errno.EIO, f"/context/{PART}"),
    Fault("read", errno.EIO, f"{SRC}/{PART}"),
    Fault("readlink", errno.EIO, f"/context/{LINK}"),
    Fault("read", errno.EIO, f"{STATE}/tree"),
    Fault("open", errno.EACCES, f"{STATE}/env"),
    Fault("unlink", errno.EROFS, f"{SRC}/{COMMON}/listed/b"),
    Fault("mkdir", errno.ENOSPC, f"{SRC}/{COMMON}/listed/d"),
    Fault("symlink", errno.ENOSPC, f"{SRC}/{LINK}"),
    Fault("copy", errno.ENOSPC, f"{SRC}/{PART}"),
    Fault("utimensat", errno.EIO, f"{SRC}/{COMMON}/src/lib.rs"),
    Fault("write", errno.ENOSPC, f"{STATE}/tree.new"),
    Fault("rename", errno.EIO, f"{STATE}/tree"),
    Fault("unlink", errno.EIO, f"{STATE}/pending"),
    Fault("copy", errno.ENOSPC, f"{OUT}/bin/service"),
    Fault("symlink", errno.ENOSPC, f"{OUT}/bin/api"),
    Fault("write", errno.ENOSPC, f"{OUT}/share/buildkit-tasks/manifest.json"),
    Fault("open", errno.EMFILE, "/toolchain.key"),
)


class Box:
    """A container with the directories of a compile step. The program runs in it without an image build."""

    def __init__(self, image: str, folder: Path) -> None:
        self.folder = folder
        self.context = folder / "context"
        tree.make(self.context)
        self.name = f"buildkit-tasks-test-faults-{secrets.token_hex(4)}"
        shared = {self.context: "/context", PROJECT / "docker": "/docker", HERE: "/faults"}
        mounts = [part for here, there in shared.items() for part in ("-v", f"{here}:{there}:ro")]
        small = ("--tmpfs", "/small:size=200k,exec")
        argv = ("docker", "run", "-d", "--init", "--name", self.name, *mounts, *small, image, "sleep", "infinity")
        process.ok([*argv], folder)

    def prepare(self) -> None:
        """Compile the program and the library that makes it fail, and run a first build."""
        for command in (
            "rustc --edition 2021 -o /compile /docker/compile.rs",
            "gcc -shared -fPIC -o /faults.so /faults/faults.c -ldl",
            "mkdir /build /out",
            "printf '0123456789abcdef\\nrustc 1\\nx86_64-unknown-linux-gnu\\n' > /toolchain.key",
        ):
            made = self.sh(command)
            assert made.code == 0, made.all
        assert self.build().code == 0

    def sh(self, script: str) -> process.Done:
        """Run a script in the container; it may fail."""
        return process.run(["docker", "exec", self.name, "sh", "-c", script], self.folder)

    def build(self, before: str = "", out: str = "/out", around: str = "") -> process.Done:
        """Run the compile step with an empty /out; `before`: variables and limits for it."""
        asked = "export CARGO_HOME=/cargo CARGO_INCREMENTAL=1 SOURCE=services BINS='api worker'"
        return self.sh(f"rm -rf {out}/*; {asked}; {around} cd {out} && {before} /compile build")

    def prints(self) -> dict[str, str]:
        """Return what the programs print."""
        return {name: self.sh(f"/out/{name}/bin/{name}").out for name in ("api", "worker")}


@pytest.fixture(scope="module")
def box(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    made = Box(images["plain"], tmp_path_factory.mktemp("faults"))
    try:
        made.prepare()
        yield made
    finally:
        process.run(["docker", "rm", "-f", made.name], made.folder)


def _edit(box: Box, number: int) -> None:
    """Make one change of every kind: an edit, an added and a removed file, a directory, a link."""
    changes: list[Change] = [
        Write(PART, f'pub const TEXT: &str = "part {number}";\n'),
        Link(LINK, f"swap{number % 2 + 1}.txt"),
    ]
    for name in ("listed/b", "listed/d/file"):  # remove what exists, add what does not
        there = (box.context / COMMON / name).exists()
        gone = f"{COMMON}/{name.removesuffix('/file')}"
        changes.append(Delete(gone) if there else Write(f"{COMMON}/{name}", "text\n"))
    Several(tuple(changes)).apply(box.context)


def _is_right(box: Box) -> None:
    done = box.build()
    assert done.code == 0, done.all
    assert box.prints() == model.expected(box.context, Build())


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f"{f.call} {errno.errorcode[f.code]} {f.path[-24:]}")
def test_a_failed_system_call_fails_the_step_with_the_file_name(fault: Fault, box: Box) -> None:
    # twice, because half of the edits create what the other half removes
    failed = False
    for number in (2 * FAULTS.index(fault) + 1, 2 * FAULTS.index(fault) + 2):
        _edit(box, number)
        done = box.build(f"LD_PRELOAD=/faults.so FAULT='{fault.call} {fault.code} {fault.path}'")
        if done.code != 0:
            failed = True
            said = [line for line in done.err.splitlines() if line.startswith("buildkit-tasks: error: ")]
            assert said, done.all
            assert fault.path.removeprefix("/context/") in said[-1]
    assert failed
    _is_right(box)


@pytest.mark.parametrize(
    ("before", "out", "around", "named"),
    [
        ("", "/small", "", "/small/"),
        ("", "/out", "ulimit -n 6;", "Too many open files"),
        (
            "PATH=/tmp/killed:$PATH",
            "/out",
            "mkdir -p /tmp/killed; printf '#!/bin/sh\\nkill -9 $$\\n' > /tmp/killed/cargo; chmod +x /tmp/killed/cargo;",
            "cargo was killed (signal: 9 (SIGKILL)",
        ),
    ],
    ids=["/out full", "open file limit reached", "cargo killed"],
)
def test_a_machine_failure_fails_the_step(before: str, out: str, around: str, named: str, box: Box) -> None:
    _edit(box, 1001)
    done = box.build(before, out, around)
    assert done.code != 0
    assert "buildkit-tasks: error: " in done.err, done.all
    assert named in done.err, done.all
    _edit(box, 1002)
    _is_right(box)
