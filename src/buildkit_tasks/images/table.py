"""The output of `invoke images`: the base images, where each one came from, and its size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.model import Engine

from . import names as image_names
from . import offline
from .choice import decide


def table(session: Session, facts: Engine, refs: Sequence[str], *, again: bool = False) -> list[dict[str, object]]:
    """Return one row per reference: the image used, its source, and its id and size (bytes) if the engine has it."""
    decisions = decide(session, facts, refs, again=again)
    found_images = offline.details(session, [d.use for d in decisions.values()])
    rows: list[dict[str, object]] = []
    for decision in decisions.values():
        found: Mapping[str, object] = found_images.get(decision.use, {})
        recipe = image_names.recipe_for(decision.reference)
        made_by = offline.recipe_hash(recipe) if recipe else ""
        old = decision.source == "offline" and bool(found) and found.get("recipe") != made_by
        rows.append(
            {
                "reference": decision.reference,
                "source": decision.source,
                "use": decision.use,
                "id": found.get("id", ""),
                "bytes": found.get("bytes", 0),
                "recipe": recipe.stage if recipe else "",
                "outdated": old,
            }
        )
    return rows


def print_result(session: Session, rows: Sequence[Mapping[str, object]]) -> None:
    """Print the result of `invoke images`."""
    if session.report.json_only:
        session.report.envelope({"images": list(rows)})
        return
    where = {
        "local": "in the engine",
        "registry": "registry",
        "mirror": "mirror",
        "offline": "Debian packages",
        "none": "nowhere",
    }
    session.report.table(
        ("image", "comes from", "used", "id", "size"),
        [
            (
                str(r["reference"]),
                where[str(r["source"])] + (" (older recipe)" if r["outdated"] else ""),
                str(r["use"]) if r["use"] != r["reference"] else "unchanged",
                str(r["id"]).removeprefix("sha256:")[:12] or "not in the engine",
                f"{r['bytes'] / 1e6:.0f} MB" if isinstance(r["bytes"], int) and r["bytes"] else "-",
            )
            for r in rows
        ],
    )
    if any(r["source"] == "offline" and (r["outdated"] or not r["id"]) for r in rows):
        session.report.say("to build or update images from packages: invoke images.build")
