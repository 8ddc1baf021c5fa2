"""cargo in the toolchain image: a small workspace without dependencies, the real Dockerfile, a real PostgreSQL."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pexpect
import pytest

from tests.support import process

pytestmark = pytest.mark.engine

REPOSITORY = Path(__file__).parents[2]
OLD = 1_000_000_000  # 2001: older than anything that a build writes

COMPOSE = """\
name: {name}
services:
  app:
    build: {{context: ., dockerfile: docker/Dockerfile, args: {{BIN: app, CACHE_SCOPE: {name}}}}}
    environment: {{DATABASE_URL: "postgres://shop:${{DB_PASSWORD}}@db:5432/shop", GREETING: hello}}
  db:
    image: postgres:15-bookworm
    environment: {{POSTGRES_USER: shop, POSTGRES_PASSWORD: "${{DB_PASSWORD}}", POSTGRES_DB: shop}}
    healthcheck: {{test: [CMD-SHELL, "pg_isready -h 127.0.0.1 -U shop -d shop"], interval: 1s, retries: 60}}
    ports: ["127.0.0.1:1:5432"]
    volumes: [data:/var/lib/postgresql/data]
volumes: {{data: {{}}}}
"""

MAIN = """\
fn main() {
    println!("answer {} {:?}", lib::answer(), std::env::var("GREETING").ok());
    for word in std::env::args().skip(1) {
        println!("word {word}");
    }
    if std::env::args().any(|word| word == "fail") {
        std::process::exit(33);
    }
}
"""

LIB = """\
pub fn answer() -> u32 {
    42
}

#[test]
fn it_is() {
    assert_eq!(answer(), 42);
}
"""

#: Implements just enough of PostgreSQL's protocol: sends a startup message, and the server answers with `R`.
DATABASE = r"""
use std::io::{Read, Write};

#[test]
#[ignore]
fn a_real_server_answers() {
    let url = std::env::var("DATABASE_URL").unwrap();
    let place = url.split('@').nth(1).unwrap().split('/').next().unwrap();
    let mut server = std::net::TcpStream::connect(place).unwrap();
    let words = b"\0\x03\0\0user\0shop\0database\0shop\0\0";
    server.write_all(&(words.len() as u32 + 4).to_be_bytes()).unwrap();
    server.write_all(words).unwrap();
    let mut answer = [0];
    server.read_exact(&mut answer).unwrap();
    assert_eq!(answer[0], b'R');
    println!("the server answered");
}

#[test]
#[ignore]
fn waits() {
    if std::env::var("WAITS").is_ok() {
        println!("waiting");
        std::thread::sleep(std::time::Duration::from_secs(100));
    }
}
"""

LOCK = """\
version = 4

[[package]]
name = "app"
version = "0.1.0"
dependencies = [
 "lib",
]

[[package]]
name = "lib"
version = "0.1.0"
"""


class Site:
    """A project with separate volumes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = f"cargo-{secrets.token_hex(3)}"
        self.env: dict[str, str | None] = {"CI": None, "XDG_STATE_HOME": str(root.parent / "state"), "NO_COLOR": None}
        self.write("compose.yaml", COMPOSE.format(name=self.name))
        self.write("tasks.py", "from buildkit_tasks import namespace\n__all__ = ['namespace']\n")
        self.write(".env", "DB_PASSWORD=p$$w%40'x\n")
        # images do not contain tests
        self.write(".dockerignore", "*\n!docker/compile.rs\n!docker/cross.sh\n!services\nservices/*/tests\n")
        for name in ("Dockerfile", "compile.rs", "cross.sh"):
            (root / "docker").mkdir(exist_ok=True)
            shutil.copy(REPOSITORY / "docker" / name, root / "docker" / name)
        # a step that no engine has cached: the first task on a machine must not depend on an earlier build
        self.write("docker/cross.sh", (root / "docker/cross.sh").read_text() + f"# {self.name}\n")
        self.write("services/Cargo.toml", '[workspace]\nmembers = ["app", "lib"]\nresolver = "2"\n')
        self.write("services/Cargo.lock", LOCK)
        package = '[package]\nname = "{}"\nversion = "0.1.0"\nedition = "2021"\n'
        self.write("services/app/Cargo.toml", package.format("app") + '[dependencies]\nlib = { path = "../lib" }\n')
        self.write("services/lib/Cargo.toml", package.format("lib"))
        self.write("services/app/src/main.rs", MAIN)
        self.write("services/lib/src/lib.rs", LIB)
        self.write("services/app/tests/database.rs", DATABASE)

    def write(self, name: str, text: str, *, old: bool = False) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if old:
            os.utime(path, (OLD, OLD))

    def invoke(self, *args: str, **env: str) -> process.Done:
        return process.run([process.BIN / "invoke", *args], self.root, {**self.env, **env}, timeout=600)

    def ok(self, *args: str) -> process.Done:
        done = self.invoke(*args)
        assert done.code == 0, done.all
        return done

    def containers(self) -> list[str]:
        """Return the containers of cargo tasks and of services for tests, running or not."""
        label = ["--filter", f"label=buildkit-tasks.cargo={self.name}", "--format", "{{.Names}}"]
        named = ["--filter", f"name={self.name}", "--format", "{{.Names}}"]
        return [
            name
            for how in (label, named)
            for name in process.ok(["docker", "ps", "--all", *how], self.root).out.split()
        ]

    def leftovers(self) -> list[str]:
        """Return what the tests' services left: containers, networks, volumes."""
        found = self.containers()
        for kind in ("network", "volume"):
            listed = process.ok(["docker", kind, "ls", "--format", "{{.Name}}"], self.root).out.split()
            found += [name for name in listed if name.startswith(f"{self.name}-cargo-test")]
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, base_images: Mapping[str, str]) -> Iterator[Site]:
    """Create one site for all tests, which run in the order of this file: each compiles only what it changed."""
    made = Site(_folder(tmp_path_factory))
    yield made
    made.invoke("cargo.clean", "--all")
    images = ["docker", "image", "ls", "--quiet", "--filter", f"reference=localhost/buildkit-tasks-cargo/{made.name}"]
    for image in process.run(images, made.root).out.split():
        process.run(["docker", "image", "rm", image], made.root)


