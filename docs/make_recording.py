"""Record terminal sessions as animated pictures: ./dev python docs/make_recording.py [adopt] [build-80] [build-140]

Needs an engine that has the base images, and about three minutes for each picture. Every session starts without caches.
Long commands are sped up, and the title bar then shows by how much.
"""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import animation
from animation import Frame
from terminal import Terminal

from buildkit_tasks.core import run
from buildkit_tasks.core.model import Command
from buildkit_tasks.core.world import World
from buildkit_tasks.dockercli.docker import docker

ROOT = Path(__file__).parents[1]
REPOSITORIES = ROOT / "tests" / "repositories"
BIN = Path(sys.executable).parent

#: The longest time in seconds that a command takes in the picture, and how long its result stays.
LONGEST, PAUSE = 9.0, 2.5


@dataclass(frozen=True)
class Step:
    """A command to type. `asks`: the text to wait for before typing `answer`."""

    command: str
    asks: str = ""
    answer: str = ""


@dataclass(frozen=True)
class Scene:
    """A session in a copy of a repository. `before`: commands that are not shown."""

    repository: str
    picture: str
    title: str
    columns: int
    lines: int
    steps: Sequence[Step]
    before: Sequence[str] = ()


BUILD = (
    Step("invoke build"),
    Step("sed -i 's/degrees kelvin/kelvins/' crates/units/units.txt"),
    Step("invoke build"),
    Step("invoke build        # again"),
    Step("sed -i 's/if options.check/if options.chek/' crates/collector/src/main.rs"),
    Step("invoke build"),
)

SCENES = {
    "adopt": Scene(
        "guestbook",
        "docs/picture.svg",
        "adopt a repository, build it, edit it",
        80,
        26,
        (
            Step("buildkit-tasks init", "[y/N]", "y"),
            Step("invoke quickstart --yes"),
            Step("sed -i 's/Guestbook/Visitors/' templates/index.html"),
            Step("invoke up"),
            Step("curl -s $(docker compose port web 8080) | grep '<h1>'"),
        ),
    ),
    **{
        f"build-{columns}": Scene(
            "telemetry",
            f"docs/build-{columns}.svg",
            "first build, edit, nothing changed, compile error",
            columns,
            26,
            BUILD,
            ("buildkit-tasks init --yes",),
        )
        for columns in (80, 140)
    },
}


@dataclass
class Film:
    """The frames of a session, each with its time in seconds, and the first and last frame of each command."""

    terminal: Terminal | None = None
    frames: list[Frame] = field(default_factory=list)
    commands: list[tuple[int, int]] = field(default_factory=list)

    def see(self) -> None:
        """Keep the screen if it has changed, at most ten times a second."""
        if self.terminal is None:
            return
        now = time.monotonic()
        frame = Frame(now, animation.rows(self.terminal.screen))
        if self.frames and (frame.rows == self.frames[-1].rows or now - self.frames[-1].at < 0.1):
            return
        self.frames.append(frame)


def record(scene: Scene, root: Path) -> Film:
    """Type the commands into a shell and return the film."""
    film = Film()
    argv = ["env", r"PS1=\[\e[1;32m\]$\[\e[0m\] ", "bash", "--norc", "--noprofile", "-i"]
    terminal = film.terminal = Terminal(root, argv, scene.columns, scene.lines, film.see)
    _until_prompt(terminal)
    for step in scene.steps:
        _write(terminal, step.command)
        first = len(film.frames) - 1
        terminal.child.send("\n")
        if step.asks:
            terminal.until(step.asks)
            terminal.read(1.5)
            _write(terminal, step.answer + "\n")
        _until_prompt(terminal)
        film.commands.append((first, len(film.frames) - 1))
    terminal.child.close(force=True)
    return film


def _write(terminal: Terminal, text: str) -> None:
    for character in text:
        terminal.child.send(character)
        terminal.read(0.04)
    terminal.read(0.3)


def _until_prompt(terminal: Terminal) -> None:
    """Wait until the shell waits for a command."""
    terminal.read(0.5)
    while True:
        cursor = terminal.screen.cursor
        if cursor.x == 2 and terminal.screen.display[cursor.y].rstrip() == "$":
            terminal.read(0.2)
            return
        if not terminal.read(0.2):
            raise SystemExit("\n".join(terminal.lines))


def shortened(film: Film) -> list[Frame]:
    """Return the frames with new times: long commands are sped up, and each result stays for a while."""
    made: list[Frame] = []
    now, last = 0.0, film.frames[0].at
    for number, frame in enumerate(film.frames):
        command = next(((a, b) for a, b in film.commands if a < number <= b), None)
        speed = 1.0
        if command:
            speed = max(1.0, (film.frames[command[1]].at - film.frames[command[0]].at) / LONGEST)
        now += (frame.at - last) / speed if command else min(frame.at - last, 0.5)
        last = frame.at
        note = f"{speed:.0f} times faster than real time" if speed >= 1.5 else ""
        ends = any(number == b for _, b in film.commands)
        if made and now - made[-1].at < 0.2 and not ends:
            made[-1] = Frame(made[-1].at, frame.rows, note)
        else:
            made.append(Frame(now, frame.rows, note))
        now += PAUSE if ends else 0
    return made


def main(names: Sequence[str]) -> None:
    """Record the named scenes, or all of them."""
    for name in names or tuple(SCENES):
        scene = SCENES[name]
        with tempfile.TemporaryDirectory(prefix="demo-") as place:
            root = Path(place, scene.repository)
            shutil.copytree(REPOSITORIES / scene.repository, root)
            with sorted(root.rglob("*.rs"))[0].open("a") as source:
                source.write(f"\n// {secrets.token_hex(4)}\n")  # new to BuildKit's layer cache
            for command in ("git init -q", "git add -A", "git -c user.name=x -c user.email=x@x commit -qm x"):
                run.check(World.real(), Command(tuple(command.split()), root))
            for command in scene.before:
                run.check(World.real(), Command((str(BIN / command.split()[0]), *command.split()[1:]), root))
            try:
                film = record(scene, root)
            finally:
                run.capture(World.real(), docker(root, "compose", "down", "--volumes", "--rmi", "local"))
                run.capture(World.real(), Command((str(BIN / "invoke"), "cache.clear", "--yes"), root))
        picture = animation.svg(scene.title, scene.columns, scene.lines, shortened(film), 2 * PAUSE)
        (ROOT / scene.picture).write_text(picture, "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
