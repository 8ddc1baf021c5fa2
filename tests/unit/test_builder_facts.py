"""Builders: what buildx reports about them, which node builds a platform, and what a cluster gets."""

from __future__ import annotations

import json

import pytest

from buildkit_tasks.builders import facts as builder_facts
from buildkit_tasks.builders import kubernetes
from buildkit_tasks.builders.facts import Builder, Node
from buildkit_tasks.core.errors import Problem

INSPECT = """\
Name:          farm
Driver:        remote
Last Activity: 2026-01-01 00:00:00 +0000 UTC

Nodes:
Name:             farm0
Endpoint:         tcp://10.0.0.1:1234
Driver Options:   cert="/tls/cert.pem" key="/tls/key.pem" cacert="/tls/ca.pem"
Status:           running
BuildKit version: v0.26.3
Platforms:        linux/amd64, linux/amd64/v2, linux/386
Labels:
 org.mobyproject.buildkit.worker.executor: oci
GC Policy rule#0:
 All:           false
 Keep Duration: 48h0m0s

Name:             farm1
Endpoint:         tcp://10.0.0.2:1234
Status:           running
BuildKit version: v0.26.3
Platforms:        linux/arm64*, linux/amd64, linux/386

Name:     farm2
Endpoint: tcp://10.0.0.3:1234
Status:   inactive
"""

#: buildx's messages when asked for the records of a node.
REFUSALS = (
    'connection error: desc = "error reading server preface: remote error: tls: certificate required"',
    "tls: failed to verify certificate: x509: certificate signed by unknown authority",
    "x509: certificate is valid for localhost, not elsewhere.example",
    'desc = "error reading server preface: EOF"',
    "error loading tls config: could not read certificate/key: open /nope.pem: no such file or directory",
)
LOSSES = (
    "dial tcp 127.0.0.1:5599: connect: connection refused",
    "rpc error: code = Unavailable desc = error reading from server: EOF",
    "ERROR: context deadline exceeded",
    "lookup no-such-host.invalid on 127.0.0.11:53: no such host",
)


def test_inspect_is_read_node_by_node() -> None:
    found = builder_facts.read_inspect(INSPECT)
    assert (found.name, found.driver, found.own) == ("farm", "remote", False)
    first, second, third = found.nodes
    assert (first.name, first.endpoint, first.buildkit, first.running) == (
        "farm0",
        "tcp://10.0.0.1:1234",
        "v0.26.3",
        True,
    )
    assert first.platforms == ("linux/amd64", "linux/amd64/v2", "linux/386")
    # the star marks platforms that a user set; the node reports those it runs natively
    assert (second.fixed, second.platforms[0]) == (("linux/arm64",), "linux/amd64")
    assert not third.running


def test_a_platform_goes_to_the_first_node_that_has_it_else_to_the_first() -> None:
    found = builder_facts.read_inspect(INSPECT)
    wanted = {"linux/amd64": "farm0", "linux/arm64": "farm1", "linux/riscv64": "farm0", "": "farm0"}
    assert {p: node.name for p, node in builder_facts.assigned(found, list(wanted)).items()} == wanted
    assert builder_facts.without(found, ["farm0"]).node_for("linux/amd64") == found.nodes[1]
    assert Builder("none", "remote").node_for("linux/amd64") is None


def test_a_list_names_each_builder_once() -> None:
    nodes = [
        {
            "Name": "a0",
            "Endpoint": "tcp://a:1",
            "Status": "running",
            "Version": "v0.26.3",
            "Platforms": ["linux/amd64"],
        },
        {"Name": "a1", "Endpoint": "tcp://b:1"},
        {"Name": "a2", "Endpoint": "e", "Platforms": [{"os": "linux", "architecture": "arm", "variant": "v7"}]},
    ]
    line = json.dumps({"Name": "a", "Driver": "remote", "Nodes": nodes})
    found = builder_facts.read_list(f"{line}\n{line}\nnoise\n{json.dumps({'Name': 'default', 'Driver': 'docker'})}\n")
    assert [b.name for b in found] == ["a", "default"]
    assert [n.status for n in found[0].nodes] == ["running", "inactive", "inactive"]
    assert found[0].nodes[2].platforms == ("linux/arm/v7",)
    assert found[1].own


@pytest.mark.parametrize("said", REFUSALS)
def test_a_node_that_turns_us_away_is_told_from_one_that_is_lost(said: str) -> None:
    assert builder_facts.refused(said)


@pytest.mark.parametrize("said", LOSSES)
def test_a_lost_node_is_no_refusal(said: str) -> None:
    assert builder_facts.lost(said)
    assert not builder_facts.refused(said)
    assert not builder_facts.lost(
        "error[E0308]: mismatched types; process did not complete successfully: exit code: 101"
    )


def test_what_a_node_answers_instead_of_facts_is_no_running_node() -> None:
    assert not Node("n", "e", "running", error="no answer").running


def test_a_clusters_manifest_says_what_the_options_ask_for() -> None:
    given = ["namespace=ci", "replicas=3", "requests.cpu=2", "limits.memory=4Gi", "nodeselector=arch=arm64,disk=ssd"]
    made = kubernetes.deployment("farm0", [*given, "tolerations=key=a,value=b;key=c", "qemu.install=true"])
    pod = made["spec"]["template"]["spec"]
    assert (made["metadata"]["namespace"], made["spec"]["replicas"]) == ("ci", 3)
    assert pod["containers"][0]["resources"] == {"requests": {"cpu": "2"}, "limits": {"memory": "4Gi"}}
    assert pod["nodeSelector"] == {"arch": "arm64", "disk": "ssd"}
    assert pod["tolerations"] == [{"key": "a", "value": "b"}, {"key": "c"}]
    assert pod["initContainers"][0]["args"] == ["--install", "all"]
    rootless = kubernetes.deployment("farm0", ["rootless=true"])["spec"]["template"]["spec"]["containers"][0]
    assert rootless["image"].endswith("-rootless")
    assert "privileged" not in rootless["securityContext"]


@pytest.mark.parametrize("option", ["cpus=3", "replicas", "=x"])
def test_options_that_the_driver_would_not_take_are_refused_before(option: str) -> None:
    with pytest.raises(Problem) as caught:
        kubernetes.deployment("farm0", [option])
    assert caught.value.code == "bad-argument"
