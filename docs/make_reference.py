"""Write the generated pages of docs/reference: `nox -s reference`. A unit test fails if they are out of date."""

from __future__ import annotations

from pathlib import Path

import make_rooms

from buildkit_tasks.config import settings_reference
from buildkit_tasks.makefile import examples
from buildkit_tasks.samples import schema as bench_schema

HERE = Path(__file__).parent / "reference"

if __name__ == "__main__":
    (HERE / "settings.md").write_text(settings_reference.markdown(), "utf-8")
    (HERE / "settings.schema.json").write_text(settings_reference.schema(), "utf-8")
    (HERE / "bench.schema.json").write_text(bench_schema.schema(), "utf-8")
    page = HERE.parent / "how-to" / "from-make.md"
    page.write_text(examples.page(page.read_text("utf-8")), "utf-8")
    make_rooms.PAGE.write_text(make_rooms.page(), "utf-8")
