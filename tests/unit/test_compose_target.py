"""How each key of the compose specification's `build:` is translated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buildkit_tasks.builds import compose_target
from buildkit_tasks.config.settings import Settings
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Workspace
from buildkit_tasks.project import compose

#: Keys of `build:` in the specification's schema (compose-spec/compose-go, schema/compose-spec.json, July 2026).
SPECIFICATION = [
    "additional_contexts",
    "args",
    "cache_from",
    "cache_to",
    "context",
    "dockerfile",
    "dockerfile_inline",
    "entitlements",
    "extra_hosts",
    "isolation",
    "labels",
    "network",
    "no_cache",
    "no_cache_filter",
    "platforms",
    "privileged",
    "provenance",
    "pull",
    "sbom",
    "secrets",
    "shm_size",
    "ssh",
    "tags",
    "target",
    "ulimits",
]


def workspace(build: dict[str, Any] | str, **service: Any) -> Workspace:
    """Return a project `shop` with a service `a.b` that has this section."""
    config = {
        "name": "shop",
        "services": {
            "a.b": {"build": build, **service},
            "other": {"build": {"context": "/o"}},
            "ready": {"image": "x"},
        },
        "secrets": {"file": {"file": "/s/a,b"}, "env": {"environment": "TOKEN"}, "far": {"external": True}},
    }
    return compose.from_compose(config, Settings(root=Path("/p")), ())


def made(build: dict[str, Any], **service: Any) -> dict[str, Any]:
    found = workspace({"context": "/p", **build}, **service)
    return compose_target.make(found.services[0], found, "2.40.3")


def test_every_key_of_the_specification_has_its_place() -> None:
    assert sorted(compose_target.KEYS) == sorted(SPECIFICATION)


OWN = {
    "com.docker.compose.project": "shop",
    "com.docker.compose.service": "a.b",
    "com.docker.compose.version": "2.40.3",
}


@pytest.mark.parametrize(
    ("key", "value", "target"),
    [
        (
            "additional_contexts",
            {"x": "/d", "y": "docker-image://z"},
            {"contexts": {"x": "/d", "y": "docker-image://z"}},
        ),
        ("additional_contexts", {"x": "service:other"}, {"contexts": {"x": "target:other"}}),
        ("args", {"A": "1", "B": None, "C": ""}, {"args": {"A": "1", "C": ""}}),
        ("cache_from", ["a", "type=local,src=/c"], {"cache-from": ["a", "type=local,src=/c"]}),
        ("cache_to", ["type=inline"], {"cache-to": ["type=inline"]}),
        ("context", "/elsewhere", {}),
        ("dockerfile", "D", {}),
        ("dockerfile_inline", "FROM scratch", {}),
        ("entitlements", ["network.host"], {"entitlements": ["network.host"]}),
        ("extra_hosts", ["a=1.1.1.1", "b=::1", "a=2.2.2.2"], {"extra-hosts": {"a": "1.1.1.1,2.2.2.2", "b": "::1"}}),
        ("extra_hosts", {"a": "1.1.1.1"}, {"extra-hosts": {"a": "1.1.1.1"}}),
        ("isolation", "default", {}),
        ("labels", {"l": "${v}"}, {"labels": {"l": "${v}", **OWN}}),
        ("network", "none", {"network": "none"}),
        ("no_cache", True, {"no-cache": True}),
        ("no_cache_filter", ["a"], {"no-cache-filter": ["a"]}),
        ("platforms", ["linux/arm64"], {"platforms": ["linux/arm64"]}),
        ("privileged", True, {"entitlements": ["security.insecure"]}),
        ("provenance", "mode=max", {"attest": ["type=provenance,mode=max"]}),
        ("provenance", "false", {}),
        ("pull", True, {"pull": True}),
        ("sbom", "true", {"attest": ["type=sbom"]}),
        ("secrets", [{"source": "file"}], {"secret": ['id=file,type=file,"src=/s/a,b"']}),
        ("secrets", [{"source": "env", "target": "t"}], {"secret": ["id=t,type=env,env=TOKEN"]}),
        ("shm_size", "1024", {"shm-size": "1024"}),
        ("ssh", ["default", "k: /key", "m=/n"], {"ssh": ["default", "k=/key", "m=/n"]}),
        ("tags", ["shop-a.b", "t:1"], {"tags": ["shop-a.b", "t:1"]}),
        ("target", "t", {"target": "t"}),
        ("ulimits", {"nproc": 7, "nofile": {"soft": 1, "hard": 2}}, {"ulimits": ["nproc=7", "nofile=1:2"]}),
        ("ulimits", {"a": {}, "b": {"hard": -1}, "c": {"soft": 1}}, {"ulimits": ["a=0:0", "b=0:-1", "c=1:0"]}),
        ("x-mine", {"any": "thing"}, {}),
        ("new_key", None, {}),
    ],
)
def test_a_key_is_carried(key: str, value: Any, target: dict[str, Any]) -> None:
    assert made({key: value}) == {"args": {}, "labels": OWN, "tags": ["shop-a.b"], **target}


@pytest.mark.parametrize(
    ("build", "names"),
    [
        ({"new_key": "value"}, "new_key"),
        ({"isolation": "hyperv"}, "isolation"),
        ({"secrets": [{"source": "far"}]}, "secrets"),
        ({"additional_contexts": {"x": "service:ready"}}, "additional_contexts"),
        ({"x-bake": {"new-key": "value"}}, "x-bake.new-key"),
        ({"x-bake": {"pull": "maybe"}}, "x-bake.pull"),
    ],
)
def test_what_nobody_passes_on_is_refused_with_service_and_key(build: dict[str, Any], names: str) -> None:
    with pytest.raises(Problem) as caught:
        made(build)
    assert caught.value.code == "compose-key-unsupported"
    assert caught.value.message == f"`build.{names}` of the service 'a.b' is not supported."


def test_x_bake_adds_to_lists_and_wins_with_flags() -> None:
    more = {"tags": "b c", "platforms": ["linux/arm64"], "pull": False, "no-cache": True, "contexts": {"y": "/y"}}
    found = made(
        {"tags": ["a"], "pull": True, "additional_contexts": {"x": "/x"}, "x-bake": {**more, "output": ["type=oci"]}}
    )
    assert found["tags"] == ["shop-a.b", "a", "b", "c"]
    assert found["platforms"] == ["linux/arm64"]
    assert found["contexts"] == {"x": "/x", "y": "/y"}
    assert found["output"] == ["type=oci"]
    assert found["no-cache"] is True
    assert "pull" not in found


@pytest.mark.parametrize(
    ("build", "service", "platforms"),
    [
        ({}, {}, ()),
        ({}, {"platform": "linux/arm64"}, ("linux/arm64",)),
        ({"platforms": ["linux/amd64", "linux/arm64"]}, {"platform": "linux/arm64"}, ("linux/amd64", "linux/arm64")),
    ],
)
def test_platforms_are_those_of_the_section_else_that_of_the_service(
    build: dict[str, Any], service: dict[str, Any], platforms: tuple[str, ...]
) -> None:
    assert workspace({"context": "/p", **build}, **service).services[0].platforms == platforms


@pytest.mark.parametrize(
    ("build", "context", "dockerfile", "remote"),
    [
        ({"context": "/p"}, "/p", "/p/Dockerfile", ""),
        ({"context": "/p/a", "dockerfile": "../d/D"}, "/p/a", "/p/d/D", ""),
        ({"context": "/p/a", "dockerfile": "/q/D"}, "/p/a", "/q/D", ""),
        ({"context": "https://h/r.git#main:sub", "dockerfile": "D"}, "/nonexistent", "D", "https://h/r.git#main:sub"),
        ({"context": "git@h:r.git"}, "/nonexistent", "Dockerfile", "git@h:r.git"),
    ],
)
def test_where_context_and_dockerfile_are(build: dict[str, Any], context: str, dockerfile: str, remote: str) -> None:
    service = workspace(build).services[0]
    assert (str(service.context), str(service.dockerfile), service.remote) == (context, dockerfile, remote)


def test_names_with_dots_are_targets_of_their_own() -> None:
    config = {"name": "x", "services": {name: {"build": {"context": "/p"}} for name in ("a.b", "a_b", "a-b")}}
    found = compose.from_compose(config, Settings(root=Path("/p")), ())
    assert {s.name: s.key for s in found.services} == {"a.b": "a_b", "a_b": "a_b_", "a-b": "a-b"}


def test_caches_of_a_project_without_a_name_belong_to_its_folder() -> None:
    config = {"name": "app", "services": {"a": {"build": {"context": "/p"}}}}
    one = compose.from_compose(config, Settings(root=Path("/one/app")), (), explicit=False).scope
    two = compose.from_compose(config, Settings(root=Path("/two/app")), (), explicit=False).scope
    assert one != two
    assert one.startswith("app-")
    assert compose.from_compose(config, Settings(root=Path("/one/app")), (), explicit=True).scope == "app"


@pytest.mark.parametrize(
    ("default", "platforms", "fine"),
    [
        ("", ["linux/arm64"], True),
        ("linux/arm64", [], True),
        ("linux/arm64", ["linux/amd64", "linux/arm64/v8"], True),
        ("linux/arm64", ["linux/amd64"], False),
        ("own/thing", ["own/thing"], True),
    ],
)
def test_a_default_platform_must_be_among_those_of_a_service(default: str, platforms: list[str], fine: bool) -> None:
    services = workspace({"context": "/p", "platforms": platforms}).services
    if fine:
        compose_target.check_platforms(services, default)
    else:
        with pytest.raises(Problem) as caught:
            compose_target.check_platforms(services, default)
        assert caught.value.code == "platform-unsupported"
        assert "the service 'a.b' is not built for it" in caught.value.message
