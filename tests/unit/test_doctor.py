"""Every check: a broken fixture triggers only that check, and a healthy machine triggers none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from buildkit_tasks import doctor
from buildkit_tasks.core.model import Engine
from buildkit_tasks.doctor import Builder, Facts, Health, PortUse

ENGINE = Engine("id", (26, 1, 5), (0, 13, 1), (2, 26, 1), "linux", "amd64", True, "default", "/var/lib/docker")
HEALTHY = Facts(
    clis=("/usr/bin/docker",),
    client=(28, 2, 2),
    engine=ENGINE,
    daemon_config={},
    memory=8_000_000_000,
    skew=0.1,
    skew_error=0.1,
    builder=Builder("default", "docker", "running", ("linux/amd64",)),
    cache_size=5_000_000_000,
    cache_budget=20_000_000_000,
    disk_path="/var/lib/docker",
    disk_free=50_000_000_000,
    binfmt={"qemu-aarch64": "enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: OCF\n"},
    inotify={"max_user_watches": 65536, "max_user_instances": 128},
    kernel="6.1.0-amd64",
    root="/home/ann/shop",
    completion="current",
    registry="registry.example",
    registry_state="open",
    ca_bundle="/etc/ssl/ca.pem",
    ca_state="ok",
    published=(8080,),
    dotenv=True,
    dotenv_mode=0o600,
)
OLD = replace(ENGINE, version=(20, 10, 24), containerd_store=False)
NEWEST = replace(ENGINE, version=(29, 6, 0))

#: (check, state, fault)
BROKEN: list[tuple[str, str, dict[str, Any]]] = [
    ("docker", "fail", {"clis": (), "engine": None}),
    ("docker", "fail", {"podman_cli": True}),
    ("one-docker", "warn", {"clis": ("/a/docker", "/b/docker"), "clis_differ": "buildx 0.13.1 and missing"}),
    ("context", "fail", {"context": "colima", "context_host": "unix:///gone.sock", "context_dead": True}),
    ("engine", "fail", {"silent": ("No engine listens.", "invoke engine.start")}),
    (
        "engine",
        "fail",
        {
            "silent": ("No engine listens.", "invoke engine.start"),
            "engine": replace(ENGINE, version=()),
            "builder": Builder("default", "", "error"),
            "registry_state": "closed",
        },
    ),
    ("engine-version", "warn", {"engine": OLD, "rc_set": True}),
    ("engine-version", "warn", {"engine": replace(OLD, version=(4, 3, 1)), "podman_engine": True}),
    ("buildx", "warn", {"engine": replace(ENGINE, buildx=())}),
    ("buildx", "warn", {"engine": replace(ENGINE, buildx=(0, 12, 9))}),
    ("compose", "fail", {"engine": replace(ENGINE, compose=())}),
    ("compose", "fail", {"engine": replace(ENGINE, compose=()), "compose_v1": "/usr/bin/docker-compose"}),
    ("buildkit-env", "warn", {"env": {"DOCKER_BUILDKIT": "0"}}),
    ("buildkit-env", "warn", {"env": {"COMPOSE_DOCKER_CLI_BUILD": "false"}}),
    ("buildkit-config", "warn", {"daemon_config": {"features": {"buildkit": False}}}),
    ("buildkit-config", "warn", {"client_config": {"features": {"buildkit": "false"}}}),
    ("builder", "warn", {"builder": Builder("ci", "docker-container", "running")}),
    ("builder", "fail", {"builder": Builder("farm", "remote", "inactive", wanted=True)}),
    ("builder", "fail", {"builder": Builder("farm", "", "missing", wanted=True)}),
    ("builder", "fail", {"builder": Builder("farm", "", "missing")}),
    ("builder", "fail", {"builder": Builder("default", "docker", "cannot connect")}),
    ("image-store", "warn", {"engine": replace(ENGINE, containerd_store=False)}),
    ("gc", "warn", {"engine": NEWEST}),
    ("gc", "warn", {"daemon_config": {"builder": {"gc": {"enabled": True, "defaultKeepStorage": "1GB"}}}}),
    ("cache-size", "warn", {"cache_size": 30_000_000_000}),
    ("clock", "warn", {"skew": 600.0}),
    ("clock", "warn", {"skew": -600.0}),
    ("memory", "warn", {"memory": 1_000_000_000}),
    ("rootless", "fail", {"rootless": True, "published": (80,)}),
    ("disk", "warn", {"disk_free": 3_000_000_000}),
    ("disk", "fail", {"disk_free": 300_000_000}),
    ("binfmt", "warn", {"binfmt": {"qemu-aarch64": "enabled\nflags: OC\n"}}),
    ("binfmt", "warn", {"binfmt": {"qemu-aarch64": "disabled\nflags: F\n"}}),
    ("inotify", "warn", {"inotify": {"max_user_watches": 4096}}),
    ("wsl", "warn", {"kernel": "5.15.90.1-microsoft-standard-WSL2", "root": "/mnt/c/src/shop"}),
    ("shell", "warn", {"rc_set": True, "rc_broken": "/home/ann/.bashrc"}),
    ("shell", "warn", {"rc_off": ("/home/ann/.bashrc:3",)}),
    ("completion", "warn", {"completion": "stale"}),
    ("proxy", "warn", {"env": {"HTTP_PROXY": "http://localhost:3128", "NO_PROXY": "localhost"}}),
    ("proxy", "warn", {"env": {"https_proxy": "http://a:1", "HTTPS_PROXY": "http://b:1", "NO_PROXY": "localhost"}}),
    ("proxy", "warn", {"env": {"HTTPS_PROXY": "http://proxy:3128"}}),
    ("registry", "fail", {"registry_state": "closed", "registry_words": "timed out"}),
    ("registry", "fail", {"registry_state": "closed", "registry_lost": ("nginx:1", "alpine:3")}),
    ("ca", "fail", {"registry_state": "untrusted"}),
    ("ca", "fail", {"ca_state": "missing"}),
    ("ca", "fail", {"ca_state": "expired"}),
    ("compose-file", "fail", {"compose_error": ("line 3", "fix the file")}),
    ("compose-file", "fail", {"dockerfiles_missing": ("The Dockerfile of the service 'api' cannot be read",)}),
    ("ports", "fail", {"ports_taken": (PortUse("api", 8080, "nginx (pid 7)", "API_PORT"),)}),
    ("dotenv", "fail", {"dotenv": False, "dotenv_mode": None}),
    ("dotenv", "fail", {"dotenv_error": "line 3 cannot be read"}),
    ("dotenv-names", "warn", {"dotenv_missing": ("API_PORT",)}),
    ("dotenv-private", "warn", {"dotenv_mode": 0o644}),
    ("dotenv-private", "warn", {"dotenv_tracked": True}),
    ("dotenv-secrets", "warn", {"dotenv_placeholders": ("DB_PASSWORD",)}),
    ("bind-sources", "warn", {"missing_sources": ("/home/ann/shop/nginx.conf",)}),
    ("lock-file", "fail", {"locks_missing": ("services/Cargo.lock",)}),
    ("lock-file", "warn", {"locks_ignored": ("Cargo.lock",)}),
    ("health-checks", "fail", {"health_tools": (Health("api", "curl", "shop/api:dev"),)}),
]


def test_a_healthy_machine_fires_nothing_and_nothing_is_unknown() -> None:
    checks = doctor.examine(HEALTHY, doctor.RULES)
    assert [(c.name, c.found) for c in checks if c.state != "ok"] == []


@pytest.mark.parametrize(("driver", "status"), [("remote", "running"), ("docker-container", "inactive")])
def test_a_builder_that_the_settings_name_is_no_fault(driver: str, status: str) -> None:
    """buildx starts containers automatically, but nothing else."""
    facts = replace(HEALTHY, builder=Builder("farm", driver, status, wanted=True))
    assert [c.name for c in doctor.examine(facts, doctor.RULES) if c.fires] == []


@pytest.mark.parametrize(("name", "state", "broken"), BROKEN, ids=[f"{n}-{i}" for i, (n, _, _) in enumerate(BROKEN)])
def test_each_fault_fires_exactly_its_check(name: str, state: str, broken: dict[str, Any]) -> None:
    checks = doctor.examine(replace(HEALTHY, **broken), doctor.RULES)
    assert [(c.name, c.state) for c in checks if c.fires] == [(name, state)]
    fired = next(c for c in checks if c.fires)
    assert fired.found
    assert fired.wanted
    assert fired.why
    assert fired.remedy


def test_every_check_has_a_broken_fixture() -> None:
    assert {r.name for r in doctor.RULES} == {name for name, _, _ in BROKEN}


def test_an_old_engine_without_the_shell_set_up_needs_both() -> None:
    checks = doctor.examine(replace(HEALTHY, engine=OLD), doctor.RULES)
    assert [c.name for c in checks if c.fires] == ["engine-version", "shell"]


@pytest.mark.parametrize(
    ("version", "config", "words"),
    [
        ((26, 1, 5), {}, "off: the engine deletes nothing automatically"),
        ((28, 5, 2), {}, "on; this engine version keeps cache mounts"),
        ((29, 6, 0), {"builder": {"gc": {"enabled": False}}}, "off"),
        ((29, 6, 0), {"builder": {"gc": {"enabled": True, "defaultKeepStorage": "40GB"}}}, "set in daemon.json"),
    ],
)
def test_garbage_collection_is_judged_by_version(version: tuple[int, ...], config: Any, words: str) -> None:
    facts = replace(HEALTHY, engine=replace(ENGINE, version=version), daemon_config=config)
    check = next(c for c in doctor.examine(facts, doctor.RULES) if c.name == "gc")
    assert check.state == "ok"
    assert words in check.found


NO_ENGINE = {"engine": replace(ENGINE, version=()), "silent": ("No engine listens.", "invoke engine.start")}

#: (what could not be read, the checks that must not report ok in that case)
UNSEEN: list[tuple[dict[str, Any], set[str]]] = [
    ({"compose_read": False}, {"compose-file", "ports", "bind-sources", "health-checks"}),
    ({"compose_read": False, "registry_state": ""}, {"registry"}),
    ({"compose_read": False, "dotenv_example": False}, {"dotenv-names"}),
    ({"compose_read": False, "rootless": True}, {"rootless"}),
    ({"compose_error": ("line 3", "correct it")}, {"ports", "bind-sources", "health-checks"}),
    ({"compose_error": ("line 3", "correct it"), "registry_state": ""}, {"registry"}),
    ({"registry_state": "unasked"}, {"registry"}),
    ({"ports_elsewhere": True}, {"ports"}),
    ({"health_unsure": (Health("db", "wget", "postgres"),)}, {"health-checks"}),
    ({"locks_seen": False}, {"lock-file"}),
    ({"daemon_config": None}, {"gc"}),
    ({"completion": ""}, {"completion"}),
    ({"inotify": {}}, {"inotify"}),
    ({"disk_free": None}, {"disk"}),
    (NO_ENGINE, {"engine-version", "image-store", "gc", "rootless", "registry", "context"}),
]


@pytest.mark.parametrize(("facts", "names"), UNSEEN)
def test_ok_is_said_only_of_what_was_seen(facts: dict[str, Any], names: set[str]) -> None:
    checks = {c.name: c for c in doctor.examine(replace(HEALTHY, **facts), doctor.RULES)}
    for name in names:
        assert checks[name].state == "unknown", checks[name]
        assert checks[name].found.startswith("not checked, because ")


def test_images_that_no_packages_make_are_not_sent_to_the_packages() -> None:
    facts = replace(HEALTHY, registry_state="closed", registry_lost=("nginx:1",))
    check = next(c for c in doctor.examine(facts, doctor.RULES) if c.name == "registry")
    assert "nginx:1" in check.found
    assert "images.build" not in check.remedy
    assert check.fix == ""


def test_fixes_are_only_those_that_the_flow_can_apply() -> None:
    from buildkit_tasks.doctor.diagnose import FIXES

    seen = {c.fix for _, _, broken in BROKEN for c in doctor.examine(replace(HEALTHY, **broken), doctor.RULES) if c.fix}
    assert seen <= set(FIXES)
