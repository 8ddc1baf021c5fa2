"""Our bake definition is the one from `docker compose build --print`, plus our additions.

Nothing is built. The compose files are generated. The reference is the newest compose of Debian testing, because the
installed one may not support `--print`.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from buildkit_tasks.builds.prepare import plan_build
from buildkit_tasks.config.session import Session
from buildkit_tasks.core.model import BuildRequest
from buildkit_tasks.core.report import Report
from buildkit_tasks.core.world import World
from buildkit_tasks.project.discover import discover
from tests.support import newer_plugins, process

pytestmark = [pytest.mark.engine]

#: How many compose files; `BT_COMPOSE_FILES=300` is the long run.
EXAMPLES = int(os.environ.get("BT_COMPOSE_FILES", "25"))

# compose only escapes `${` in arguments and inline Dockerfiles for bake, and never escapes `%{`; test_compose.py
# compares the other parts by building them
TEXT = st.text(
    st.sampled_from(["a", "B", "$", "x", "{", "}", "é", " ", "'", '"', "\\", "=", ":", ",", "#"]), max_size=8
)
PLAIN = st.text("abcxyz019", min_size=1, max_size=6)
NAME = st.from_regex(r"[a-z][a-z0-9]{0,5}([._-][a-z0-9]{1,4})?", fullmatch=True)
ARGUMENT = st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True)


def doubled(value: str) -> str:
    """Return a value as written in a compose file."""
    return value.replace("$", "$$")


def template_free(value: str) -> str:
    """Remove what compose passes on incorrectly: `%{` anywhere, `${` outside of arguments."""
    return value.replace("${", "$").replace("%{", "%")


@st.composite
def builds(draw: st.DrawFn) -> dict[str, Any]:
    """Generate a `build:` section with an existing context and Dockerfile."""
    found: dict[str, Any] = {
        "context": draw(st.sampled_from([".", "./app", "app dir é", "./link", "https://example.com/x.git#main"]))
    }
    if draw(st.booleans()):
        found["dockerfile_inline"] = (
            "FROM scratch\nLABEL x=" + doubled(draw(st.sampled_from(["1", '"${A}"', "$A"]))) + "\n"
        )
    else:
        found["dockerfile"] = draw(st.sampled_from(["Dockerfile", "Dockerfile.other", "sub/Dockerfile"]))
    optional: dict[str, st.SearchStrategy[Any]] = {
        "args": st.dictionaries(ARGUMENT, st.one_of(TEXT.map(doubled), st.integers(0, 99), st.none()), max_size=3),
        "labels": st.dictionaries(PLAIN, TEXT.map(template_free).map(doubled), max_size=2),
        "target": PLAIN,
        "tags": st.lists(PLAIN.map(lambda t: f"cxprint/{t}:1"), max_size=2, unique=True),
        "network": st.sampled_from(["none", "default", "host"]),
        "extra_hosts": st.lists(
            st.sampled_from(["a=1.2.3.4", "b:10.0.0.1", "a=5.6.7.8", "c=::1"]), max_size=3, unique=True
        ),
        "cache_from": st.lists(
            st.sampled_from(["type=inline", "cxprint/a:1", "type=local,src=/tmp/c"]), max_size=2, unique=True
        ),
        "cache_to": st.just(["type=inline"]),
        "no_cache": st.booleans(),
        "pull": st.booleans(),
        "shm_size": st.sampled_from(["64m", "1gb", 1048576]),
        "ulimits": st.sampled_from([{"nproc": 5}, {"nofile": {"soft": 1, "hard": 2}}]),
        "privileged": st.booleans(),
        "entitlements": st.lists(st.sampled_from(["network.host", "security.insecure"]), max_size=2, unique=True),
        "platforms": st.sampled_from([["linux/amd64"], ["linux/amd64", "linux/arm64"]]),
        "provenance": st.sampled_from([True, False, "mode=max"]),
        "sbom": st.booleans(),
        "secrets": st.sampled_from([["s1"], ["s2"], [{"source": "s1", "target": "other"}, "s2"]]),
        "additional_contexts": st.dictionaries(
            PLAIN, st.sampled_from(["./app", "docker-image://debian:bookworm", "https://example.com/y.git"]), max_size=2
        ),
    }
    for key, strategy in optional.items():
        if draw(st.integers(0, 3)) == 0:
            found[key] = draw(strategy)
    return found


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    """Generate a compose file with a few services; some belong to a profile, some only run an image."""
    services: dict[str, Any] = {}
    for name in draw(st.lists(NAME, min_size=1, max_size=4, unique_by=lambda n: n.replace(".", "_"))):
        service: dict[str, Any] = {"build": draw(builds())}
        if draw(st.integers(0, 2)) == 0:
            service["image"] = f"cxprint/{draw(PLAIN)}"
        if draw(st.integers(0, 3)) == 0 and "platforms" not in service["build"]:
            service["platform"] = "linux/amd64"
        if draw(st.integers(0, 4)) == 0:
            service["profiles"] = ["later"]
        services[name] = service
    before = list(services)
    if len(before) > 1 and draw(st.booleans()) and "profiles" not in services[before[0]]:
        services[before[1]]["build"].setdefault("additional_contexts", {})["first"] = f"service:{before[0]}"
    if all("profiles" in service for service in services.values()):
        services[before[0]].pop("profiles")
    services["ready"] = {"image": "debian", "environment": {"PASSWORD": "hunter2"}}
    secrets = {"s1": {"file": "./se,cret.txt"}, "s2": {"environment": "CXPRINT"}}
    return {"name": "cxprint", "services": services, "secrets": secrets}


@pytest.fixture(scope="module")
def tree() -> Any:
    """Create a directory with everything that the generated files refer to."""
    with tempfile.TemporaryDirectory(prefix="cxprint-") as scratch:
        root = Path(scratch) / "tree"
        for folder in (root, root / "app", root / "app dir é"):
            (folder / "sub").mkdir(parents=True)
            for name in ("Dockerfile", "Dockerfile.other", "sub/Dockerfile"):
                (folder / name).write_text("FROM scratch\n")
        (root / "link").symlink_to("app", target_is_directory=True)
        (root / "se,cret.txt").touch()
        yield root


def ours(root: Path, config: Path) -> dict[str, Any]:
    """Return the definition of our plan."""
    env = {**os.environ, "DOCKER_CONFIG": str(config), "XDG_STATE_HOME": str(root.parent / "state"), "CXPRINT": "x"}
    env.pop("CI", None)
    world = replace(World.real(), cwd=root, env=env)
    session = Session(world, Report(world, json_only=True))
    project = discover(session)
    made = plan_build(session, project, BuildRequest(platforms=()), look_only=True)
    return json.loads(json.dumps(made.definition))  # type: ignore[no-any-return]


def theirs(root: Path, config: Path) -> dict[str, Any]:
    """Return the definition that compose would pass to bake, as bake reads it."""
    env = {"DOCKER_CONFIG": str(config), "CXPRINT": "x"}
    done = process.ok(["docker", "compose", "build", "--print"], root, env)
    definition: dict[str, Any] = json.loads(done.out)
    for target in definition["target"].values():
        target["args"] = {k: v.replace("$${", "${") for k, v in target.get("args", {}).items()}
        if "dockerfile-inline" in target:
            target["dockerfile-inline"] = target["dockerfile-inline"].replace("$${", "${")
    return definition


def same(target: dict[str, Any]) -> dict[str, Any]:
    """Return a target in a normal form: unordered values sorted, empty values removed, without our own decisions."""
    found = {k: v for k, v in target.items() if v not in ({}, [], "", False, None) and k != "output"}
    for key in ("tags", "entitlements", "ulimits", "ssh"):
        if key in found:
            found[key] = sorted(set(found[key]))
    if str(found.get("dockerfile", "")).startswith("/"):
        found["dockerfile"] = os.path.realpath(found["dockerfile"])
    if "extra-hosts" in found:  # the resolved model sorts a host's addresses
        found["extra-hosts"] = {host: sorted(given.split(",")) for host, given in found["extra-hosts"].items()}
    if "secret" in found:  # compose does not quote a comma in a file's name, so bake fails
        found["secret"] = [entry.replace('"', "") for entry in found["secret"]]
    return found


# no shrinking: a smaller example would take minutes, because each example asks docker four times
@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.reuse, Phase.generate]
)
@given(content=files())
def test_our_definition_is_composes_own_and_our_additions(tree: Path, content: dict[str, Any]) -> None:
    config = newer_plugins.config()
    (tree / "compose.yaml").write_text(json.dumps(content))
    expected, found = theirs(tree, config), ours(tree, config)
    assert sorted(found["group"]["default"]["targets"]) == sorted(expected["group"]["default"]["targets"])
    for name, target in found["target"].items():
        if target.get("no-cache") and target["context"].startswith("https:"):
            # the content of a URL may use cache mounts, which no-cache would empty
            target.get("args", {}).pop("BUILDKIT_CACHE_MOUNT_NS", None)
        assert same(target) == same(expected["target"][name])
