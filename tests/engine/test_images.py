"""The images from Debian packages behave like the public ones they replace."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from buildkit_tasks.core.model import Engine
from buildkit_tasks.images import names as image_names
from tests.support import process

pytestmark = pytest.mark.engine

ROOT = Path("/")
Start = Callable[..., str]


def docker(*args: str, timeout: float = 120) -> str:
    return process.ok(["docker", *args], ROOT, timeout=timeout).out.strip()


def said(name: str, words: str) -> None:
    """Wait until the container's log contains the words; fail with the log if it exits, or after a minute."""
    follow = process.start(["sh", "-c", f"exec docker logs --follow {name} 2>&1"], ROOT)
    limit = threading.Timer(60, follow.kill)
    limit.start()
    assert follow.stdout is not None
    lines: list[str] = []
    try:
        for line in follow.stdout:
            lines.append(line)
            if words in line:
                return
        pytest.fail(f"{name} never said {words!r}:\n{''.join(lines)}")
    finally:
        limit.cancel()
        follow.kill()
        follow.communicate()


@pytest.fixture(scope="module")
def built(engine: Engine, base_images: Mapping[str, str]) -> Mapping[str, str]:
    """Build the two images of the stack with the real task; return the name of each stage's image."""
    repository = Path(__file__).parents[2]
    only = ("--only", "postgres", "--only", "rabbitmq")
    process.ok([process.BIN / "invoke", "images.build", *only, "--yes"], repository, timeout=900)
    return {r.stage: r.image for r in image_names.RECIPES}


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts a container and returns its name; remove containers and volumes afterwards."""
    names: list[str] = []

    def run(image: str, *options: str, env: Mapping[str, str] | None = None, command: tuple[str, ...] = ()) -> str:
        name = f"images-test-{secrets.token_hex(4)}"
        names.append(name)
        variables = [part for k, v in (env or {}).items() for part in ("--env", f"{k}={v}")]
        docker("run", "--detach", "--name", name, *variables, *options, image, *command)
        return name

    yield run
    for name in names:
        process.run(["docker", "rm", "--force", "--volumes", name], ROOT)


@pytest.fixture
def volume() -> Iterator[str]:
    name = f"images-test-{secrets.token_hex(4)}"
    docker("volume", "create", name)
    yield name
    process.run(["docker", "volume", "rm", "--force", name], ROOT)


def query(name: str, user: str, password: str, database: str, sql: str) -> str:
    """Query over TCP, where the password is checked."""
    options = ("--env", f"PGPASSWORD={password}", name, "psql", "-h", "127.0.0.1", "-U", user, "-d", database, "-tAc")
    return docker("exec", *options, sql)


def test_postgres_takes_user_password_and_database(built: Mapping[str, str], start: Start, volume: str) -> None:
    password = "it's $a \"pass\\word"
    env = {"POSTGRES_USER": "app", "POSTGRES_PASSWORD": password, "POSTGRES_DB": "my-db"}
    where = ("--volume", f"{volume}:/var/lib/postgresql/data")
    name = start(built["postgres"], *where, env=env)
    said(name, "listening on IPv4")
    assert (
        query(name, "app", password, "my-db", "create table t(a int); insert into t values (7); select a from t") != ""
    )
    wrong = [
        "docker",
        "exec",
        "-e",
        "PGPASSWORD=no",
        name,
        "psql",
        "-h",
        "127.0.0.1",
        "-U",
        "app",
        "-d",
        "my-db",
        "-c",
        "x",
    ]
    assert "password authentication failed" in process.run(wrong, ROOT).err
    assert (
        docker("exec", name, "sh", "-c", "pg_isready -q && cat /proc/1/comm && stat -c %u /proc/1") == "postgres\n999"
    )
    docker("stop", "--time", "20", name)
    assert docker("inspect", "--format", "{{.State.ExitCode}}", name) == "0"
    again = start(built["postgres"], *where)  # no password: the cluster already exists
    said(again, "listening on IPv4")
    assert query(again, "app", password, "my-db", "select a from t") == "7"


def test_postgres_without_a_password_says_so(built: Mapping[str, str]) -> None:
    done = process.run(["docker", "run", "--rm", built["postgres"]], ROOT)
    assert done.code == 1
    assert "POSTGRES_PASSWORD is not set" in done.err


def test_postgres_killed_while_it_makes_the_cluster_starts_over(
    built: Mapping[str, str], start: Start, volume: str
) -> None:
    where = ("--volume", f"{volume}:/var/lib/postgresql/data")
    env = {"POSTGRES_PASSWORD": "x"}
    for moment in ("creating configuration files", "performing post-bootstrap initialization"):
        name = start(built["postgres"], *where, env=env)
        said(name, moment)
        docker("kill", name)
        listed = docker(
            "run", "--rm", *where, "--entrypoint", "ls", built["postgres"], "-A", "/var/lib/postgresql/data"
        )
        assert listed == ".buildkit-tasks-init", "nothing may look like a cluster before it is one"
    name = start(built["postgres"], *where, env=env)
    said(name, "listening on IPv4")
    assert query(name, "postgres", "x", "postgres", "select 1") == "1"


def test_postgres_runs_init_scripts_and_reads_secret_files(
    built: Mapping[str, str], start: Start, tmp_path: Path
) -> None:
    (tmp_path / "1.sql").write_text("create table t(a int); insert into t values (41);\n")
    (tmp_path / "2.sh").write_text("psql -c 'update t set a = a + 1'\n")
    (tmp_path / "password").write_text("from a file\n")
    mounts = [
        *("--volume", f"{tmp_path}/1.sql:/docker-entrypoint-initdb.d/1.sql:ro"),
        *("--volume", f"{tmp_path}/2.sh:/docker-entrypoint-initdb.d/2.sh:ro"),
        *("--volume", f"{tmp_path}/password:/password:ro"),
    ]
    for item in tmp_path.iterdir():
        item.chmod(0o644)
    name = start(built["postgres"], *mounts, env={"POSTGRES_PASSWORD_FILE": "/password"})
    said(name, "listening on IPv4")
    assert query(name, "postgres", "from a file", "postgres", "select a from t") == "42"


def test_rabbitmq_takes_user_and_password(built: Mapping[str, str], start: Start) -> None:
    env = {"RABBITMQ_DEFAULT_USER": "app", "RABBITMQ_DEFAULT_PASS": "it's secret"}
    name = start(built["rabbitmq"], env=env)
    said(name, "Server startup complete")
    assert "Ping succeeded" in docker("exec", name, "rabbitmq-diagnostics", "ping")
    docker("exec", name, "rabbitmq-diagnostics", "-q", "ping")
    assert "Success" in docker("exec", name, "rabbitmqctl", "authenticate_user", "app", "it's secret")
    assert docker("exec", name, "stat", "-c", "%u", "/proc/1") == "999"
    docker("stop", "--time", "30", name)
    assert docker("inspect", "--format", "{{.State.ExitCode}}", name) == "0"


def test_nothing_of_the_hosts_secrets_stays_in_an_image(built: Mapping[str, str]) -> None:
    places = "/run/secrets/ca /etc/apt/apt.conf.d/99host /etc/apt/auth.conf.d/host.conf"
    look = f"for f in {places}; do test ! -s $f || echo $f; done"
    for stage in ("postgres", "rabbitmq"):
        assert docker("run", "--rm", "--entrypoint", "sh", built[stage], "-c", look) == ""


def test_the_toolchain_compiles_and_links(base_images: Mapping[str, str]) -> None:
    image = base_images.get("rust:1-bookworm", "rust:1-bookworm")
    source = 'fn main(){println!("{}", 6*7)}'
    script = f"cd /tmp && echo '{source}' > a.rs && rustc a.rs && ./a && cargo -V && git --version && cc --version"
    out = docker("run", "--rm", image, "sh", "-c", script)
    assert out.startswith("42\ncargo 1."), out
    assert docker("run", "--rm", image, "printenv", "CARGO_HOME") == "/usr/local/cargo"
