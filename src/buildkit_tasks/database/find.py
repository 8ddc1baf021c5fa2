"""Finds the services of a compose file that run a database, and the path of a SQLite file. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.images import names as image_names
from buildkit_tasks.project import compose

from .model import NAMES, Server

#: For each kind, the last component of image names: the official image and well-known images based on it.
_IMAGES = {
    "postgres": re.compile(r"postgres(ql)?(-[a-z0-9-]+)?|postgis|timescaledb(-ha)?|pgvector|citus|spilo(-\d+)?"),
    "mariadb": re.compile(r"mariadb(-[a-z0-9-]+)?"),
    "mysql": re.compile(r"mysql(-server)?|percona(-server)?"),
}

#: Images with one of these words in their name are tools for a database, not a database.
_BESIDE = re.compile(r"exporter|backup|bouncer|pgpool|pgadmin|operator|router|client|proxy|shell|repmgr-witness")

#: Variables that set up a new database, by kind. A program that only uses a database may have them too, but it also has
#: the server's address.
_SET_UP = {
    "postgres": ("POSTGRES_PASSWORD", "POSTGRES_PASSWORD_FILE", "POSTGRES_HOST_AUTH_METHOD", "POSTGRESQL_PASSWORD"),
    "mariadb": (
        "MARIADB_ROOT_PASSWORD",
        "MARIADB_ROOT_PASSWORD_FILE",
        "MARIADB_ALLOW_EMPTY_ROOT_PASSWORD",
        "MARIADB_RANDOM_ROOT_PASSWORD",
    ),
    "mysql": (
        "MYSQL_ROOT_PASSWORD",
        "MYSQL_ROOT_PASSWORD_FILE",
        "MYSQL_ALLOW_EMPTY_PASSWORD",
        "MYSQL_RANDOM_ROOT_PASSWORD",
    ),
}


def servers(config: Mapping[str, Any]) -> tuple[Server, ...]:
    """Return the databases among the services of a resolved model, recognized by image, else by environment."""
    services = config.get("services") or {}
    by_image = [Server(name, kind) for name, entry in services.items() if (kind := _by_image(entry))]
    if by_image:
        # a job that uses the same image for its client has no variables that set up a database
        return tuple(s for s in by_image if _by_environment(services[s.service])) or tuple(by_image)
    return tuple(Server(name, kind) for name, entry in services.items() if (kind := _by_environment(entry)))


def server(config: Mapping[str, Any], wanted: str) -> Server:
    """Return the named database, or the only one. Problems: database-unknown, unknown-service."""
    found = servers(config)
    if wanted:
        services = config.get("services") or {}
        compose.check_name(wanted, tuple(services))
        kind = _by_image(services[wanted]) or _by_environment(services[wanted])
        if not kind:
            raise Problem(
                "database-unknown",
                f"The service {wanted!r} does not look like a supported database.",
                causes=[f"its image is {services[wanted].get('image') or 'built here'}"],
                hint=f"databases: {', '.join(s.service for s in found) or 'none in the compose file'}",
            )
        return Server(wanted, kind)
    if len(found) > 1:
        names = ", ".join(f"{s.service} ({NAMES[s.kind]})" for s in found)
        raise Problem(
            "database-unknown",
            f"The compose file has multiple databases: {names}.",
            hint=f"pass --service {found[0].service}, or set service under [tool.buildkit-tasks.database]",
        )
    if not found:
        raise Problem(
            "database-unknown",
            "The compose file has no supported database.",
            causes=["no service uses a PostgreSQL, MySQL or MariaDB image, or sets the variables for one"],
            hint="pass --service, or set url to a SQLite file under [tool.buildkit-tasks.database]",
        )
    return found[0]


def _by_image(entry: Mapping[str, Any]) -> str:
    if not entry.get("image"):
        return ""
    last = image_names.parse(str(entry["image"])).path.rsplit("/", 1)[-1]
    if _BESIDE.search(last):
        return ""
    return next((kind for kind, pattern in _IMAGES.items() if pattern.fullmatch(last)), "")


def _by_environment(entry: Mapping[str, Any]) -> str:
    environment = entry.get("environment") or {}
    if any(name.endswith(("_HOST", "DATABASE_URL")) and not name.endswith("_ROOT_HOST") for name in environment):
        return ""  # this program uses a database, but is not one
    return next((kind for kind, names in _SET_UP.items() if any(n in environment for n in names)), "")


def sqlite_file(url: str, root: Path) -> Path | None:
    """Return the file that sqlx would open for a `sqlite:` URL, relative to the project, None for any other URL.

    Raises `Problem` database-unsupported for an in-memory database.
    """
    match = re.fullmatch(r"sqlite:(?://)?([^?]*)(?:\?.*)?", url)
    if not match:
        return None
    if match[1] in ("", ":memory:"):
        raise Problem(
            "database-unsupported", "An in-memory SQLite database does not persist.", hint="use a URL with a file"
        )
    return root / match[1]
