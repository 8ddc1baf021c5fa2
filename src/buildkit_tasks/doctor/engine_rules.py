"""Checks for the docker command, the engine and its builder."""

from __future__ import annotations

from buildkit_tasks.core import units
from buildkit_tasks.core.model import Engine, Version
from buildkit_tasks.engine.facts import MINIMUM, dotted

from .facts import Facts
from .rules import Rule, Verdict, fail, ok, unknown, warn

#: The first version with each BuildKit feature that we use, and its documentation.
SOURCES: dict[str, tuple[Version, str]] = {
    "BuildKit in the engine": ((18, 9), "https://docs.docker.com/engine/release-notes/18.09/"),
    "BuildKit by default": ((23,), "https://docs.docker.com/engine/release-notes/23.0/"),
    "progress as JSON (buildx)": ((0, 13), "https://github.com/docker/buildx/releases/tag/v0.13.0"),
    "config --format json and up --wait (compose)": ((2, 20), "https://github.com/docker/compose/releases/tag/v2.20.0"),
}

#: Garbage collection of the build cache was off by default before 28.1 (moby/moby#49826, April 2025). It was then on,
#: with a first rule that matched nothing (moby/moby#52814), and since June 2026 it deletes idle cache mounts first.
GC_ON: Version = (28, 2)
GC_TAKES_MOUNTS: Version = (29, 6)

INSTALL = "invoke engine.install"


def _answering(facts: Facts) -> Engine | None:
    return facts.engine if facts.engine and facts.engine.version else None


def docker_cli(facts: Facts) -> Verdict:
    if facts.podman_cli:
        return fail(
            "the docker command is actually podman",
            "invoke engine.install, or use a real docker command with podman's socket: "
            "systemctl --user start podman.socket && export DOCKER_HOST=unix://$XDG_RUNTIME_DIR/podman/podman.sock",
        )
    if not facts.clis:
        found = "no docker command on PATH" + ("; podman is installed" if facts.podman else "")
        return fail(found, INSTALL, "engine.install")
    version = f" {dotted(facts.client)}" if facts.client else ""
    return ok(f"{facts.clis[0]}{version}")


def two_clis(facts: Facts) -> Verdict:
    if facts.clis_differ:
        return warn(
            f"{' and '.join(facts.clis)}: {facts.clis_differ}",
            f"remove {facts.clis[-1]}, or install the same plugins for both",
        )
    return ok({0: "none", 1: "one"}.get(len(facts.clis), f"{len(facts.clis)} with the same plugins"))


def engine_answers(facts: Facts) -> Verdict:
    if facts.context_dead:
        return unknown("docker's context is wrong (see the context check)")
    if facts.silent:
        words, remedy = facts.silent
        return fail(words, remedy, "engine.start" if remedy == "invoke engine.start" else "")
    engine = _answering(facts)
    if not engine:
        return unknown("no docker command was found")
    return ok(f"responds (context {engine.context})")


def engine_version(facts: Facts) -> Verdict:
    engine = _answering(facts)
    if not engine:
        return unknown("no engine responds")
    if facts.podman_engine:
        return warn(f"the docker command connects to podman {dotted(engine.version)}", f"{INSTALL}    (for full speed)")
    if engine.version < MINIMUM["engine"]:
        return warn(dotted(engine.version), INSTALL, "engine.install")
    return ok(dotted(engine.version))


def buildx(facts: Facts) -> Verdict:
    if not facts.engine:
        return unknown("no docker command was found")
    if facts.engine.buildx < MINIMUM["buildx"]:
        found = dotted(facts.engine.buildx) if facts.engine.buildx else "none"
        return warn(found, INSTALL, "engine.install")
    return ok(dotted(facts.engine.buildx))


def compose(facts: Facts) -> Verdict:
    if not facts.engine:
        return unknown("no docker command was found")
    if facts.engine.compose < MINIMUM["compose"]:
        found = dotted(facts.engine.compose) if facts.engine.compose else "none"
        if not facts.engine.compose and facts.compose_v1:
            found = f"only compose v1 ({facts.compose_v1}), which supports neither profiles nor `up --wait`"
        return fail(found, INSTALL, "engine.install")
    return ok(dotted(facts.engine.compose))


