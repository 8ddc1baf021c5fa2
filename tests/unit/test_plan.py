"""The plan of a build: compile groups, and what is added to the compose file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from buildkit_tasks.builders.facts import OWN, Builder
from buildkit_tasks.builds import plan, plan_words, targets
from buildkit_tasks.builds.plan import Surroundings
from buildkit_tasks.config.settings import Settings
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildPlan, BuildRequest, Engine, Workspace
from buildkit_tasks.dockerfiles.document import Dockerfile
from buildkit_tasks.project import compose

ENGINE = Engine("id", (26, 1, 5), (0, 13, 1), (2, 26, 1), "linux", "amd64", containerd_store=True)

RUST = """\
FROM docker.io/library/rust:1 AS compile
ARG CACHE_SCOPE
ARG PROGRAMS
ARG BINS
ARG FEATURES
ARG PROFILE=release
ARG CARGO_INCREMENTAL
ARG REBUILD
RUN --mount=type=cache,id=${CACHE_SCOPE}-target,target=/t --mount=type=secret,id=ca cargo build
FROM debian:bookworm-slim
ARG BIN
ARG VERSION
COPY --from=compile /out/${BIN} /usr/local/bin/service
"""
NODE = "FROM node:22\nARG PROFILE=dev\nRUN npm ci\n"
CACHED = "FROM node:22\nRUN --mount=type=cache,target=/root/.npm npm ci\n"

SERVICES: dict[str, dict[str, Any]] = {
    "api": {"build": {"context": "/p", "args": {"BIN": "api-server", "VERSION": "1"}}},
    "worker": {"build": {"context": "/p", "args": {"VERSION": "2"}}},
    "extra": {"build": {"context": "/p", "args": {"FEATURES": "gpu"}}},
    "far": {"build": {"context": "https://example.com/r.git"}},
    "other": {"build": {"context": "/q"}},
    "web": {"build": {"context": "/w"}},
    "cached": {"build": {"context": "/c"}},
}
TEXTS = {"api": RUST, "worker": RUST, "extra": RUST, "other": RUST, "web": NODE, "cached": CACHED}


def of_settings(given: dict[str, Any]) -> Settings:
    plain = Settings(root=Path("/p"))
    return replace(plain, build=replace(plain.build, **given))


def make(
    request: BuildRequest | None = None,
    services: dict[str, dict[str, Any]] | None = None,
    settings: dict[str, Any] | None = None,
    **around: Any,
) -> BuildPlan:
    config = {"name": "shop", "services": services or SERVICES}
    chosen = of_settings(settings or {})
    workspace = compose.from_compose(config, chosen, ())
    files = {name: Dockerfile.read(text) for name, text in TEXTS.items() if name in config["services"]}
    return plan_of(workspace, chosen, request or BuildRequest(), files, **around)


def plan_of(
    workspace: Workspace,
    settings: Settings,
    request: BuildRequest,
    files: Mapping[str, Dockerfile],
    *,
    engine: Engine = ENGINE,
    builder: Builder = OWN,
    default_platform: str = "",
    **around: Any,
) -> BuildPlan:
    named = compose.select(workspace, request.services)
    services = targets.with_contexts(workspace, named)
    chosen = targets.of(*(engine, request, named, services, files), builder=builder, default_platform=default_platform)
    return plan.make(settings, workspace, engine, chosen, Surroundings(**around))


def args(made: BuildPlan, service: str) -> dict[str, str]:
    return dict(made.definition["target"][service].get("args", {}))


def test_each_compile_group_gets_its_own_programs_and_other_services_nothing() -> None:
    made = make()
    assert [[s.name for s in group] for group in made.groups] == [["api", "worker"], ["extra"], ["other"]]
    assert args(made, "api") == {
        "BIN": "api-server",
        "VERSION": "1",
        "PROFILE": "release",
        "CARGO_INCREMENTAL": "1",
        "PROGRAMS": "api-server worker",
        "CACHE_SCOPE": "shop",
    }
    assert args(made, "extra")["PROGRAMS"] == "extra"
    assert args(made, "other")["PROGRAMS"] == "other"
    assert args(made, "web") == args(made, "far") == args(made, "cached") == {}
    assert made.mounts == ("shop-target", "/root/.npm")


def test_a_rust_and_another_service_chosen_together() -> None:
    made = make(BuildRequest(services=("worker,web",)))
    assert args(made, "worker")["BINS"] == "worker"
    # the group's other services still count for cargo's selection: features do not depend on the selected services
    assert args(made, "worker")["PROGRAMS"] == "api-server worker"
    assert list(made.definition["target"]) == ["worker", "web"]
    assert made.definition["group"]["default"]["targets"] == ["worker", "web"]


LISTED = RUST.replace("ARG PROGRAMS", 'ARG PROGRAMS="api-server worker seeder"')


@pytest.mark.parametrize(
    ("text", "asked", "selected", "compiled"),
    [
        (LISTED, (), "api-server seeder worker", "api-server worker"),
        (LISTED, ("worker",), "api-server seeder worker", "worker"),
        (LISTED, ("extra",), "extra seeder", "extra"),
        (RUST.replace("ARG PROGRAMS", "ARG PROGRAMS=worker"), (), "api-server worker", None),
        # the other group's program has other features: together, cargo would refuse them
        (RUST.replace("ARG PROGRAMS", 'ARG PROGRAMS="api-server worker extra"'), (), "api-server worker", None),
        (RUST.replace("ARG PROGRAMS", "ARG PROGRAMS=$MORE"), (), "api-server worker", None),
        (RUST.replace("ARG PROGRAMS\n", ""), (), None, "api-server worker"),
    ],
)
def test_cargo_selects_the_programs_that_the_dockerfile_lists_for_plain_compose(
    text: str, asked: tuple[str, ...], selected: str | None, compiled: str | None
) -> None:
    services = {name: SERVICES[name] for name in ("api", "worker", "extra")}
    config = {"name": "shop", "services": services}
    workspace = compose.from_compose(config, of_settings({}), ())
    files = dict.fromkeys(services, Dockerfile.read(text))
    made = plan_of(workspace, of_settings({}), BuildRequest(services=asked), files)
    sent = args(made, asked[0] if asked else "api")
    assert (sent.get("PROGRAMS"), sent.get("BINS")) == (selected, compiled)


def test_the_compose_file_s_programs_are_selected_and_compiled_as_by_compose() -> None:
    """An image may contain more than one of them."""
    services = {"api": {"build": {"context": "/p", "args": {"BIN": "api", "PROGRAMS": "api tool"}}}}
    sent = args(make(services=services), "api")
    assert (sent["PROGRAMS"], sent.get("BINS")) == ("api tool", None)


def test_the_dockerfile_s_programs_do_not_apply_to_another_workspace() -> None:
    services = {"tool": {"build": {"context": "/p", "args": {"BIN": "tool", "SOURCE": "tools"}}}}
    workspace = compose.from_compose({"name": "shop", "services": services}, of_settings({}), ())
    made = plan_of(workspace, of_settings({}), BuildRequest(), {"tool": Dockerfile.read(LISTED)})
    assert args(made, "tool")["PROGRAMS"] == "tool"


@pytest.mark.parametrize(
    ("name", "programs"),
    [
        ("files", ["api-server worker", "api-server worker"]),
        ("debian:bookworm-slim", ["api-server", "worker"]),
        ("compile", ["api-server", None]),
    ],
)
def test_a_context_that_the_dockerfile_does_not_use_keeps_the_group(name: str, programs: list[str | None]) -> None:
    worker = {"build": {"context": "/p", "additional_contexts": {name: "docker-image://x"}}}
    made = make(services={"api": SERVICES["api"], "worker": worker})
    assert [args(made, service).get("PROGRAMS") for service in ("api", "worker")] == programs


def test_without_a_compile_group_there_is_no_profile_to_tell() -> None:
    made = make(BuildRequest(services=("web",)))
    assert (made.groups, made.profile, made.incremental) == ((), "", False)


def test_no_cache_keeps_cache_mounts() -> None:
    made = make(BuildRequest(no_cache=True))
    targets = made.definition["target"]
    assert args(made, "api")["REBUILD"]
    assert "no-cache" not in targets["api"]
    assert targets["web"]["no-cache"] is True
    assert "BUILDKIT_CACHE_MOUNT_NS" not in args(made, "web")
    # steps that have or may have cache mounts get others: BuildKit empties the mounts of a step without cache
    assert args(made, "cached")["BUILDKIT_CACHE_MOUNT_NS"] == args(made, "far")["BUILDKIT_CACHE_MOUNT_NS"]


def test_the_compose_file_s_own_no_cache_is_as_safe() -> None:
    services = {name: {"build": {**SERVICES[name]["build"], "no_cache": True}} for name in ("api", "cached")}
    made = make(services=services)
    assert args(made, "api")["REBUILD"]
    assert "no-cache" not in made.definition["target"]["api"]
    assert args(made, "cached")["BUILDKIT_CACHE_MOUNT_NS"]


@pytest.mark.parametrize(
    ("request_", "settings", "profile"),
    [
        ({}, {}, "dev"),
        ({"profile": "fast"}, {}, "fast"),
        ({}, {"profile": "fast"}, "fast"),
    ],
)
def test_the_compose_file_s_profile_counts_until_another_is_asked_for(
    request_: dict[str, Any], settings: dict[str, Any], profile: str
) -> None:
    services = {
        "api": {"build": {"context": "/p", "args": {"PROFILE": "dev", "BINS": "a b", "CARGO_INCREMENTAL": "0"}}}
    }
    made = make(BuildRequest(**request_), services, settings)
    assert args(made, "api")["PROFILE"] == made.profile == profile
    assert args(made, "api")["BINS"] == "a b"
    assert args(made, "api")["CARGO_INCREMENTAL"] == "0"


def test_images_are_replaced_under_the_names_that_buildkit_looks_up_and_pull_is_then_said_to_be_void() -> None:
    services = {"api": {"build": {"context": "/p", "pull": True}}, "web": {"build": {"context": "/w", "pull": True}}}
    made = make(
        services=services, replacements={"docker.io/library/rust:1": "mine/rust", "debian:bookworm-slim": "mine/d"}
    )
    api, web = (made.definition["target"][name] for name in ("api", "web"))
    assert api["contexts"] == {"rust:1": "docker-image://mine/rust", "debian:bookworm-slim": "docker-image://mine/d"}
    assert "pull" not in api
    assert web["pull"] is True
    assert made.notes == ("api: `pull` has no effect because local images replace its base images",)


def test_our_secrets_go_to_compile_steps_that_ask_and_the_compose_file_s_win() -> None:
    made = make(settings={"ca_bundle": "/etc/ca,1.pem"})
    assert made.definition["target"]["api"]["secret"] == ['id=ca,"src=/etc/ca,1.pem"']
    assert "secret" not in made.definition["target"]["web"]


def test_an_image_of_another_service_comes_along_but_is_not_asked_for() -> None:
    services = {
        "web": {"build": {"context": "/w", "additional_contexts": {"api": "service:api"}}},
        "api": SERVICES["api"],
    }
    made = make(BuildRequest(services=("web",)), services)
    assert set(made.definition["target"]) == {"web", "api"}
    assert made.definition["group"]["default"]["targets"] == ["web"]
    assert made.services == tuple(s for s in made.workspace.services if s.name == "web")


def test_one_key_that_nobody_carries_stops_its_service_only() -> None:
    services = {"api": SERVICES["api"], "web": {"build": {"context": "/w", "brand_new": "x"}}}
    make(BuildRequest(services=("api",)), services)
    with pytest.raises(Problem, match=r"`build.brand_new` of the service 'web'"):
        make(services=services)


@pytest.mark.parametrize(
    ("service", "request_", "default", "platforms", "output"),
    [
        ({}, {}, "", None, "type=docker"),
        ({"platform": "linux/amd64"}, {}, "", ["linux/amd64"], "type=docker"),
        ({}, {}, "linux/arm64", ["linux/arm64"], "type=docker"),
        ({"platform": "linux/arm64"}, {"platforms": ("linux/amd64",)}, "", ["linux/amd64"], "type=docker"),
    ],
)
def test_platforms(
    service: dict[str, Any], request_: dict[str, Any], default: str, platforms: list[str] | None, output: str
) -> None:
    made = make(BuildRequest(**request_), {"web": {**SERVICES["web"], **service}}, default_platform=default)
    target = made.definition["target"]["web"]
    assert target.get("platforms") == platforms
    assert target["output"] == [output]


def test_several_platforms_of_the_compose_file_make_one_image_where_the_engine_can_hold_it() -> None:
    services = {"web": {"build": {"context": "/w", "platforms": ["linux/amd64", "linux/arm64"]}}}
    assert make(services=services).definition["target"]["web"]["output"] == ["type=image"]
    config = {"name": "shop", "services": services}
    workspace = compose.from_compose(config, Settings(root=Path("/p")), ())
    with pytest.raises(Problem) as caught:
        plan_of(
            *(workspace, Settings(root=Path("/p")), BuildRequest(), {"web": Dockerfile.read(NODE)}),
            engine=replace(ENGINE, containerd_store=False),
        )
    assert caught.value.code == "platform-unsupported"


@pytest.mark.parametrize(
    ("settings", "push", "given", "expected"),
    [
        ({}, "r.example/x", {}, None),
        ({"provenance": "max", "sbom": "on"}, "", {}, None),
        ({"provenance": "max", "sbom": "on"}, "r.example/x", {}, ["type=provenance,mode=max", "type=sbom"]),
        ({"provenance": "min"}, "r.example/x", {"provenance": "mode=max"}, ["type=provenance,mode=max"]),
        ({"sbom": "on"}, "r.example/x", {"provenance": "mode=max"}, ["type=provenance,mode=max", "type=sbom"]),
    ],
)
def test_what_is_attached_to_images_that_are_pushed(
    settings: dict[str, Any], push: str, given: dict[str, Any], expected: list[str] | None
) -> None:
    services = {"web": {"build": {**SERVICES["web"]["build"], **given}}}
    made = make(BuildRequest(push=push), services, settings)
    assert made.definition["target"]["web"].get("attest") == expected


def test_the_printed_plan_has_no_empty_rows_and_names_the_images_built_from_packages() -> None:
    contexts = {
        "rust:1.80.1": "docker-image://localhost/buildkit-tasks/rust:1-bookworm",
        "assets": "/p/assets",
    }
    content = {
        "services": ["api", "api", "worker"],
        "incremental": True,
        "notes": [],
        "platforms": {},
        "builder": None,
        "bake": {"target": {"api": {"contexts": contexts}, "worker": {}}},
        "tier": "full",
    }
    assert plan_words.rows(content, {"incremental": "a local build", "tier": ""}) == [
        ("services", "api, worker"),
        ("incremental", "yes"),
        ("tier", "full"),
        ("image rust:1.80.1", "localhost/buildkit-tasks/rust:1-bookworm, built from Debian packages"),
        ("why incremental", "a local build"),
    ]
