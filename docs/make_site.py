"""Build the documentation site: `python docs/make_site.py [DIRECTORY]` (default: site/).

The pages are the repository's Markdown files. They keep their paths, so links work both on the site and on GitHub.
Links to other files in the repository point to GitHub.
"""

from __future__ import annotations

import functools
import logging
import os
import posixpath
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[1]
CONFIG = REPOSITORY / "docs" / "mkdocs.yml"
_LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)]*)?\))")


def main() -> None:
    """Copy the pages, build the site, and fail on any warning."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else REPOSITORY / "site").resolve()
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as scratch:
        pages = Path(scratch) / "pages"
        copy_pages(pages, config["repo_url"])
        decisions = sorted((pages / "docs/adr").glob("*.md"))
        config["nav"][-1]["Project"].append({"Decisions": [f"docs/adr/{page.name}" for page in decisions]})
        config |= {"docs_dir": str(pages), "site_dir": str(target)}
        file = Path(scratch) / "mkdocs.yml"
        file.write_text(yaml.safe_dump(config), "utf-8")
        os.environ["NO_MKDOCS_2_WARNING"] = "1"  # suppresses an advertisement on stderr
        from mkdocs.commands.build import build
        from mkdocs.config import load_config

        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        build(load_config(str(file)))


def copy_pages(pages: Path, forge: str) -> None:
    """Copy every page and picture; make links to other files point to GitHub."""
    for file in sorted({*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docker/*.md"), *REPOSITORY.glob("docs/**/*.md")}):
        place = file.relative_to(REPOSITORY)
        copied = pages / place
        copied.parent.mkdir(parents=True, exist_ok=True)
        lead = functools.partial(_lead, page=place, forge=forge)
        copied.write_text(_LINK.sub(lead, file.read_text("utf-8")), "utf-8")
    for picture in REPOSITORY.glob("docs/*.svg"):
        (pages / picture.relative_to(REPOSITORY)).write_bytes(picture.read_bytes())


def _lead(link: re.Match[str], page: Path, forge: str) -> str:
    """Return links to pages, pictures and other sites unchanged; make other links point to GitHub."""
    words = link[2]
    if "://" in words or words.endswith((".md", ".svg")):
        return link[0]
    found = posixpath.normpath(posixpath.join(page.parent.as_posix(), words))
    kind = "tree" if (REPOSITORY / found).is_dir() else "blob"
    return f"{link[1]}{forge}/{kind}/main/{found}{link[3]}"


if __name__ == "__main__":
    main()