def buildkit_env(facts: Facts) -> Verdict:
    for name in ("DOCKER_BUILDKIT", "COMPOSE_DOCKER_CLI_BUILD"):
        value = facts.env.get(name, "")
        if value.lower() in ("0", "false"):
            return warn(
                f"{name}={value} in this environment; buildkit-tasks overrides it, but plain docker does not",
                f'unset {name}    (permanently: remove it from your shell\'s startup files; or: eval "$(invoke env)")',
            )
    return ok("not disabled")


def buildkit_off(facts: Facts) -> Verdict:
    for where, config in (("daemon.json", facts.daemon_config or {}), ("~/.docker/config.json", facts.client_config)):
        value = str((config.get("features") or {}).get("buildkit", "")).lower()
        if value == "false":
            return warn(
                f"features.buildkit is false in {where}",
                f"remove features.buildkit from {where} and restart docker",
            )
    return ok("not disabled")


def builder(facts: Facts) -> Verdict:
    found = facts.builder
    if found and found.wanted and found.driver in ("", "remote") and found.status != "running":
        return fail(
            f"builders.name is set to {found.name}, which is {found.status}",
            f"run `invoke builder` to list builders, or create the builder with `invoke builder.create {found.name} …`",
        )
    if found and found.status == "missing":
        return fail(
            f"BUILDX_BUILDER is set to {found.name}, which does not exist",
            "unset BUILDX_BUILDER    (`invoke builder` lists existing builders)",
        )
    if not found or not found.driver or facts.silent or facts.podman_engine:
        return unknown("no builder responded")
    if found.driver != "docker" and not found.wanted:
        return warn(
            f"{found.name} ({found.driver}): has its own cache mounts and copies every image to the engine",
            "docker buildx use default    (and: unset BUILDX_BUILDER)",
            "" if facts.env.get("BUILDX_BUILDER") else "builder",
        )
    if found.status not in ("running", "") and not found.wanted:
        return fail(f"{found.name} is {found.status}", "docker buildx use default", "builder")
    return ok(f"{found.name} ({found.driver})")


def context(facts: Facts) -> Verdict:
    if facts.context_dead:
        return fail(
            f"{facts.context} points to {facts.context_host}, which does not respond, but the default engine responds",
            "docker context use default    (and: unset DOCKER_CONTEXT DOCKER_HOST)",
            "" if facts.env.get("DOCKER_HOST") or facts.env.get("DOCKER_CONTEXT") else "context",
        )
    if not facts.context_host and not _answering(facts):
        return unknown("docker did not report the current context")
    return ok(f"{facts.context}" + (f" ({facts.context_host})" if facts.context_host else ""))


def containerd_store(facts: Facts) -> Verdict:
    engine = _answering(facts)
    if not engine or engine.version < (24,) or facts.podman_engine:
        return unknown("no engine responds")
    if not engine.containerd_store:
        return warn(
            "the classic store, which supports only one platform per image",
            'add {"features": {"containerd-snapshotter": true}} to /etc/docker/daemon.json and restart the engine '
            "(then rebuild the images)",
        )
    return ok("in use")


def garbage_collection(facts: Facts) -> Verdict:
    engine = _answering(facts)
    if not engine:
        return unknown("no engine responds")
    if facts.daemon_config is None:
        return unknown("the engine's daemon.json cannot be read from this machine")
    gc = ((facts.daemon_config or {}).get("builder") or {}).get("gc") or {}
    keep = str(gc.get("defaultKeepStorage") or gc.get("defaultReservedSpace") or "")
    if gc.get("enabled", bool(gc)) and keep and facts.cache_size and units.size(keep) < facts.cache_size:
        return warn(
            f"the limit is {keep}, but the cache is {units.human(facts.cache_size)}, so caches are deleted as you work",
            "raise builder.gc.defaultKeepStorage in /etc/docker/daemon.json, or run `invoke prune`",
        )
    if gc.get("enabled") is False or (not gc and engine.version < GC_ON):
        return ok("off: the engine deletes nothing automatically")
    if not gc and engine.version >= GC_TAKES_MOUNTS:
        return warn(
            "on; this engine version deletes cache mounts first, after 48 hours without use",
            'add {"builder": {"gc": {"enabled": true, "policy": [{"reservedSpace": "20GB", "all": true}]}}} to '
            "/etc/docker/daemon.json and restart the engine",
        )
    return ok("on; this engine version keeps cache mounts" if not gc else "set in daemon.json")


