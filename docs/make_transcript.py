"""Record `invoke dev --watch` and `invoke watch` on a small project, and put the output into docs/how-to/watch.md.

./dev python docs/make_transcript.py    (two minutes; each recording includes a compile error and its fix)

pyte emulates a terminal with 80 columns: lines that a live view overwrites are lost, and lines that scrolled off the
top are kept, as in tmux.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path

from terminal import Terminal

from buildkit_tasks.core import run
from buildkit_tasks.core.world import World
from buildkit_tasks.dockercli.docker import docker

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "how-to" / "watch.md"
PROJECT = "watch-transcript"

#: The commands, by their position in the page.
RECORDED = {"dev": "invoke dev --watch", "watch": "invoke watch"}

#: The texts that the programs print, in order. They differ so that the second recording also has to compile.
SAID = {"dev": ("hello", "hello, world", "hello again"), "watch": ("good morning", "good evening", "good night")}

#: The size of the terminal.
COLUMNS, LINES = 80, 30

MAIN = """\
fn main() {
    println!("NAME: {}", common::greeting());
    std::thread::park();
}
"""
GREETING = 'pub fn greeting() -> &\'static str {\n    "hello"\n}\n'


def project(root: Path) -> None:
    """Create two programs that share a crate, built with this repository's Dockerfile."""
    shutil.copytree(ROOT / "docker", root / "docker")
    shutil.copy(ROOT / ".dockerignore", root)
    (root / "tasks.py").write_text("from buildkit_tasks import namespace\n__all__ = ['namespace']\n")
    manifest = '[package]\nname = "{}"\nversion = "0.1.0"\nedition = "2021"\n{}'
    for name in ("common", "api", "worker"):
        place = root / "services" / name
        (place / "src").mkdir(parents=True)
        uses = "" if name == "common" else '[dependencies]\ncommon = { path = "../common" }\n'
        (place / "Cargo.toml").write_text(manifest.format(name, uses))
        source = ("lib.rs", GREETING) if name == "common" else ("main.rs", MAIN.replace("NAME", name))
        (place / "src" / source[0]).write_text(source[1])
    members = '[workspace]\nresolver = "2"\nmembers = ["api", "common", "worker"]\n'
    (root / "services" / "Cargo.toml").write_text(members)
    packages = '[[package]]\nname = "{}"\nversion = "0.1.0"\n{}'
    lock = "".join(
        packages.format(name, "" if name == "common" else 'dependencies = [\n "common",\n]\n') + "\n"
        for name in ("api", "common", "worker")
    )
    (root / "services" / "Cargo.lock").write_text(f"version = 3\n\n{lock}".rstrip() + "\n")
    build = {"context": ".", "dockerfile": "docker/Dockerfile"}
    services = {
        name: {
            "build": {**build, "args": {"BIN": name, "CACHE_SCOPE": PROJECT}},
            "init": True,
            "stop_grace_period": "1s",
        }
        for name in ("api", "worker")
    }
    (root / "compose.yaml").write_text(json.dumps({"name": PROJECT, "services": services}))


def record(root: Path, words: str, said: tuple[str, ...]) -> str:
    """Return the terminal output for a change, a compile error, its fix, and Ctrl-C."""
    source = root / "services" / "common" / "src" / "lib.rs"
    first, second, third = said
    source.write_text(GREETING.replace("hello", first))
    terminal = Terminal(root, words.split(), COLUMNS, LINES)
    terminal.until("watching api, worker")
    terminal.read(2)
    source.write_text(GREETING.replace("hello", second))
    terminal.until(" replaced (")
    terminal.read(2)
    source.write_text(GREETING.replace('"hello"', third.split()[0]))
    terminal.until("waiting for the next change")
    terminal.read(1)
    source.write_text(GREETING.replace("hello", third))
    terminal.until(" replaced (", 2)
    terminal.read(3)
    terminal.child.sendintr()
    while terminal.read(1):
        pass
    shown = [f"$ {words}", *(line for line in terminal.lines if "registry unreachable" not in line)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(shown)).replace("^C", "").strip()


def main() -> None:
    """Record the commands and write the page."""
    page = PAGE.read_text("utf-8")
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as place:
        root = Path(place, "shop")
        project(root)
        try:
            for name, words in RECORDED.items():
                begin, end = f"<!-- transcript {name}: begin -->", f"<!-- transcript {name}: end -->"
                made = f"{begin}\n\n```text\n{record(root, words, SAID[name])}\n```\n\n{end}"
                head, tail = page.partition(begin)[0], page.partition(end)[2]
                page = head + made + tail
        finally:
            run.capture(World.real(), docker(root, "compose", "down", "--rmi", "local"))
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
