"""Repositories of real size, with up to 220 crates: files of `tests/repositories` by path.

guestbook: one crate with sqlx's prepared queries, migrations, templates and assets. telemetry: a workspace with a C
library, protos, build scripts and a proc macro. shop: a workspace in a subdirectory, a front end in another language,
several compose files and a profile.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.support.repositories import Files

_PLACE = Path(__file__).parents[1] / "repositories"


def _read(name: str) -> Files:
    place = _PLACE / name
    return {str(path.relative_to(place)): path.read_text() for path in sorted(place.rglob("*")) if path.is_file()}


SHAPES: dict[str, Callable[[], Files]] = {name: partial(_read, name) for name in ("guestbook", "shop", "telemetry")}

#: For each repository: the arguments of `init`, the service to check, its output, and an edit that changes the output.
CASES = {
    "guestbook": (
        (),
        "web",
        "Guestbook is open: 0 entries",
        ("templates/index.html", "Guestbook", "Visitors"),
    ),
    "shop": ((), "api", "selling chair for 3900, metrics: true", ("backend/catalog/articles.json", "3900", "3800")),
    "telemetry": ((), "collector", "degrees kelvin", ("crates/units/units.txt", "degrees kelvin", "kelvins")),
}

#: For each repository: a crate that plain compose must not compile again. In shop, plain compose also compiles the
#: service in the inactive profile, which must not enable other features of the same crates.
KEPT = {"guestbook": "sqlx-core", "telemetry": "prost", "shop": "axum"}
