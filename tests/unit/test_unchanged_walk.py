"""Random sequences of everything that can happen to a project: `nothing changed` is printed only if nothing did.

Real files, a real socket. A build reads the files at some time between its start and its end, so the recorded state
must be the only state during that time.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from tests.support.engine_socket import listening
from tests.support.unchanged_site import BASE, FILES, Site

EXAMPLES = int(os.environ.get("BT_UNCHANGED_EXAMPLES", "60"))

Event = Callable[[Site, random.Random], None]

EDITED = ("app/a", "app/b", "app/sub/c", "app/Dockerfile", "app/.dockerignore", ".env", "compose.yaml", "app/ignored/x")


def _times_kept(path: Path, change: Callable[[], object]) -> None:
    before = path.stat() if path.exists() else None
    change()
    if before and path.exists():
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _other(path: Path, chance: random.Random) -> str:
    """Return a different content, with the same length if possible."""
    name = "/".join(path.parts[-2:]) if path.parent.name == "app" else path.name
    text = FILES.get(name) or FILES.get(f"app/sub/{path.name}") or "zzzz\n"
    if path.name == ".dockerignore":
        return chance.choice(("ignored\n*.swp\n", "ignored\nsubs\n\n", "ignored\n"))
    return text.replace("o", chance.choice("opq"), 1) if len(text) > 6 else chance.choice("abcd") * 4 + "\n"


def edit(site: Site, chance: random.Random) -> None:
    """Edit in place, same size, old time."""
    path = site.root / chance.choice(EDITED)
    if path.is_file():
        _times_kept(path, lambda: path.write_text(_other(path, chance)))


def replace(site: Site, chance: random.Random) -> None:
    """Replace by renaming, same size, old time."""
    path = site.root / chance.choice(EDITED)
    part = site.root / "other/part"
    part.write_text(_other(path, chance))
    if path.is_file() and not path.is_symlink():
        shutil.copystat(path, part)
        part.replace(path)


def swap(site: Site, chance: random.Random) -> None:
    """Exchange two files with mv."""
    one, two, between = site.root / "app/a", site.root / "app/b", site.root / "other/between"
    if one.is_file() and two.is_file():
        one.rename(between)
        two.rename(one)
        between.rename(two)


def swap_directories(site: Site, chance: random.Random) -> None:
    """Replace a directory with another one with the same names."""
    one, two, between = site.root / "app/sub", site.root / "other", site.root / "between"
    if one.is_dir():
        (two / "c").write_text(chance.choice(("cccc\n", "dddd\n")))
        one.rename(between)
        two.rename(one)
        between.rename(two)


def retarget(site: Site, chance: random.Random) -> None:
    """Change the target of a link."""
    link = site.root / "app/link"
    link.unlink()
    link.symlink_to(chance.choice("abc"))


def mode(site: Site, chance: random.Random) -> None:
    """Only change the permissions."""
    path = site.root / chance.choice(("app/a", "app/sub"))
    if path.exists():
        path.chmod(chance.choice((0o755, 0o700, 0o775)))


def through_a_hard_link(site: Site, chance: random.Random) -> None:
    """Edit through another name of the same file."""
    other = site.root / "other/hard"
    other.unlink(missing_ok=True)
    path = site.root / "app/b"
    if path.is_file():
        other.hardlink_to(path)
        _times_kept(other, lambda: other.write_text(chance.choice("abcd") * 4 + "\n"))


def come_and_go(site: Site, chance: random.Random) -> None:
    """Add or remove a file or an empty directory."""
    path = (
        site.root
        / "app"
        / chance.choice(("new", "sub/new", "empty", "x.swp", "ignored/y", "a", "Dockerfile.dockerignore"))
    )
    if path.is_dir():
        path.rmdir()
    elif path.exists():
        path.unlink()
    elif path.name == "empty":
        path.mkdir()
    elif path.parent.is_dir():
        path.write_text("ignored\nb\n" if "ignore" in path.name else "new\n")


def shape(site: Site, chance: random.Random) -> None:
    """Replace a file with a directory, or a directory with a file."""
    path = site.root / "app/b"
    if path.is_file():
        path.unlink()
        path.mkdir()
    elif path.is_dir():
        path.rmdir()
        path.write_text("bbbb\n")


def override(site: Site, chance: random.Random) -> None:
    """Add or remove a compose file or a .env."""
    path = site.root / chance.choice(("compose.override.yaml", "docker-compose.override.yml", "compose.yml", ".env"))
    if path.exists():
        path.unlink()
    else:
        path.write_text("WORD=dev\n" if path.name == ".env" else "services: {one: {build: {args: {X: 1}}}}\n")


def environment(site: Site, chance: random.Random) -> None:
    """Change a variable, sometimes one that only describes the terminal."""
    name = chance.choice(("WORD", "DOCKER_DEFAULT_PLATFORM", "SHLVL", "http_proxy", "TERM"))
    site.env[name] = chance.choice(("1", "2", ""))
    if chance.random() < 0.3:
        del site.env[name]


def images(site: Site, chance: random.Random) -> None:
    """Move a tag, remove an image, or switch the engine."""
    name = chance.choice(("shop/one:dev", "shop/two:dev", BASE))
    what = chance.randrange(4)
    if what == 0:
        site.engine.images.pop(name, None)
    elif what == 1:
        site.engine.images[name] = "sha256:" + chance.choice("abc") * 64
    elif what == 2:
        site.engine.images[name] = site.engine.images.get("shop/one:dev", "sha256:" + "d" * 64)
    else:
        site.engine.engine = chance.choice(("engine-1", "engine-2"))


def times(site: Site, chance: random.Random) -> None:
    """Set times back or ahead."""
    path = site.root / "app/a"
    if path.exists():
        os.utime(path, (chance.choice((0, 4e9)),) * 2)


def whole(site: Site, chance: random.Random) -> None:
    """Move the context to another directory behind a link."""
    app, copy = site.root / "app", site.root / "copy"
    if app.is_symlink():
        app.unlink()
        copy.rename(app)
    else:
        app.rename(copy)
        app.symlink_to(copy)


def state(site: Site, chance: random.Random) -> None:
    """Remove or damage a record in the state directory."""
    for path in site.session().state.glob("unchanged/*"):
        data = path.read_bytes()
        path.write_bytes(chance.choice((b"", data[: len(data) // 2], b"{}", b"[]", data)))


EVENTS: tuple[Event, ...] = (
    *(edit, edit, replace, replace, swap, swap_directories, retarget, mode, through_a_hard_link, come_and_go),
    *(come_and_go, shape, override, environment, images, times, whole, state),
)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(st.integers(0, 2**32), st.lists(st.sampled_from("eeeebBcq"), min_size=4, max_size=25))
def test_nothing_changed_is_said_only_where_nothing_changed(seed: int, steps: list[str]) -> None:
    chance = random.Random(seed)  # not Hypothesis' own: how often a build draws depends on its speed
    with tempfile.TemporaryDirectory(prefix="bt-unchanged-") as place, listening(Path(place, "s")) as engine:
        site = Site(Path(place), engine)
        recorded: list[object] = []
        held: list[str] = []

        def happen() -> None:
            chance.choice(EVENTS)(site, chance)

        def busy() -> None:
            """Sometimes make a change in the middle of a build."""
            seen.append(site.truth())
            if chance.random() < 0.15:
                happen()
            seen.append(site.truth())

        for step in ["q", "b", *steps]:
            if step == "e":
                happen()
            elif step == "q":
                time.sleep(0.06)
            elif step in "bB":
                seen: list[object] = [site.truth()]
                why = site.build(busy, busy, busy) if step == "B" else site.build()
                recorded = [site.truth()] if not why and _one_state([*seen, site.truth()]) else []
            if site.holds():
                assert recorded == [site.truth()], "a change was not seen"
                held.append(step)

        assert held, "even the first build proved nothing"
        event(f"held after {len(held) * 10 // (len(steps) + 2)} of 10 steps")


def _one_state(truths: list[object]) -> bool:
    """Return whether a build can only have used one state: of files since its start, of the engine since its plan."""
    files = [one[:5] for one in truths if isinstance(one, tuple)]
    engines = [(one[5].get(BASE), one[6]) for one in truths if isinstance(one, tuple)]
    planned = engines[2:] or engines  # the third one is recorded after the changes before the plan
    return all(one == files[0] for one in files) and all(one == planned[0] for one in planned)