def cache_budget(facts: Facts) -> Verdict:
    if facts.cache_size is None:
        return unknown("the size of the build cache is unknown")
    found = f"{units.human(facts.cache_size)} of build cache"
    if facts.cache_budget and facts.cache_size > facts.cache_budget:
        return warn(
            f"{found}, more than {units.human(facts.cache_budget)}", "invoke prune    (lists what it deletes first)"
        )
    return ok(found)


def clock(facts: Facts) -> Verdict:
    if facts.skew is None:
        return unknown("no engine responds")
    if abs(facts.skew) > 5 + facts.skew_error:
        ahead = "ahead of" if facts.skew > 0 else "behind"
        return warn(
            f"the engine's clock is {abs(facts.skew):.0f} s {ahead} this machine's",
            "sync both clocks with NTP: sudo timedatectl set-ntp true (Docker Desktop, WSL2: restart after sleep)",
        )
    return ok("in sync within a few seconds")


def memory(facts: Facts) -> Verdict:
    if facts.memory is None:
        return unknown("no engine responds")
    found = f"{facts.memory / 1e9:.1f} GB"
    if facts.memory < 2_000_000_000:
        return warn(
            found,
            "give the engine's machine 4 GB of memory (Docker Desktop: Settings, Resources; colima start --memory 4)",
        )
    return ok(found)


def rootless(facts: Facts) -> Verdict:
    low = [p for p in facts.published if p < facts.unprivileged_port]
    if facts.rootless and low:
        return fail(
            f"the engine is rootless, but the project publishes port {low[0]}",
            f"sudo sysctl net.ipv4.ip_unprivileged_port_start={min(low)}, or publish port 1024 or higher",
        )
    if facts.rootless and facts.compose_unseen:
        return unknown(facts.compose_unseen)
    if not _answering(facts):
        return unknown("no engine responds")
    return ok("rootless" if facts.rootless else "not rootless")


RULES: tuple[Rule, ...] = (
    Rule("docker", "a docker command", "all tasks use docker to talk to the engine", docker_cli),
    Rule(
        "one-docker",
        "one docker command, or multiple identical ones",
        "different docker commands may use different plugins, contexts and builders",
        two_clis,
    ),
    Rule(
        "context",
        "a context with an engine that responds",
        "docker connects to the engine in its current context",
        context,
    ),
    Rule("engine", "an engine that responds", "nothing can be built or run without an engine", engine_answers),
    Rule(
        "engine-version",
        f"{dotted(MINIMUM['engine'])} or newer",
        "older engines build one service at a time; before 18.09, they do not support cache mounts",
        engine_version,
    ),
    Rule(
        "buildx",
        f"{dotted(MINIMUM['buildx'])} or newer",
        "buildx builds all services in one solve; without buildx, each service is built separately",
        buildx,
    ),
    Rule(
        "compose",
        f"{dotted(MINIMUM['compose'])} or newer",
        "compose reads the compose file and starts the stack",
        compose,
    ),
    Rule(
        "buildkit-env",
        "BuildKit not disabled",
        "without BuildKit, plain `docker build` fails on --mount",
        buildkit_env,
    ),
    Rule(
        "buildkit-config",
        "BuildKit not disabled",
        "without BuildKit, plain `docker build` fails on --mount",
        buildkit_off,
    ),
    Rule("builder", "the engine's own builder (driver docker)", "cache mounts belong to a builder", builder),
    Rule("image-store", "the containerd store", "multi-platform images need the containerd store", containerd_store),
    Rule(
        "gc",
        "no garbage collection that deletes cache mounts",
        "a deleted mount means a cold build",
        garbage_collection,
    ),
    Rule("cache-size", "within the budget", "the build cache can fill the disk", cache_budget),
    Rule("clock", "clocks within 5 s", "TLS and file times depend on the clocks", clock),
    Rule("memory", "2 GB or more", "rustc is killed if memory runs out", memory),
    Rule("rootless", "ports that a rootless engine can publish", "only root can bind ports below 1024", rootless),
)
