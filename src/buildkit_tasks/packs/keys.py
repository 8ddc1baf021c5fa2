"""Computes the keys of packs, and the tags made from them.

A pack of compiled crates and a pack of another tool's mount (npm, pip ...) both have an exact tag, which ends with the
key (a hash of all inputs), and a moving tag, which refers to the newest pack of its kind.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from buildkit_tasks.core import readfile
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.registry.names import Tag

from . import mounts, pack

#: Files that determine what a tool writes to its cache, by kind of mount.
KEY_FILES: Mapping[str, tuple[str, ...]] = {
    "npm": ("package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb"),
    "pip": ("requirements*.txt", "poetry.lock", "uv.lock", "Pipfile.lock", "pdm.lock"),
    "go": ("go.sum",),
}

#: Maximum size of a key file in bytes.
_LARGEST = 64 << 20

# ---------------------------------------------------------------------------------------------------- compiled crates


def _family(scope: str, platform: str, profile: str) -> str:
    """Return the first half of a tag: kind of pack, platform (`linux/arm64` or `arm64`) and profile."""
    return "-".join((scope, _word(platform.removeprefix("linux/")), _word(profile)))


def cargo_newest(scope: str, platform: str, facts: pack.Facts) -> Tag:
    """Return the moving tag, which refers to the newest pack for a toolchain."""
    return Tag(f"{_family(scope, platform, facts.profile)}-{_word(facts.toolchain)}")


def cargo_exact(scope: str, platform: str, facts: pack.Facts) -> Tag:
    """Return the tag derived from all inputs of the units: toolchain, lock file, manifests, flags and format."""
    inputs = (pack.FORMAT, facts.toolchain, facts.host, facts.profile, facts.rustflags, facts.lock, facts.manifests)
    digest = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]
    return Tag(f"{cargo_newest(scope, platform, facts)}-{digest}")


def _word(text: str) -> str:
    return re.sub(r"[^a-z0-9_.]", "_", text.lower())[:40]


def cargo_others(tags: Iterable[Tag], scope: str, platform: str, facts: pack.Facts) -> tuple[Tag, ...]:
    """Return the moving tags of the same kind of pack for other toolchains."""
    start = f"{_family(scope, platform, facts.profile)}-"
    return tuple(
        tag
        for tag in tags
        if tag.startswith(start) and "-" not in tag[len(start) :] and tag != cargo_newest(scope, platform, facts)
    )


# -------------------------------------------------------------------------------------------------- other tools' mounts


def mount_newest(one: mounts.Carried, arch: str) -> Tag:
    """Return the moving tag, which refers to the newest pack of a mount."""
    identity = hashlib.sha256(one.flag.encode()).hexdigest()[:12]
    return Tag(f"{mounts.SCOPE}-{one.kind}-{arch.replace('/', '_')}-{identity}")


def mount_exact(one: mounts.Carried, arch: str, key: str) -> Tag:
    """Return the tag for the state of the key files."""
    return Tag(f"{mount_newest(one, arch)}-{key}")


def mount_key(one: mounts.Carried, root: Path, named: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return a hash of the key files and of the steps that use the mount, and the names of these files.

    `named`: paths relative to `root` (`--key-file`), instead of the default files. Raises `Problem` bad-argument.
    """
    digest = hashlib.sha256(json.dumps(sorted(one.steps)).encode())
    files = [_named(root, path) for path in named] if named else _found(one)
    for path in files:
        try:
            content = readfile.content(path, _LARGEST)
        except OSError as error:
            raise Problem(
                "bad-argument",
                f"Cannot read the key file {path}.",
                causes=[str(error.strerror)],
                hint="pass a file in the repository to --key-file, for example --key-file package-lock.json",
            ) from error
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:16], tuple(path.name for path in files)


def _named(root: Path, path: str) -> Path:
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise Problem(
            "bad-argument", f"The key file {path!r} is not in the repository.", hint="use a path in the repository"
        )
    return root / path


def _found(one: mounts.Carried) -> list[Path]:
    """Return the key files at the top of the context, and those that the Dockerfile copies or mounts by name."""
    patterns = KEY_FILES.get(one.kind, ())
    if one.context is None:
        return []
    found: dict[Path, None] = {}
    for place in dict.fromkeys((PurePosixPath(), *(PurePosixPath(path.lstrip("/")) for path in one.copied))):
        if ".." in place.parts or "*" in str(place.parent):
            continue
        for pattern in patterns:
            if place.name and place.match(pattern):
                found |= dict.fromkeys(path for path in [one.context / place] if path.is_file())
            # a copied directory, or a pattern such as package*.json
            folder = place.parent if "*" in place.name else place
            if (one.context / folder).is_dir():
                found |= dict.fromkeys(path for path in (one.context / folder).glob(pattern) if path.is_file())
    return sorted(found)
