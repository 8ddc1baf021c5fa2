"""A repository before `init`, and the changes in a repository."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.support import process

#: The only secret in it.
PASSWORD = "dotenv-5d1c-password"


def tree(root: Path) -> dict[str, object]:
    """Return every file with its content and mode, except git's own."""
    return {
        str(path.relative_to(root)): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(root.rglob("*"))
        if ".git" not in path.relative_to(root).parts
    }


def adoptable(folder: Path) -> Path:
    """Create a repository before `init`: a crate, a typical Dockerfile, a compose file."""
    root = folder / "shop"
    shutil.rmtree(root, ignore_errors=True)
    (root / "src").mkdir(parents=True)
    texts = {
        "Cargo.toml": '[package]\nname = "shop"\nversion = "0.1.0"\nedition = "2021"\n',
        "Cargo.lock": 'version = 3\n\n[[package]]\nname = "shop"\nversion = "0.1.0"\n',
        "src/main.rs": "fn main() {}\n",
        "Dockerfile": "FROM rust:1-bookworm AS build\nWORKDIR /src\nCOPY . .\nRUN cargo build --release\n"
        "FROM debian:bookworm-slim\nCOPY --from=build /src/target/release/shop /usr/local/bin/shop\n"
        'CMD ["shop"]\n',
        "compose.yaml": "# ours\nservices:\n  shop:\n    build: .\n    image: bt-faults/shop:dev\n",
        ".env": f"DB_PASSWORD='{PASSWORD}'\n",
        ".gitignore": "target\n.env\n",
    }
    for name, text in texts.items():
        (root / name).write_text(text)
    process.ok(["git", "init", "-q"], root)
    process.ok(["git", "add", "-A"], root)
    return root


def changes(root: Path, before: Mapping[str, object]) -> list[str]:
    """Return the files that have changed."""
    now = tree(root)
    return sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))
