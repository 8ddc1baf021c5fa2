"""Record `invoke dev --watch` in a small project, and put its output into docs/how-to/watch.md.

./dev python docs/make_transcript.py    (takes a minute; includes a compile error and its fix)
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import pexpect

from buildkit_tasks.core import run
from buildkit_tasks.core.docker import docker
from buildkit_tasks.core.world import World

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "how-to" / "watch.md"
BEGIN, END = "<!-- transcript: begin -->", "<!-- transcript: end -->"
PROJECT = "watch-transcript"

MAIN = """\
fn main() {
    println!("NAME: {}", common::greeting());
    std::thread::park();
}
"""
GREETING = 'pub fn greeting() -> &\'static str {\n    "hello"\n}\n'


def project(root: Path) -> None:
    """Create a project with two programs that share a crate, built with this repository's Dockerfile."""
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


def record(root: Path) -> str:
    """Return the terminal output for three saves and a Ctrl-C."""
    env = {**os.environ, "TERM": "dumb", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    env.pop("CI", None)
    source = root / "services" / "common" / "src" / "lib.rs"
    child = pexpect.spawn("invoke", ["dev", "--watch"], cwd=str(root), env=env, dimensions=(40, 110), timeout=600)
    shown: list[bytes] = []

    def until(words: str) -> None:
        child.expect(words)
        shown.append((child.before or b"") + (child.after or b""))

    until("watching [^\n]*\n")
    until("worker-1[^\n]*\n")
    source.write_text(GREETING.replace('"hello"', '"hello, world"'))
    until(r"replaced[^\n]*\n")
    source.write_text(GREETING.replace('"hello"', "hello"))
    until("waiting for the next change[^\n]*\n")
    source.write_text(GREETING.replace('"hello"', '"hello again"'))
    until(r"replaced[^\n]*\n")
    child.expect(pexpect.TIMEOUT, timeout=3)
    shown.append(child.before or b"")
    child.sendintr()
    until("rerun the command[^\n]*\n")
    child.expect(pexpect.EOF)
    return b"".join(shown).decode(errors="replace")


def plain(text: str) -> str:
    """Remove colors, carriage returns and messages about this machine."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "").replace("^C", "")
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip() and "registry unreachable" not in line)


def main() -> None:
    """Record the transcript and write the page."""
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as place:
        root = Path(place, "shop")
        project(root)
        try:
            text = plain(record(root))
        finally:
            run.capture(World.real(), docker(root, "compose", "down", "--rmi", "local"))
    block = "\n".join(f"    {line}".rstrip() for line in ("$ invoke dev --watch", *text.splitlines()))
    page = PAGE.read_text("utf-8")
    made = f"{BEGIN}\n\n{block}\n\n{END}"
    PAGE.write_text(re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: made, page, flags=re.DOTALL), "utf-8")


if __name__ == "__main__":
    main()