def _folder(factory: pytest.TempPathFactory) -> Path:
    root = factory.mktemp("cargo") / "shop"
    root.mkdir()
    return root


def test_tests_pass_in_the_copy_and_the_tree_stays_as_it_was(site: Site) -> None:
    before = sorted(p for p in site.root.rglob("*"))
    done = site.ok("cargo.test")
    assert "test it_is ... ok" in done.out
    assert "\x1b[" not in done.all  # no terminal, no colors
    assert sorted(p for p in site.root.rglob("*")) == before
    assert site.containers() == []


def test_nothing_changed_compiles_nothing_and_builds_no_image(site: Site) -> None:
    done = site.ok("cargo.test", "--", "it_is")
    assert "Compiling" not in done.err
    assert "building" not in done.err


def test_an_edit_with_an_old_time_is_compiled(site: Site) -> None:
    """cargo alone treats the old time as "nothing changed": the sync prevents this."""
    site.write("services/lib/src/lib.rs", LIB.replace("    42\n", "    43\n"), old=True)
    done = site.invoke("cargo.test", "--crate", "lib")
    assert done.code == 101, done.all
    assert "left: 43" in done.out
    site.write("services/lib/src/lib.rs", LIB, old=True)
    assert "test it_is ... ok" in site.ok("cargo.test", "--crate", "lib").out


def test_an_error_of_the_compiler_is_cargos_own(site: Site) -> None:
    site.write("services/app/src/main.rs", "fn main() { oops }\n")
    done = site.invoke("cargo.check")
    site.write("services/app/src/main.rs", MAIN)
    assert done.code == 101
    assert "error[E0425]: cannot find value `oops` in this scope" in done.err
    assert "error[cargo" not in done.err


def test_a_program_gets_its_words_and_ends_with_its_own_code(site: Site) -> None:
    done = site.invoke("cargo.run", "--service", "app", "--", "two  words", "--flag", "fail")
    assert done.out == 'answer 42 Some("hello")\nword two  words\nword --flag\nword fail\n'
    assert done.code == 33
    assert site.invoke("cargo.run", "--bin", "app").out == "answer 42 None\n"


def test_a_terminal_gets_colors_and_ctrl_c_ends_the_container(site: Site) -> None:
    argv = ["cargo.test", "--env", "WAITS=1", "--crate", "app", "--", "waits", "--", "--ignored", "--nocapture"]
    env = process.environment({**site.env, "TERM": "xterm"})
    child = pexpect.spawn(str(process.BIN / "invoke"), argv, cwd=site.root, env=env, timeout=120, encoding="utf-8")
    child.expect(re.escape("\x1b[") + r"[0-9;]*m\s+Running")  # cargo's own colors
    child.expect("waiting\r\n")
    child.sendcontrol("c")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert site.containers() == []


def test_cargo_lock_that_does_not_fit_is_made_to_fit_by_the_task_that_is_named(site: Site) -> None:
    site.write("services/lib/Cargo.toml", '[package]\nname = "lib"\nversion = "0.2.0"\nedition = "2021"\n')
    done = site.invoke("cargo.check")
    assert done.code == 77, done.all
    assert "invoke cargo.update --lock" in done.err
    site.ok("cargo.update", "--lock")
    assert 'name = "lib"\nversion = "0.2.0"' in (site.root / "services/Cargo.lock").read_text()
    site.ok("cargo.check")


def test_integration_tests_get_a_database_of_their_own(site: Site) -> None:
    done = site.invoke("cargo.test", "--integration", "--crate", "app", "--", "--", "--nocapture")
    assert done.code == 0, done.all
    assert "the server answered" in done.out
    assert "p$w" not in done.all
    assert site.leftovers() == []


