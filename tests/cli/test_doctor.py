"""Doctor on a real project with a recording docker: each real fault triggers exactly its check."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from buildkit_tasks import doctor
from buildkit_tasks.config.session import Session
from buildkit_tasks.core.report import Report
from buildkit_tasks.core.world import World
from buildkit_tasks.doctor import diagnose as flow
from tests.cli.conftest import Bench, service
from tests.support import process
from tests.support.situations import INFO

INSPECT = "Name:   default\nDriver: docker\n\nNodes:\nName:   default\nStatus: running\nPlatforms: linux/amd64\n"


def info(**more: Any) -> str:
    """Return the engine's document; the tests' docker replaces @NOW@ with the time of the call."""
    return json.dumps({**INFO, "Name": socket.gethostname(), "SystemTime": "@NOW@", "MemTotal": 8 << 30, **more})


def config(bench: Bench, **api: Any) -> str:
    return json.dumps({"name": "shop", "services": {"api": service(bench.root, "api", **api)}})


@pytest.fixture
def shop(bench: Bench) -> Bench:
    """A healthy machine: one docker, git, an empty home, a project with .env, lock file and compose file."""
    for name in ("git", "sh", "env", "python3"):
        place = process.run(["sh", "-c", f"command -v {name}"], bench.root).out.strip()
        (bench.place / "bin" / name).symlink_to(place)
    bench.env["PATH"] = str(bench.place / "bin")
    bench.reply("info", stdout=info())
    bench.reply("buildx inspect", stdout=INSPECT)
    bench.reply("buildx du", stdout="ID SIZE\nTotal:\t5GB\n")
    bench.reply("ps --all", stdout="")
    bench.reply("ps --filter publish", stdout="")
    bench.reply("image inspect", stdout='["rust:1-bookworm"] sha256:1\n["debian:bookworm-slim"] sha256:2\n')
    bench.reply("config --format json", stdout=config(bench))
    bench.reply("config --no-interpolate", stdout="{}")
    (bench.root / "Cargo.toml").write_text('[workspace]\nmembers = ["api"]\n')
    (bench.root / "Cargo.lock").write_text("version = 4\n")
    (bench.root / ".env.example").write_text("DB_PASSWORD=\nAPI_PORT=8080\n")
    (bench.root / ".env").write_text("DB_PASSWORD=k3Jq-0f\nAPI_PORT=8080\n")
    (bench.root / ".env").chmod(0o600)
    process.ok(["git", "init", "-q", "."], bench.root)
    (bench.root / ".gitignore").write_text(".env\n")
    return bench


def session(bench: Bench) -> Session:
    env = {k: v for k, v in bench.environment().items() if v is not None}
    world = World(env={"SHELL": "/bin/bash", **env}, cwd=bench.root, home=bench.place / "home")
    return Session(world, Report(world, json_only=True))


def fired(bench: Bench) -> list[str]:
    return [c.name for c in doctor.examine(flow.gather(session(bench)), doctor.RULES) if c.fires]


def test_the_healthy_project_fires_nothing(shop: Bench) -> None:
    checks = doctor.examine(flow.gather(session(shop)), doctor.RULES)
    assert [(c.name, c.found) for c in checks if c.fires] == []


def no_docker(b: Bench) -> None:
    (b.place / "bin" / "docker").unlink()


def podman_as_docker(b: Bench) -> None:
    b.place.joinpath("bin/docker").write_text('#!/bin/sh\nexec podman "$@"\n')
    b.place.joinpath("bin/podman").symlink_to("/bin/false")


def second_docker(b: Bench) -> None:
    folder = b.place / "other"
    folder.mkdir()
    (folder / "docker").write_text("#!/bin/sh\necho '{\"Plugins\": []}'\n")
    (folder / "docker").chmod(0o755)
    b.env["PATH"] = f"{b.env['PATH']}:{folder}"
    b.reply("{{json .ClientInfo}}", stdout=json.dumps(INFO["ClientInfo"]))


def silent_engine(b: Bench) -> None:
    b.reply("info", stdout=json.dumps({"ServerErrors": ["refused"], "ClientInfo": INFO["ClientInfo"]}), code=1)
    b.env["DOCKER_HOST"] = "tcp://127.0.0.1:1"


def old_engine(b: Bench) -> None:
    b.reply("info", stdout=info(ServerVersion="20.10.24+dfsg1"))
    b.reply("version --format", stdout='[{"Name": "Engine"}]')
    (b.place / "home" / ".bashrc").write_text("if [ -r /x ]; then . /x; fi  # added by buildkit-tasks\n")
    env = b.place / "home/.config/buildkit-tasks/env.sh"
    env.parent.mkdir(parents=True)
    env.write_text("")


def plugins(*present: str) -> Callable[[Bench], None]:
    client = {**INFO["ClientInfo"], "Plugins": [p for p in INFO["ClientInfo"]["Plugins"] if p["Name"] in present]}

    def apply(b: Bench) -> None:
        b.reply("info", stdout=info(ClientInfo=client))
        if "compose" not in present:
            b.reply("compose", code=1, stderr="docker: 'compose' is not a docker command.")

    return apply


def buildkit_off(b: Bench) -> None:
    b.env["DOCKER_BUILDKIT"] = "0"


def client_config(b: Bench) -> None:
    file = b.place / "home/.docker/config.json"
    file.parent.mkdir()
    file.write_text('{"features": {"buildkit": "false"}}')


def other_builder(b: Bench) -> None:
    b.reply("buildx inspect", stdout=INSPECT.replace("Driver: docker", "Driver: docker-container"))


def classic_store(b: Bench) -> None:
    b.reply("info", stdout=info(DriverStatus=[["Backing Filesystem", "extfs"]]))


def newest_engine(b: Bench) -> None:
    b.reply("info", stdout=info(ServerVersion="29.6.1"))


def over_budget(b: Bench) -> None:
    b.env["BUILDKIT_TASKS_CACHES_BUDGET"] = "1GB"


def skewed(b: Bench) -> None:
    b.reply("info", stdout=info(SystemTime=(datetime.now(timezone.utc) - timedelta(minutes=9)).isoformat()))


def little_memory(b: Bench) -> None:
    b.reply("info", stdout=info(MemTotal=1 << 30))


def full_disk(b: Bench) -> None:
    b.reply("info", stdout=info(DockerRootDir="/proc"))  # a file system without free space


def broken_rc(b: Bench) -> None:
    (b.place / "home" / ".bashrc").write_text("if [ -r /x ]; then . /x; fi  # added by buildkit-tasks\n")


def stale_completion(b: Bench) -> None:
    file = b.place / "home/.local/share/bash-completion/completions/invoke"
    file.parent.mkdir(parents=True)
    file.write_text("# an older one\n")


def local_proxy(b: Bench) -> None:
    b.env.update(HTTPS_PROXY="http://127.0.0.1:3128", NO_PROXY="localhost")


def no_registry(b: Bench) -> None:
    b.reply("image inspect", stdout="", code=1)
    with socket.socket() as free:
        free.bind(("127.0.0.2", 0))
        b.env["BUILDKIT_TASKS_IMAGES_REGISTRY"] = f"127.0.0.2:{free.getsockname()[1]}"


def missing_ca(b: Bench) -> None:
    b.env["BUILDKIT_TASKS_BUILD_CA_BUNDLE"] = "/nonexistent/ca.pem"


def broken_ca(b: Bench) -> None:
    (b.root / "ca.pem").write_text("no certificate\n")
    b.env["BUILDKIT_TASKS_BUILD_CA_BUNDLE"] = str(b.root / "ca.pem")


def bad_compose(b: Bench) -> None:
    b.reply("config --format json", code=15, stderr="yaml: line 3: could not find expected ':'")


def no_dotenv(b: Bench) -> None:
    (b.root / ".env").unlink()


def bad_dotenv(b: Bench) -> None:
    (b.root / ".env").write_text("DB_PASSWORD=k3Jq-0f\nAPI_PORT='8080\n")


def short_dotenv(b: Bench) -> None:
    (b.root / ".env").write_text("DB_PASSWORD=k3Jq-0f\n")


def open_dotenv(b: Bench) -> None:
    (b.root / ".env").chmod(0o644)


def tracked_dotenv(b: Bench) -> None:
    process.ok(["git", "add", "--force", ".env"], b.root)


def placeholder(b: Bench) -> None:
    (b.root / ".env").write_text("DB_PASSWORD=changeme\nAPI_PORT=8080\n")


def missing_source(b: Bench) -> None:
    volume = {"type": "bind", "source": str(b.root / "nginx.conf"), "target": "/etc/nginx.conf"}
    b.reply("config --format json", stdout=config(b, volumes=[volume]))


def no_lock(b: Bench) -> None:
    (b.root / "Cargo.lock").unlink()


def ignored_lock(b: Bench) -> None:
    (b.root / ".gitignore").write_text("Cargo.lock\n.env\n")


def curl_check(b: Bench) -> None:
    test = ["CMD-SHELL", "curl -fsS http://localhost:8080/health || exit 1"]
    b.reply("config --format json", stdout=config(b, healthcheck={"test": test}))


def alpine_check(b: Bench) -> None:
    curl_check(b)
    (b.root / "docker/Dockerfile").write_text("FROM alpine:3\nRUN true\n")
    b.reply("image inspect", stdout='["alpine:3"] sha256:1\n["debian:bookworm-slim"] sha256:2\n')


def no_dockerfile(b: Bench) -> None:
    (b.root / "docker/Dockerfile").unlink()


def no_lock_of_a_crate(b: Bench) -> None:
    (b.root / "Cargo.lock").unlink()
    (b.root / "Cargo.toml").write_text('[package]\nname = "one"\nversion = "1.0.0"\n')


FAULTS: list[tuple[str, Callable[[Bench], None]]] = [
    ("docker", no_docker),
    ("docker", podman_as_docker),
    ("one-docker", second_docker),
    ("engine", silent_engine),
    ("engine-version", old_engine),
    ("buildx", plugins("compose")),
    ("compose", plugins("buildx")),
    ("buildkit-env", buildkit_off),
    ("buildkit-config", client_config),
    ("builder", other_builder),
    ("image-store", classic_store),
    ("gc", newest_engine),
    ("cache-size", over_budget),
    ("clock", skewed),
    ("memory", little_memory),
    ("disk", full_disk),
    ("shell", broken_rc),
    ("completion", stale_completion),
    ("proxy", local_proxy),
    ("registry", no_registry),
    ("ca", missing_ca),
    ("ca", broken_ca),
    ("compose-file", bad_compose),
    ("dotenv", no_dotenv),
    ("dotenv", bad_dotenv),
    ("dotenv-names", short_dotenv),
    ("dotenv-private", open_dotenv),
    ("dotenv-private", tracked_dotenv),
    ("dotenv-secrets", placeholder),
    ("bind-sources", missing_source),
    ("lock-file", no_lock),
    ("lock-file", ignored_lock),
    ("health-checks", curl_check),
    ("health-checks", alpine_check),
    ("compose-file", no_dockerfile),
    ("lock-file", no_lock_of_a_crate),
]


@pytest.mark.parametrize(("name", "fault"), FAULTS, ids=[f"{n}-{f.__name__}" for n, f in FAULTS])
def test_each_fault_fires_exactly_its_check(shop: Bench, name: str, fault: Callable[[Bench], None]) -> None:
    fault(shop)
    assert fired(shop) == [name]


def test_a_port_in_use_is_named_with_its_holder_and_variable(shop: Bench) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        ports = [{"published": str(port), "target": 8080, "host_ip": "127.0.0.1"}]
        shop.reply("config --format json", stdout=config(shop, ports=ports))
        raw = {"services": {"api": {"ports": ["${API_PORT:-8080}:8080"]}}}
        shop.reply("config --no-interpolate", stdout=json.dumps(raw))
        checks = [c for c in doctor.examine(flow.gather(session(shop)), doctor.RULES) if c.fires]
    assert [c.name for c in checks] == ["ports"]
    assert f"(pid {os.getpid()})" in checks[0].found
    assert "set API_PORT=" in checks[0].remedy
    shop.reply("ps --all", stdout=json.dumps({"Service": "api", "State": "running"}))
    assert fired(shop) == []


def test_a_dead_context_beside_a_living_engine(shop: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from buildkit_tasks.engine import facts as engine_facts

    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "s"))
        door.listen()
        monkeypatch.setattr(engine_facts, "DEFAULT_SOCKETS", (tmp_path / "s",))
        shop.reply("info", stdout=json.dumps({"ServerErrors": ["refused"], "ClientInfo": INFO["ClientInfo"]}), code=1)
        shop.reply("context inspect", stdout="unix:///nonexistent/colima.sock\n")
        assert fired(shop) == ["context"]


#: What the Dockerfile of the last stage proves about curl: installed, missing, or unknown.
CURL = {
    "FROM debian:bookworm-slim AS base\nRUN apt-get install -y curl\nFROM base\nCOPY x /x\n": "ok",
    "FROM debian:bookworm-slim AS base\nRUN <<EOF\napt-get install curl\nEOF\nFROM base AS x\nFROM x\n": "ok",
    "FROM debian:bookworm-slim AS f\nFROM scratch\nCOPY --from=f /usr/bin/curl /curl\n": "ok",
    "FROM debian:bookworm-slim AS f\nFROM scratch\nCOPY --from=f /usr/bin/ /usr/bin/\n": "unknown",
    "FROM company/base:7\nCOPY x /x\n": "unknown",
    "FROM python:3-slim\nCOPY x /x\n": "unknown",
    "FROM scratch\nCOPY x /x\n": "fail",
    "FROM debian:bookworm-slim AS base\nRUN apt-get install -y curl\nFROM debian:bookworm-slim\n": "fail",
}


@pytest.mark.parametrize(("text", "state"), CURL.items())
def test_a_program_is_missing_only_where_the_dockerfile_shows_it(shop: Bench, text: str, state: str) -> None:
    curl_check(shop)
    (shop.root / "docker/Dockerfile").write_text(text)
    checks = {c.name: c.state for c in doctor.examine(flow.gather(session(shop)), doctor.RULES)}
    assert checks["health-checks"] == state


def test_ports_of_an_engine_elsewhere_are_not_looked_for_here(shop: Bench) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        ports = [{"published": str(holder.getsockname()[1]), "target": 8080, "host_ip": "127.0.0.1"}]
        shop.reply("config --format json", stdout=config(shop, ports=ports))
        shop.reply("info", stdout=info(Name="another-machine"))
        checks = {c.name: c for c in doctor.examine(flow.gather(session(shop)), doctor.RULES)}
    assert checks["ports"].state == "unknown"
    assert "another machine" in checks["ports"].found


@pytest.fixture
def untrusted(tmp_path: Path) -> Iterator[int]:
    """Run a TLS server with an untrusted certificate; yield its port."""
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-keyout", "key.pem", "-out", "cert.pem", "-days", "1", "-subj", "/CN=x", "-addext"]
    process.ok([*made, "subjectAltName=IP:127.0.0.2"], tmp_path)
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with socket.create_server(("127.0.0.2", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                    with trust.wrap_socket(connection, server_side=True):
                        pass
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        threading.Thread(target=answer, daemon=True).start()
        yield server.getsockname()[1]


def test_a_registry_behind_an_unknown_ca(shop: Bench, untrusted: int) -> None:
    shop.reply("image inspect", stdout="", code=1)
    shop.env["BUILDKIT_TASKS_IMAGES_REGISTRY"] = f"127.0.0.2:{untrusted}"
    assert fired(shop) == ["ca"]


def test_json_is_one_document_and_a_failure_has_its_exit_code(shop: Bench) -> None:
    no_dotenv(shop)
    done = shop.invoke("doctor", "--json")
    content = json.loads(done.out)
    assert content["schema"] == 1
    states = {c["name"]: c["state"] for c in content["checks"]}
    assert states["dotenv"] == "fail"
    assert set(content["checks"][0]) == {"name", "state", "found", "wanted", "why", "remedy", "fix"}
    assert done.code == 37


def test_fix_applies_the_safe_remedies_with_consent(shop: Bench) -> None:
    open_dotenv(shop)
    short_dotenv(shop)
    refused = shop.invoke("doctor", "--fix")
    assert refused.code == 18
    assert (shop.root / ".env").stat().st_mode & 0o777 == 0o644
    done = shop.invoke("doctor", "--fix", "--yes")
    assert done.code == 0, done.all
    assert (shop.root / ".env").read_text() == "DB_PASSWORD=k3Jq-0f\nAPI_PORT=8080\n"
    assert (shop.root / ".env").stat().st_mode & 0o777 == 0o600
    assert "0 warnings, 0 failures" in done.out


def test_secrets_of_dotenv_are_never_shown(shop: Bench) -> None:
    bad_dotenv(shop)
    assert "k3Jq-0f" not in shop.invoke("doctor").all
    placeholder(shop)
    assert "changeme" not in shop.invoke("doctor").all


@pytest.mark.parametrize(
    ("kind", "protocol"), [(socket.SOCK_STREAM, "tcp"), (socket.SOCK_DGRAM, "udp")], ids=["tcp", "udp"]
)
def test_the_program_that_uses_a_port_is_named(shop: Bench, kind: socket.SocketKind, protocol: str) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if protocol == "tcp":
            taken.listen()
        number = taken.getsockname()[1]
        port = {"host_ip": "127.0.0.1", "published": str(number), "target": 53, "protocol": protocol}
        shop.reply("config --format json", stdout=config(shop, ports=[port]))
        (use,) = flow.gather(session(shop)).ports_taken
    assert (use.service, use.port) == ("api", number)
    assert use.holder.endswith(f"(pid {os.getpid()})")
    assert f"publish={number}/{protocol}" in json.dumps(shop.calls)
