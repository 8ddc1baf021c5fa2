"""Converts a service's `build:` to the bake target that compose would create. Pure.

`KEYS` documents how each key of the compose specification is handled. An unknown key or an unsupported value raises a
`Problem` with the service and the key. Nothing is dropped silently.
Compose's implementation: https://github.com/docker/compose/blob/main/pkg/compose/build_bake.go
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Service, Workspace
from buildkit_tasks.platforms.names import long_form

#: How each key of `build:` is passed to bake. A test compares the keys with the specification's schema.
KEYS: Mapping[str, str] = {
    "additional_contexts": "contexts; service:NAME becomes that service's target",
    "args": "args, plus those of buildkit-tasks",
    "cache_from": "cache-from, plus the caches.layers_from setting",
    "cache_to": "cache-to, plus the caches.layers_to setting",
    "context": "context, read through a link that buildkit-tasks creates; URLs unchanged",
    "dockerfile": "dockerfile",
    "dockerfile_inline": "dockerfile-inline",
    "entitlements": "entitlements",
    "extra_hosts": "extra-hosts",
    "isolation": "only `default`: BuildKit supports nothing else",
    "labels": "labels, plus the labels that compose adds",
    "network": "network",
    "no_cache": "no-cache; in a compile group, a new value of REBUILD instead, which keeps the cache mounts",
    "no_cache_filter": "no-cache-filter",
    "platforms": "platforms, must include DOCKER_DEFAULT_PLATFORM; if unset, the service's platform or that default",
    "privileged": "entitlements: security.insecure",
    "provenance": "attest",
    "pull": "pull, unless base images are built from packages",
    "sbom": "attest",
    "secrets": "secret",
    "shm_size": "shm-size",
    "ssh": "ssh",
    "tags": "tags, in addition to the image's name",
    "target": "target",
    "ulimits": "ulimits",
}

#: Keys of `x-bake`: https://docs.docker.com/build/bake/compose-file/#extension-field-with-x-bake
X_BAKE: Mapping[str, str] = dict.fromkeys(
    ("tags", "cache-from", "cache-to", "secret", "ssh", "platforms", "output", "no-cache-filter"), "list"
) | {"pull": "flag", "no-cache": "flag", "contexts": "map"}


def make(service: Service, workspace: Workspace, compose: str) -> dict[str, Any]:
    """Return the bake target of a service, without the context and the Dockerfile, which are paths on this machine.

    `compose`: the compose version, for the label that compose adds. Problems: compose-key-unsupported.
    """
    build = service.build
    for key, value in build.items():
        if key not in KEYS and not key.startswith("x-") and value not in (None, "", [], {}, False):
            raise unsupported(service, key)
    if build.get("isolation") not in (None, "", "default"):
        raise unsupported(service, "isolation", f"BuildKit does not support the isolation mode {build['isolation']!r}")
    target: dict[str, Any] = {
        "args": dict(service.args),
        "labels": {
            **{str(k): str(v) for k, v in (build.get("labels") or {}).items()},
            "com.docker.compose.project": workspace.project,
            "com.docker.compose.service": service.name,
            "com.docker.compose.version": compose,
        },
        "tags": list(dict.fromkeys([service.image, *map(str, build.get("tags") or ())])),
        "contexts": {name: _context(service, workspace, value) for name, value in service.contexts.items()},
        "secret": [_secret(service, workspace, entry) for entry in build.get("secrets") or ()],
        "ssh": [_ssh(entry) for entry in _entries(build.get("ssh"))],
        "cache-from": _strings(build.get("cache_from")),
        "cache-to": _strings(build.get("cache_to")),
        "no-cache-filter": _strings(build.get("no_cache_filter")),
        "platforms": list(service.platforms),
        "ulimits": [f"{name}={_limit(value)}" for name, value in (build.get("ulimits") or {}).items()],
        "entitlements": _entitlements(build),
        "extra-hosts": _hosts(build.get("extra_hosts")),
        "attest": [a for name in ("provenance", "sbom") for a in _attest(name, build.get(name))],
        "target": str(build.get("target") or ""),
        "network": str(build.get("network") or ""),
        "shm-size": str(build.get("shm_size") or ""),
        "pull": bool(build.get("pull")),
        "no-cache": bool(build.get("no_cache")),
    }
    _extend(service, target)
    return {name: value for name, value in target.items() if value or name == "args"}


def check_platforms(services: Iterable[Service], default: str) -> None:
    """Refuse a service whose platforms do not include DOCKER_DEFAULT_PLATFORM, as compose does."""
    for service in services if default else ():
        if service.platforms and _platform(default) not in map(_platform, service.platforms):
            raise Problem(
                "platform-unsupported",
                f"DOCKER_DEFAULT_PLATFORM is {default}, but the service {service.name!r} is not built for it.",
                causes=[f"the compose file lists only {', '.join(service.platforms)}"],
                hint="unset DOCKER_DEFAULT_PLATFORM, or pass --platform",
            )


def _platform(name: str) -> str:
    """Return a platform's canonical spelling. Unknown platforms are returned unchanged."""
    try:
        return long_form(name)
    except Problem:
        return name


