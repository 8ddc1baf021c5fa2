"""Render the output of real commands as docs/picture.svg: ./dev python docs/make_picture.py 'invoke build'"""

from __future__ import annotations

import io
import re
import shlex
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from buildkit_tasks.core import run
from buildkit_tasks.core.model import Command
from buildkit_tasks.core.world import World

HERE = Path(__file__).parent


def main(lines: list[str]) -> None:
    """Run each line as a command in the root of the repository; stop at the first failure."""
    console = Console(record=True, width=104, file=io.StringIO())
    for line in lines:
        console.print(Text(f"$ {line}", style="bold cyan"))
        result = run.check(World.real(), Command(tuple(shlex.split(line)), HERE.parent))
        for said in (result.stderr + result.stdout).splitlines():
            style = "bold green" if said.startswith(("built", "everything", "ready")) else ""
            console.print(Text(said, style=style), soft_wrap=True)
    picture = console.export_svg(title="buildkit-tasks")
    # no external fonts: every reader has a monospace font
    (HERE / "picture.svg").write_text(re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
