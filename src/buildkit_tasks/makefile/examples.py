"""The table of commands in docs/how-to/from-make.md, generated from the mapping by `nox -s reference`. Pure."""

from __future__ import annotations

import re

from buildkit_tasks.equivalents.calls import Facts

from . import makefile, recipes
from .model import Step

BEGIN, END = "<!-- commands: begin -->", "<!-- commands: end -->"

#: Recipe lines as found in Makefiles, for a project that runs a database `shop` and builds an image.
COMMANDS = (
    "cargo test",
    "cargo test -p api -- --nocapture",
    "SQLX_OFFLINE=true cargo test --release",
    "cargo check --workspace --all-targets",
    "cargo clippy --all-features -- -D warnings",
    "cargo fmt --all -- --check",
    "cargo doc --no-deps",
    "cargo update -p serde",
    "cargo audit",
    "cargo tarpaulin",
    "cargo clean",
    "docker compose build api",
    "docker compose up -d --build",
    "docker compose -f compose.yaml -f compose.dev.yaml up -d",
    "docker compose -f deploy/compose.yaml down",
    "docker compose --profile mcp up -d",
    "docker compose down -v",
    "docker compose restart api",
    "docker compose ps",
    "docker compose logs -f $(SERVICE)",
    "docker compose exec api /bin/sh",
    "docker compose exec postgres psql -U shop",
    "docker compose run --rm api migrate --all",
    "docker build -t shop/api:dev .",
    "docker buildx build --platform linux/amd64,linux/arm64 -t shop/api:dev .",
    "sqlx migrate run",
    "diesel migration run",
    "refinery migrate",
    "createdb shop_test",
    "dropdb shop",
    "psql -d shop -f seed.sql",
    "cargo build --release",
    "cargo run --bin api",
    "cargo +nightly fmt",
    "cd backend && cargo test",
    "DATABASE_URL=postgres://localhost/shop cargo test",
    "docker compose up",
    "docker compose down --rmi local",
    "docker system prune -f",
    "docker build --build-arg SHA=1 -t shop/api:dev .",
    "docker push shop/api:dev",
    "sqlx migrate run --database-url postgres://db/other",
    "cargo test | tee test.log",
    "./scripts/test.sh",
)

FACTS = Facts(
    ("compose.yaml",),
    ("api", "postgres"),
    {"shop/api:dev": "api"},
    {"shop": "postgres"},
    service_word=makefile.service_word,
)


def line(command: str, invoke: str = "invoke") -> recipes.Line:
    """Return the mapping of one command."""
    return recipes.line(Step(0, 0, command), makefile.syntax({}), FACTS, invoke)


def table() -> str:
    """Return two tables: commands that a task replaces, and commands that are kept."""
    sure, stays = [], []
    for command in COMMANDS:
        found = line(command)
        if found.why:
            near = f"`{found.perhaps.text('invoke')}`" if found.perhaps else "-"
            stays.append(f"| {_code(command)} | {found.why} | {near.replace('|', '&#124;')} |")
        else:
            notes = "; ".join(call.note for call in found.calls if call.note)
            sure.append(f"| {_code(command)} | {_code(found.text)} | {notes} |")
    return "\n".join(
        [
            "| command | becomes | what differs |",
            "|---|---|---|",
            *sure,
            "",
            "| command | why it is kept | nearest task |",
            "|---|---|---|",
            *stays,
        ]
    )


def _code(text: str) -> str:
    return f"`{text}`" if "|" not in text else f"<code>{text.replace('|', '&#124;')}</code>"


def page(text: str) -> str:
    """Return the page with the current tables."""
    return re.sub(f"{BEGIN}.*?{END}", lambda _: f"{BEGIN}\n{table()}\n{END}", text, flags=re.DOTALL)
