"""`invoke builder` and builds on other builders from the user's perspective, with a recording docker."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from buildkit_tasks.builders import handshake as builder_handshake
from buildkit_tasks.builders.create import PEM
from tests.cli.conftest import Bench
from tests.support.buildkit_nodes import Certificate, certificates

NODES = {"farm0": ("tcp://10.0.0.1:1234", "linux/amd64"), "farm1": ("tcp://10.0.0.2:1234", "linux/arm64*, linux/amd64")}


def inspected(name: str, *running: str, nodes: tuple[str, ...] = ("farm0", "farm1")) -> str:
    """Return `docker buildx inspect` of a remote builder with these running nodes."""
    parts = []
    for node in nodes:
        endpoint, platforms = NODES[node]
        facts = f"Name:      {node}\nEndpoint:  {endpoint}\n"
        facts += f"Status:    running\nPlatforms: {platforms}\n" if node in running else "Status:    inactive\n"
        parts.append(facts)
    return f"Name:   {name}\nDriver: remote\n\nNodes:\n" + "\n".join(parts)


@pytest.fixture
def farm(bench: Bench) -> Bench:
    """A builder `farm` with two nodes, which can be selected individually."""
    known = bench.place / "home/.docker/buildx/instances"
    known.mkdir(parents=True)
    for name in ("farm", "farm.farm0", "farm.farm1"):
        (known / name).write_text("{}")
    bench.reply("buildx inspect farm", stdout=inspected("farm", "farm0", "farm1"))
    for node in NODES:
        bench.reply(f"buildx inspect farm.{node}", stdout=inspected(f"farm.{node}", node, nodes=(node,)))
    return bench


def definition(bench: Bench) -> dict[str, object]:
    """Return the only target of the last bake."""
    last = [c for c in bench.calls if "bake" in c["argv"]][-1]
    return dict(json.loads(last["stdin"])["target"]["api"])


def test_a_build_on_another_builder_names_its_platform_and_hands_the_image_over(farm: Bench) -> None:
    done = farm.invoke("build", "--service", "api", "--builder", "farm")
    assert done.code == 0, done.all
    target = definition(farm)
    assert (target["platforms"], target["output"]) == (["linux/amd64"], ["type=docker"])
    assert farm.call("bake")["env"]["BUILDX_BUILDER"] == "farm"
    assert "linux/amd64  native: the engine's own platform; built on farm0 (tcp://10.0.0.1:1234)" in done.err
    assert "CARGO_INCREMENTAL" in target["args"]  # type: ignore[operator]


def test_a_lost_node_is_gone_round_before_a_build(farm: Bench) -> None:
    only = inspected("farm", "farm1").replace("linux/arm64*, linux/amd64", "linux/arm64*")
    farm.reply("buildx inspect farm", stdout=only)
    farm.reply("buildx inspect farm.farm1", stdout=inspected("farm.farm1", "farm1", nodes=("farm1",)))
    refused = 'desc = "transport: Error while dialing: dial tcp 10.0.0.1:1234: connect: connection refused"'
    farm.reply("buildx du", code=1, stderr=f"ERROR: failed to call diskusage: Unavailable: connection error: {refused}")
    done = farm.invoke("build", "--service", "api", "--builder", "farm")
    assert done.code == 0, done.all
    assert "warning: builder farm: farm0 (tcp://10.0.0.1:1234) is down; building on the node farm1" in done.err
    assert farm.call("bake")["env"]["BUILDX_BUILDER"] == "farm.farm1"


def test_a_silent_node_that_is_not_needed_would_end_the_build_all_the_same(farm: Bench) -> None:
    farm.reply("buildx inspect farm", stdout=inspected("farm", "farm0"))
    farm.reply("buildx du", code=1, stderr='desc = "transport: Error while dialing: dial tcp: connection refused"')
    done = farm.invoke("build", "--service", "api", "--builder", "farm")
    assert done.code == 0, done.all
    assert "warning: builder farm: farm1 (tcp://10.0.0.2:1234) is down; building on the node farm0" in done.err
    assert farm.call("bake")["env"]["BUILDX_BUILDER"] == "farm.farm0"


def test_a_node_lost_in_the_middle_is_gone_round_once(farm: Bench) -> None:
    """The first bake fails, and then no node responds: the build continues on this machine's engine."""
    farm.reply(
        "buildx inspect default", stdout="Name:   default\nDriver: docker\n\nNodes:\nName: default\nStatus: running\n"
    )
    farm.reply("buildx bake", code=1, stderr="ERROR: error reading from server: EOF\n", once=True)
    for name in ("farm.farm0", "farm.farm1", "farm"):
        farm.reply(f"buildx inspect {name}", stdout=inspected(name), after="bake")
    farm.reply("buildx du", code=1, stderr="connection refused", after="bake")
    done = farm.invoke("build", "--service", "api", "--builder", "farm")
    assert done.code == 0, done.all
    assert "farm1 (tcp://10.0.0.2:1234) are down; building on this machine's engine" in done.err
    assert [c["env"]["BUILDX_BUILDER"] for c in farm.calls if "bake" in c["argv"]] == ["farm", "default"]