def test_ctrl_c_takes_the_database_away_as_well(site: Site) -> None:
    argv = ["cargo.test", "--integration", "--env", "WAITS=1", "--", "waits", "--", "--nocapture"]
    running = process.start([process.BIN / "invoke", *argv], site.root, site.env)
    assert running.stdout is not None
    assert running.stderr is not None
    with running.stdout as lines, running.stderr:
        assert any("waiting" in line for line in lines)
        running.send_signal(signal.SIGINT)
        began = time.monotonic()
        code = running.wait(60)
    assert code == 130
    assert time.monotonic() - began < 30
    assert site.leftovers() == []


NEXTEST = """\
#!/bin/sh
# stands in for cargo-nextest: the real one takes minutes to compile
set -eu
[ "$1 $2" = "nextest run" ] && grep -q junit.xml /task/nextest.toml
mkdir -p "$CARGO_TARGET_DIR/nextest/default"
echo "<testsuites/>" > "$CARGO_TARGET_DIR/nextest/default/junit.xml"
exit 100
"""


def test_a_report_is_left_also_by_tests_that_fail(site: Site) -> None:
    volume = f"type=volume,source={site.name}-cargo-tools,target=/tools"
    put = ["sh", "-c", 'mkdir -p /tools/bin && cd /tools/bin && printf %s "$0" > cargo-nextest && chmod +x *', NEXTEST]
    image = process.ok(["docker", "image", "ls", "--quiet", f"localhost/buildkit-tasks-cargo/{site.name}"], site.root)
    process.ok(["docker", "run", "--rm", "--mount", volume, image.out.split()[0], *put], site.root)
    done = site.invoke("cargo.test", "--junit", "../out/junit.xml")
    assert done.code == 100, done.all
    assert (site.root.parent / "out/junit.xml").read_text() == "<testsuites/>\n"


def test_a_tool_that_the_image_lacks_is_named(site: Site) -> None:
    done = site.invoke("cargo.audit")
    assert done.code == 73
    assert "invoke cargo.audit --install" in done.err


def test_rustfmt_is_added_on_consent_and_writes_as_the_user(site: Site) -> None:
    assert site.invoke("cargo.fmt", "--check", "--install").code == 18
    site.write("services/lib/src/lib.rs", LIB.replace("    42\n", "  42\n"))
    done = site.invoke("cargo.fmt", "--check", "--install", "--yes")
    assert done.code == 1, done.all
    assert "+    42" in done.out
    site.ok("cargo.fmt")
    path = site.root / "services/lib/src/lib.rs"
    assert path.read_text() == LIB
    assert (path.stat().st_uid, path.stat().st_gid) == (os.getuid(), os.getgid())


def test_clippy_takes_warnings_for_errors(site: Site) -> None:
    site.ok("cargo.clippy")
    site.write("services/lib/src/lib.rs", LIB + "\npub fn late() -> u32 {\n    return 1;\n}\n")
    done = site.invoke("cargo.clippy", "--crate", "lib")
    site.write("services/lib/src/lib.rs", LIB)
    assert done.code == 101
    assert "clippy::needless-return" in done.err


def test_documentation_is_left_where_the_user_wants_it(site: Site) -> None:
    done = site.ok("cargo.doc", "--to", "../site", "--crate", "lib")
    assert done.out == f"{site.root.parent / 'site' / 'doc'}\n"
    assert (site.root.parent / "site/doc/lib/index.html").stat().st_uid == os.getuid()


def test_clean_removes_this_projects_volumes_only(site: Site) -> None:
    assert site.ok("cargo.clean").err == f"removed {site.name}-cargo-target\n"
    assert "nothing to clean" in site.ok("cargo.clean").err


def test_a_user_who_is_not_root_owns_what_is_written(site: Site) -> None:
    """Uses the engine's socket, which a group can access; Python and this package are readable by all users."""
    socket = Path("/var/run/docker.sock")
    python = shutil.which("python3", path="/usr/bin")
    packages = Path(pytest.__file__).parents[1]
    readable = all(p.stat().st_mode & 0o5 == 0o5 for place in (REPOSITORY, packages) for p in (place, *place.parents))
    if os.getuid() != 0 or not socket.exists() or python is None or not readable:
        pytest.skip("needs root, the engine's own socket, and a repository that every user may read")
    folder = Path(f"/var/tmp/{site.name}")  # pytest's own directories are only accessible to root
    shutil.copytree(site.root, folder / "shop")
    try:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 4321, 4321)
        env = {
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": f"{REPOSITORY / 'src'}:{packages}",
        }
        who = ["setpriv", "--reuid", "4321", "--regid", "4321", "--groups", str(socket.stat().st_gid)]
        for task, change in (("cargo.update", ("lib", "0.3.0")), ("cargo.check", ())):
            if change:
                manifest = folder / "shop/services/lib/Cargo.toml"
                manifest.write_text(manifest.read_text().replace("0.2.0", change[1]))
            argv = [*who, "env", "-i", *(f"{k}={v}" for k, v in env.items()), python, "-m", "invoke", task]
            process.ok(argv, folder / "shop", timeout=120)
        assert "0.3.0" in (folder / "shop/services/Cargo.lock").read_text()
        assert {path.stat().st_uid for path in folder.rglob("*")} == {4321}
    finally:
        shutil.rmtree(folder)
