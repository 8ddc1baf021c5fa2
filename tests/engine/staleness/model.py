"""A Python model of what a tree's programs must print, used to check the random steps.

The model is a thousand times cheaper than a build from scratch. Some steps are also checked with such a build, so
errors in the model are noticed.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.engine.staleness.site import Build
from tests.engine.staleness.tree import API, COMMON, WORKER

_QUOTED = '"(.*)"'


class DoesNotCompile(Exception):
    """The tree is broken: a build must fail."""


def expected(context: Path, build: Build) -> dict[str, str] | None:
    """Return each program's output, or None if the tree does not compile."""
    try:
        shared = _report(context, build)
        programs = {}
        for name in build.bins.split():
            package, notes = (API, f"{WORKER}/notes") if name == "api" else (WORKER, "services/migrations")
            text = (context / package / "src/main.rs").read_text()
            own = re.search(r'println!\("(\w+ \w+)"\);', text)
            if own is None:
                raise DoesNotCompile(name)
            lines = [own[1], f"other {_listing(context / notes)}", *shared]
            if "mod gen;" in text:
                lines.insert(0, _read(context / package / "gen.in"))
            programs[name] = "\n".join(lines) + "\n"
        return programs
    except DoesNotCompile:
        return None


def _report(context: Path, build: Build) -> list[str]:
    common, services = context / COMMON, context / "services"
    args = dict(build.args)
    manifest = _read(common / "Cargo.toml")
    lock = _read(services / "Cargo.lock")
    version = _find(r'(?m)^version = "(.*)"$', manifest)
    if f'name = "common"\nversion = "{version}"' not in lock:
        raise DoesNotCompile("the lock file is out of date")
    dep = _find(r'name = "dep"\nversion = "(.*)"', lock)
    config = _read(services / ".cargo/config.toml")
    extra = 'default = ["extra"]' in manifest
    vendored = _read(services / f"vendor/dep-{dep}/src/lib.rs")
    release = args.get("PROFILE", "release") == "release"
    asserts = (
        "debug-assertions = true" in _read(services / "Cargo.toml").split("[profile.fast]")[0] if release else True
    )
    toolchain = services / "rust-toolchain"
    flavor = "b" if build.image == "rustc" else "a"
    flavor = _read(toolchain) if toolchain.exists() else flavor
    return [
        f"part {_part(common)}",
        f"facts {_facts(common, args)}",
        f"sql {_listing(common / 'sql')}",
        f"text {_read(common / 'data/text.txt')}",
        f"link {_read(common / 'data/link.txt')}",
        f"dirlink {_read(common / 'data/dirlink/file.txt')}",
        f"outside {_read(common / 'outside/note.txt')}",
        f"greeting {args.get('GREETING', '-')}",
        f"extra {str(extra).lower()}",
        f"version {version}",
        f"configured {str('configured' in config).lower()}",
        f"asserts {str(asserts).lower()}",
        f"dep {_find(_QUOTED, vendored)}",
        f"rustc {flavor}",
        f"sys {2 if build.image == 'library' else 1}",
    ]


def _part(common: Path) -> str:
    places = [path for path in (common / "src/part.rs", common / "src/part/mod.rs") if path.exists()]
    if len(places) != 1:
        raise DoesNotCompile("no module, or two of them")
    return _find(_QUOTED, _read(places[0]))


def _facts(common: Path, args: dict[str, str]) -> str:
    value = common / "input/value"
    text = ",".join(sorted(path.name for path in value.iterdir())) if value.is_dir() else _read(value)
    executable = bool((common / "input/tool.sh").stat().st_mode & 0o100)
    listed = ",".join(sorted(path.name for path in (common / "listed").iterdir()))
    return f"value={text} exec={str(executable).lower()} listed={listed} untracked={args.get('UNTRACKED', '')}"


def _listing(directory: Path) -> str:
    found = [f"{path.name}={path.read_text().strip()}" for path in directory.iterdir()] if directory.is_dir() else []
    return " ".join(sorted(found, key=str.encode))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        raise DoesNotCompile(str(path)) from None


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise DoesNotCompile(f"{pattern} is not in the text")
    return found[1]
