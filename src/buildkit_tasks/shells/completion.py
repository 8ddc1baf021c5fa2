"""Shell completion. Invoke completes tasks and flags; this module completes services, platforms, profiles, mounts."""

from __future__ import annotations

import contextlib
import json
from importlib import resources
from pathlib import Path

from buildkit_tasks.config.root import compose_files, find_root
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import files, readfile, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.world import World

from . import buildkit_line
from .enable import chosen_shell

#: Options with values that we can complete, and the kind of each value.
KINDS = {
    "--service": "service",
    "--platform": "platform",
    "--profile": "profile",
    "--mount": "mount",
    "--shell": "shell",
    "--progress": "progress",
}
_FIXED = {
    "shell": list(buildkit_line.SHELLS),
    "progress": ["auto", "plain", "verbose", "quiet"],
    "platform": ["linux/amd64", "linux/arm64"],
}


def script(shell: str) -> str:
    """Return the completion script of a shell."""
    return resources.files("buildkit_tasks").joinpath(f"data/completion/invoke.{shell}").read_text("utf-8")


def place(world: World, shell: str) -> Path:
    """Return where the shell loads completions from (fish, bash-completion), or a directory to add to zsh's fpath."""
    data = world.env.get("XDG_DATA_HOME", "")
    share = Path(data) if data.startswith("/") else world.home / ".local" / "share"
    if shell == "fish":
        return buildkit_line.config_dir(world.env, world.home).parent / "fish" / "completions" / "invoke.fish"
    if shell == "bash":
        return share / "bash-completion" / "completions" / "invoke"
    return share / "zsh" / "site-functions" / "_invoke"


def state(world: World, shell: str) -> str:
    """Return the state of the installed script: missing, current or stale."""
    try:
        text = readfile.text(place(world, shell))
    except OSError:
        return "missing"
    return "current" if text == script(shell) else "stale"


def show(session: Session, wanted: str) -> None:
    """Print the script, for `source <(invoke completion bash)`."""
    session.report.answer(script(chosen_shell(session, wanted)))


def install(session: Session, wanted: str) -> None:
    """Install the script where the shell finds it. Problems: shell-unsupported, bad-argument, rc-unwritable."""
    shell = chosen_shell(session, wanted)
    path = place(session.world, shell)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, script(shell))
    except OSError as error:
        raise Problem(
            "rc-unwritable", f"{path} cannot be written: {error.strerror}.", hint=f"ls -ld {path.parent}"
        ) from error
    more = (
        f'; for zsh, add this line before compinit in ~/.zshrc: fpath=("{path.parent}" $fpath)'
        if shell == "zsh"
        else ""
    )
    session.report.say(f"wrote {path}; new shells will complete invoke commands{more}")


def values(session: Session, kind: str) -> list[str]:
    """Return an option's values, cached if possible because completion must be fast. Never raises `Problem`."""
    kind = KINDS.get(kind, kind)
    if kind in _FIXED:
        return _FIXED[kind]
    try:
        root = find_root(session.world)
        known = _remembered(session, root)
    except Problem:
        return []
    if kind == "profile":
        return ["release", "dev", *known.get("profiles", [])]
    return known.get(f"{kind}s", [])


def _remembered(session: Session, root: Path) -> dict[str, list[str]]:
    """Return the cached values, recomputed if one of their source files has changed."""
    sources = [*compose_files(root), root / ".env", *root.glob("Cargo.toml"), *root.glob("*/Cargo.toml")]
    stamp = [[str(p), s.st_mtime_ns, s.st_size] for p in sources if p.is_file() and (s := p.stat())]
    memory = session.state / "completion.json"
    kept = readfile.state(memory)
    with contextlib.suppress(ValueError):  # an invalid cache is recreated
        shapes.check(kept, {"values": {"*": [str]}})
        if kept.get("stamp") == stamp and kept.get("values"):
            return dict(kept["values"])
    from buildkit_tasks.project.discover import read_workspace

    workspace = read_workspace(session, looking=True)
    found = {
        "services": sorted({*workspace.names, *workspace.images}),
        "mounts": [f"{workspace.scope}-cargo-registry", f"{workspace.scope}-cargo-git"]
        + [f"{workspace.scope}-target-{p.rpartition('/')[2]}" for p in _FIXED["platform"]],
        "profiles": sorted(_profiles(sources)),
    }
    files.replace(memory, json.dumps({"stamp": stamp, "values": found}), durable=False)
    return found


def _profiles(sources: list[Path]) -> set[str]:
    """Return the profiles that the manifests define in addition to cargo's own."""
    import re

    texts = [readfile.text(p, "replace") for p in sources if p.name == "Cargo.toml" and p.is_file()]
    found = {name for text in texts for name in re.findall(r"^\[profile\.([\w-]+)\]", text, re.MULTILINE)}
    return found - {"release", "dev", "test", "bench"}
