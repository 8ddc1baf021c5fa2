"""Generate the table of rooms in CONTRIBUTING.md from their docstrings and imports: `nox -s reference`."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import grimp
import tomli

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- rooms: begin -->", "<!-- rooms: end -->"


def order() -> list[list[str]]:
    """Return the layers of the import contract, from top to bottom."""
    contracts = tomli.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    return [[name.strip() for name in layer.split(":")] for layer in contracts[0]["layers"]]


def table() -> str:
    """Return a table with one row per room, in order: what it contains, and which rooms it imports."""
    graph = grimp.build_graph("buildkit_tasks", cache_dir=None)
    lines = ["| room | contains | imports |", "|---|---|---|"]
    names = [name for layer in order() for name in layer]
    for name in names:
        source = ROOT / "src" / "buildkit_tasks" / name / "__init__.py"
        about = (ast.get_docstring(ast.parse(source.read_text("utf-8"))) or "").partition("\n")[0]
        module = f"buildkit_tasks.{name}"
        used = [other for other in names if other != name and _direct(graph, module, f"buildkit_tasks.{other}")]
        lines.append(f"| `{name}/` | {about} | {', '.join(used) or '-'} |")
    return "\n".join(lines)


def _direct(graph: grimp.ImportGraph, importer: str, imported: str) -> bool:
    """Return whether any module of one room directly imports a module of the other."""
    inside = {importer, *graph.find_descendants(importer)}
    there = {imported, *graph.find_descendants(imported)}
    return any(there & graph.find_modules_directly_imported_by(module) for module in inside)


def page() -> str:
    """Return CONTRIBUTING.md with the current table."""
    text = PAGE.read_text("utf-8")
    made = f"{BEGIN}\n{table()}\n{END}"
    return re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: made, text, flags=re.DOTALL)
