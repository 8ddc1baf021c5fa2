"""The documentation only links to existing files, and only mentions existing tasks."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from buildkit_tasks.tasks import namespace

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted((*REPOSITORY.glob("*.md"), *(REPOSITORY / "docker").glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    broken = [x for x in links if "://" not in x and not (page.parent / x).exists()]
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_every_task_that_is_named_exists(page: Path) -> None:
    known = {*namespace.task_names, *(alias for names in namespace.task_names.values() for alias in names)}
    # inside code spans and blocks: `invoke NAME`, unless NAME is an option
    text = "\n".join(re.findall(r"`[^`\n]+`|^(?: {4}|\$ ).+$", page.read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"\binvoke ([a-z][a-z.-]+[a-z])\b", text))
    assert named - known == set()


def test_the_table_of_rooms_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("make_rooms", REPOSITORY / "docs" / "make_rooms.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert made.page() == (REPOSITORY / "CONTRIBUTING.md").read_text(), "run nox -s reference"