def unsupported(service: Service, key: str, why: str = "") -> Problem:
    """Return the problem for an unsupported key."""
    return Problem(
        "compose-key-unsupported",
        f"`build.{key}` of the service {service.name!r} is not supported.",
        causes=[why] if why else [],
        hint=f"run `docker compose build {service.name}`, and build the other services with --service",
    )


def _strings(value: Any) -> list[str]:
    return [str(item) for item in value or ()]


def _entries(value: Any) -> list[str]:
    """Return a list unchanged, or a mapping as `name=value` entries, with only the name if it has no value."""
    if isinstance(value, Mapping):
        return [str(k) if v in (None, "") else f"{k}={v}" for k, v in value.items()]
    return _strings(value)


def _ssh(entry: str) -> str:
    """Parse an ssh entry. In YAML, compose prints an id and its path as `id: path`."""
    name, separator, path = re.match(r"([^=:]*)(=|:\s*)?(.*)", entry, re.DOTALL).groups()  # type: ignore[union-attr]
    return f"{name}={path}" if separator and path else name


def _context(service: Service, workspace: Workspace, value: str) -> str:
    kind, colon, name = value.partition(":")
    if kind != "service" or not colon:
        return value
    for other in workspace.services:
        if other.name == name:
            return f"target:{other.key}"
    raise unsupported(service, "additional_contexts", f"{value} does not name a service with a `build:` section")


def _secret(service: Service, workspace: Workspace, entry: Any) -> str:
    reference = entry if isinstance(entry, Mapping) else {"source": entry}
    source = str(reference.get("source", ""))
    found = (workspace.config.get("secrets") or {}).get(source) or {}
    name = str(reference.get("target") or source)
    if found.get("environment"):
        return f"id={name},type=env,env={found['environment']}"
    if found.get("file"):
        return ",".join((field(f"id={name}"), "type=file", field(f"src={found['file']}")))
    raise unsupported(
        service,
        "secrets",
        f"secret {source!r} has neither `file` nor `environment`; compose does not support such a secret either",
    )


def secret_variables(service: Service, workspace: Workspace) -> tuple[str, ...]:
    """Return the environment variables that contain the values of the service's secrets."""
    known = workspace.config.get("secrets") or {}
    names = (e.get("source", "") if isinstance(e, Mapping) else e for e in service.build.get("secrets") or ())
    return tuple(str(known[n]["environment"]) for n in names if (known.get(n) or {}).get("environment"))


def field(text: str) -> str:
    """Quote a field of BuildKit's comma-separated options: https://datatracker.ietf.org/doc/html/rfc4180."""
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",\r\n]|^\s|\s$', text) else text


def _limit(value: Any) -> str:
    # compose's JSON omits zeros
    return f"{value.get('soft', 0)}:{value.get('hard', 0)}" if isinstance(value, Mapping) else str(value)


def _entitlements(build: Mapping[str, Any]) -> list[str]:
    asked = [*_strings(build.get("entitlements")), *(["security.insecure"] if build.get("privileged") else [])]
    return list(dict.fromkeys(asked))


def _hosts(value: Any) -> dict[str, str]:
    """Map each host to its addresses, joined by commas as compose does."""
    found: dict[str, list[str]] = {}
    for entry in _entries(value):
        name, _, address = entry.partition("=") if "=" in entry else entry.partition(":")
        found.setdefault(name, []).append(address)
    return {name: ",".join(addresses) for name, addresses in found.items()}


def _attest(kind: str, value: Any) -> list[str]:
    text = str(value if value is not None else "").strip()
    if text.lower() in ("", "false"):
        return []
    return [f"type={kind}" if text.lower() == "true" else f"type={kind},{text}"]


def _extend(service: Service, target: dict[str, Any]) -> None:
    """Apply `x-bake` as bake does: extend lists and maps, override flags."""
    more = service.build.get("x-bake") or {}
    for name, value in more.items():
        kind = X_BAKE.get(name)
        if kind == "flag" and isinstance(value, bool):
            target[name] = value
        elif kind == "map" and isinstance(value, Mapping):
            target[name] = {**target.get(name, {}), **{str(k): str(v) for k, v in value.items()}}
        elif kind == "list" and isinstance(value, list | str):
            words = value.split() if isinstance(value, str) else _strings(value)
            target[name] = list(dict.fromkeys([*target.get(name, []), *words]))
        else:
            raise unsupported(service, f"x-bake.{name}")
