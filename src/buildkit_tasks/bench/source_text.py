"""Edits of a Rust workspace's files, as text: a string literal, a comment, a dependency. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping


def edit_literal(text: str, find: str, marker: str) -> str:
    """Append the marker to the text `find` in a string literal. Replaces an earlier marker. Raises ValueError."""
    pattern = re.escape(find) + r"( bench-[0-9a-f]+)?"
    changed, count = re.subn(pattern, lambda _: f"{find} {marker}", text, count=1)
    if not count:
        raise ValueError(f"text {find!r} not found")
    return changed


def add_dependency(manifest: str, lock: str, package: str, crate: Mapping[str, str]) -> tuple[str, str]:
    """Add a crates.io dependency to `package` in Cargo.toml and Cargo.lock, as cargo would write them.

    `crate` has name, version and checksum. Raises ValueError if the dependency exists or the package does not.
    """
    name = crate["name"]
    if f'name = "{name}"\n' in lock:
        raise ValueError(f"{name} is already in Cargo.lock")
    new = (
        f'[[package]]\nname = "{name}"\nversion = "{crate["version"]}"\n'
        'source = "registry+https://github.com/rust-lang/crates.io-index"\n'
        f'checksum = "{crate["checksum"]}"\n'
    )
    head, *packages = re.split(r"\n(?=\[\[package\]\])", lock.rstrip("\n") + "\n")
    found = False
    for i, text in enumerate(packages):
        if text.startswith(f'[[package]]\nname = "{package}"\n') and "source =" not in text:
            inside = re.search(r"dependencies = \[\n(.*?)\]", text, re.DOTALL)
            names = sorted([*re.findall(r'"([^"]+)"', inside[1] if inside else ""), name])
            listing = "dependencies = [\n" + "".join(f' "{n}",\n' for n in names) + "]"
            bare = text.replace(inside[0], "").rstrip("\n") if inside else text.rstrip("\n")
            packages[i] = f"{bare}\n{listing}\n"
            found = True
    if not found:
        raise ValueError(f"no package {package!r} in Cargo.lock")
    # the lock file is in cargo's own order (numeric versions), so search only for the position of the new package
    place = next((i for i, t in enumerate(packages) if re.findall(r'"([^"]+)"', t)[0] > name), len(packages))
    lock = "\n".join([head, *packages[:place], new, *packages[place:]])
    manifest, count = re.subn(r"(?m)^\[dependencies\]\n", f'[dependencies]\n{name} = "={crate["version"]}"\n', manifest)
    if count != 1:
        raise ValueError("Cargo.toml has no [dependencies] section")
    return manifest, lock


def comment(text: str, marker: str) -> str:
    """Append a comment with the marker to a source file. Replaces an earlier one."""
    kept = re.sub(r"(?m)^// bench-[0-9a-f]+\n?\Z", "", text)
    return f"{kept.rstrip()}\n// {marker}\n"


def bump_dependency(manifest: str, lock: str, crate: Mapping[str, str]) -> tuple[str, str]:
    """Change a dependency that `add_dependency` added to another version, in Cargo.toml and Cargo.lock.

    Raises ValueError if Cargo.lock does not contain it.
    """
    name, version = re.escape(crate["name"]), crate["version"]
    entry = rf'(\[\[package\]\]\nname = "{name}"\nversion = ")[^"]+("\nsource = "[^"]+"\nchecksum = ")[^"]+"'
    lock, count = re.subn(entry, lambda m: f'{m[1]}{version}{m[2]}{crate["checksum"]}"', lock)
    if count != 1:
        raise ValueError(f"{crate['name']} is not in Cargo.lock")
    return re.sub(rf'(?m)^{name} = "=[^"]+"', f'{crate["name"]} = "={version}"', manifest), lock