def test_a_code_that_does_not_compile_is_no_lost_node(farm: Bench) -> None:
    failed = {"digest": "sha256:x", "name": "RUN", "started": "2026-01-01T00:00:00Z", "error": "exit code: 101"}
    farm.reply("buildx bake", code=1, stderr=json.dumps({"vertexes": [failed]}))
    done = farm.invoke("build", "--service", "api", "--builder", "farm")
    assert done.code == 21, done.all
    assert len([c for c in farm.calls if "bake" in c["argv"]]) == 1


def test_a_node_that_turns_us_away_is_a_problem_and_nothing_is_built(farm: Bench) -> None:
    farm.reply("buildx inspect farm", stdout=inspected("farm", "farm1"))
    said = 'desc = "error reading server preface: remote error: tls: certificate required"'
    farm.reply("buildx du", code=1, stderr=f"ERROR: failed to call diskusage: Unavailable: connection error: {said}")
    done = farm.invoke("build", "--builder", "farm")
    assert done.code == 50, done.all
    assert "error[builder-refused]: The node farm0 (tcp://10.0.0.1:1234) denied access." in done.err
    assert "because: error reading server preface: remote error: tls: certificate required" in done.err
    assert not [c for c in farm.calls if "bake" in c["argv"]]


@contextmanager
def doorkeeper(server: Certificate) -> Iterator[int]:
    """Run a TLS server that accepts its authority's certificates and sends nothing; yield its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.cert, server.key)
    context.load_verify_locations(server.ca)
    context.verify_mode = ssl.CERT_REQUIRED

    def serve(door: socket.socket) -> None:
        while True:
            try:
                line, _ = door.accept()
            except OSError:
                return
            with line, suppress(OSError), context.wrap_socket(line, server_side=True) as one:
                one.send(b"!")

    with socket.create_server(("127.0.0.1", 0)) as door:
        keeper = threading.Thread(target=serve, args=(door,))
        keeper.start()
        try:
            yield int(door.getsockname()[1])
        finally:
            door.shutdown(socket.SHUT_RDWR)
            keeper.join()


@pytest.mark.parametrize(
    ("ca", "client", "code", "words"),
    [
        ("own", "other", 50, "because: remote error: tls: unknown ca"),
        ("other", "other", 50, "because: tls: failed to verify certificate: x509: "),
        ("own", "own", 0, "building on the node farm1"),
    ],
)
def test_a_refusal_that_buildx_did_not_read_is_asked_for_in_person(
    farm: Bench, tmp_path: Path, ca: str, client: str, code: int, words: str
) -> None:
    """buildx writes as soon as its half of the handshake is done, and may see a broken pipe instead of the reason."""
    places = {name: certificates(tmp_path / name) for name in ("own", "other")}
    shown = places[client][1]
    with doorkeeper(places["own"][0]) as port:
        options = {"cacert": str(places[ca][1].ca), "cert": str(shown.cert), "key": str(shown.key)}
        node = {"Name": "farm0", "Endpoint": f"tcp://127.0.0.1:{port}", "DriverOpts": options}
        known = farm.place / "home/.docker/buildx/instances/farm.farm0"
        known.write_text(json.dumps({"Name": "farm.farm0", "Driver": "remote", "Nodes": [node]}))
        only = inspected("farm", "farm1").replace("linux/arm64*, ", "")
        farm.reply("buildx inspect farm", stdout=only)
        farm.reply("buildx inspect farm.farm1", stdout=inspected("farm.farm1", "farm1", nodes=("farm1",)))
        said = f'desc = "transport: failed to write client preface: write tcp 127.0.0.1:{port}: write: broken pipe"'
        farm.reply("buildx du", code=1, stderr=f"ERROR: Unavailable: connection error: {said}")
        done = farm.invoke("build", "--service", "api", "--builder", "farm")
    assert done.code == code, done.all
    assert words in done.err


@pytest.mark.parametrize(
    "kept",
    [
        *("", "null", "[]", "{}", '{"Nodes": [{}]}', '{"Nodes": [{"Name": "farm0"}]}'),
        json.dumps({"Nodes": [{"Name": "farm0", "Endpoint": "tcp://[::1", "DriverOpts": {}}]}),
        json.dumps({"Nodes": [{"Name": "farm0", "Endpoint": "tcp://127.0.0.1:99999", "DriverOpts": {}}]}),
        json.dumps({"Nodes": [{"Name": "farm0", "Endpoint": "ssh://127.0.0.1:22", "DriverOpts": {}}]}),
        json.dumps(
            {"Nodes": [{"Name": "farm0", "Endpoint": "tcp://127.0.0.1:1", "DriverOpts": dict.fromkeys(PEM, "/-")}]}
        ),
    ],
)
def test_what_buildx_kept_may_be_anything(tmp_path: Path, kept: str) -> None:
    (tmp_path / "farm").write_text(kept)
    assert builder_handshake.reason(tmp_path / "farm", "farm0", 1) == ""


def test_a_builder_that_is_not_there(bench: Bench) -> None:
    bench.reply("buildx inspect", code=1, stderr='ERROR: no builder "nosuch" found\n')
    bench.env["BUILDKIT_TASKS_BUILDERS_NAME"] = "nosuch"
    done = bench.invoke("build")
    assert done.code == 49, done.all
    assert "The builder 'nosuch' does not exist." in done.err


def test_archives_of_platforms_on_two_nodes_are_refused_before_the_build(farm: Bench, tmp_path: Path) -> None:
    done = farm.invoke(
        "build", "--builder", "farm", "--platform", "amd64,arm64", "--allow-emulation", "--oci", str(tmp_path)
    )
    assert done.code == 46, done.all
    assert "farm0, farm1" in done.err


def test_platforms_of_several_builders_are_joined_in_the_registry(farm: Bench) -> None:
    farm.env["BUILDKIT_TASKS_BUILDERS_PLATFORMS"] = "arm64=farm.farm1"
    farm.reply(
        "buildx inspect default", stdout="Name:   default\nDriver: docker\n\nNodes:\nName: default\nStatus: running\n"
    )
    farm.reply("imagetools create", stdout="")
    words = ("build", "--service", "api", "--platform", "amd64,arm64", "--allow-emulation")
    refused = farm.invoke(*words)
    assert (refused.code, "only a registry can join their images" in refused.err) == (46, True)
    done = farm.invoke(*words, "--push", "reg.example/team")
    assert done.code == 0, done.all
    bakes = [c for c in farm.calls if "bake" in c["argv"]]
    assert [json.loads(c["stdin"])["target"]["api"]["platforms"] for c in bakes] == [["linux/amd64"], ["linux/arm64"]]
    assert definition(farm)["output"] == ["type=image,name=reg.example/team/api,push=true,push-by-digest=true"]
    joined = farm.call("imagetools")["argv"]
    assert joined[3:] == ["--tag", "reg.example/team/api:dev", *["reg.example/team/api@sha256:api"] * 2]


def test_the_caches_of_a_farm_are_told_node_by_node(farm: Bench) -> None:
    record = '{"ID":"r1","Description":"cached mount /x from exec sh with id \\"/shop-target-amd64\\"","Size":"3MB",'
    record += '"LastUsedAt":"2 days ago","Reclaimable":true,"Shared":false,"UsageCount":1,"Parents":null}'
    farm.reply("buildx du --builder farm.farm0", stdout=record)
    farm.reply("buildx du --builder farm.farm1", stdout="")
    answer = json.loads(farm.invoke("cache", "--builder", "farm", "--json").out)
    assert [(n["node"], [m["id"] for m in n["mounts"]]) for n in answer["nodes"]] == [
        ("farm0", ["shop-target-amd64"]),
        ("farm1", []),
    ]


def test_a_plan_prints_the_commands_and_runs_none(bench: Bench) -> None:
    tls = bench.root / "tls"
    tls.mkdir()
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tls / name).touch()
    done = bench.invoke(
        *(
            "builder.create",
            "farm",
            "--endpoint",
            "tcp://10.0.0.1:1234",
            "--certificates",
            "tls",
            "--platform",
            "arm64",
        ),
        *("--plan", "--json"),
    )
    made, single = json.loads(done.out)["plan"]["commands"]
    options = [
        f"{name}={tls / file}" for name, file in (("cacert", "ca.pem"), ("cert", "cert.pem"), ("key", "key.pem"))
    ]
    assert made == [
        *("docker", "buildx", "create", "--name", "farm", "--node", "farm0", "--driver", "remote"),
        *("--platform", "linux/arm64"),
        *(part for option in options for part in ("--driver-opt", option)),
        "tcp://10.0.0.1:1234",
    ]
    assert single[3:7] == ["--name", "farm.farm0", "--node", "farm0"]
    assert bench.calls == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--driver", "remote"], "A remote node needs an endpoint."),
        (["--driver", "cloud"], "Unknown driver 'cloud'."),
        (["--certificates", "nowhere", "--endpoint", "tcp://h:1"], "does not contain ca.pem, cert.pem, key.pem"),
        (["--opt", "nothing"], "is not NAME=VALUE"),
        (["--node", "a b"], "is not a valid builder name"),
        (["--config", "nowhere.toml"], "The file nowhere.toml does not exist"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_made(bench: Bench, words: list[str], says: str) -> None:
    done = bench.invoke("builder.create", "farm", *words)
    assert done.code == 33, done.all
    assert says in done.err
    assert bench.calls == []


def test_a_node_that_does_not_answer_leaves_everything_as_it_was(bench: Bench) -> None:
    bench.reply("buildx ls", stdout="")
    bench.reply("buildx create", stdout="farm\n")
    bench.reply("buildx rm", stdout="")
    bench.reply("buildx inspect", stdout=inspected("farm.farm0", nodes=("farm0",)))
    bench.reply("buildx du", code=1, stderr='desc = "transport: Error while dialing: dial tcp: connection refused"')
    done = bench.invoke("builder.create", "farm", "--endpoint", "tcp://10.0.0.1:1234")
    assert done.code == 51, done.all
    removed = [c["argv"][-1] for c in bench.calls if "rm" in c["argv"]]
    assert removed == ["farm.farm0", "farm"]


def test_certificates_are_kept_from_others_and_never_overwritten(bench: Bench) -> None:
    first = bench.invoke("builder.certificates", "--host", "10.0.0.1", "--json")
    assert first.code == 0, first.all
    place = bench.root / "builder-certificates"
    key = place / "10.0.0.1/key.pem"
    assert [p.stat().st_mode & 0o777 for p in (key, place / "authority/key.pem", place)] == [0o600, 0o600, 0o755] or (
        key.stat().st_mode & 0o077 == 0
    )
    before = key.read_bytes()
    second = bench.invoke("builder.certificates", "--host", "10.0.0.1", "--host", "10.0.0.2")
    assert second.code == 0, second.all
    assert key.read_bytes() == before
    assert (place / "10.0.0.2/ca.pem").read_bytes() == (place / "authority/ca.pem").read_bytes()
    assert "PRIVATE" not in first.all + second.all


@pytest.mark.parametrize("host", ["../../x", "authority", "Client", "a/b", "a b", "", "-a", "x" * 300, "a..b", "*"])
def test_a_certificate_is_only_made_for_a_host_and_inside_its_directory(bench: Bench, host: str) -> None:
    done = bench.invoke("builder.certificates", "--host", host, "--out", "farm/pki")
    assert done.code == 33, done.all
    assert "is not a valid host name or address" in done.err
    assert not (bench.root / "farm").exists()


def test_a_certificate_that_exists_stays_and_its_expiry_is_printed(bench: Bench) -> None:
    words = (
        "builder.certificates",
        "--host",
        "10.0.0.7",
        "--host",
        "fd00::7",
        "--host",
        "node.example",
        "--out",
        "pki",
    )
    assert bench.invoke(*words).code == 0
    before = {p: p.read_bytes() for p in (bench.root / "pki").rglob("*.pem")}
    assert {p.parent.name for p in before} == {"authority", "client", "10.0.0.7", "fd00__7", "node.example"}
    done = bench.invoke(*words)
    assert done.code == 0
    assert "client already exists; its certificate is valid until 20" in done.err
    assert {p: p.read_bytes() for p in (bench.root / "pki").rglob("*.pem")} == before
