"""Register QEMU with the kernel for the duration of a measurement. Needs root.

https://docs.kernel.org/admin-guide/binfmt-misc.html
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import process

PLACE = Path("/proc/sys/fs/binfmt_misc")

#: The start of an ELF program for arm64: 64 bits, little endian, type EXEC or DYN (the mask ignores its last bit).
MAGIC = "7f454c460201010000000000000000000200b700"
MASK = "ffffffffffffff00fffffffffffffffffeffffff"


@contextmanager
def registered(emulator: Path) -> Iterator[None]:
    """Run arm64 programs with the emulator, also in containers. An existing registration is left unchanged."""
    mounted = not (PLACE / "register").exists()
    if mounted:
        process.ok(["mount", "-t", "binfmt_misc", "binfmt_misc", PLACE], Path("/"))
    try:
        if _known():
            print("  emulator: using the one that is already registered with the kernel")
            yield
        else:
            yield from _own(emulator)
    finally:
        if mounted:
            process.ok(["umount", PLACE], Path("/"))


def _known() -> bool:
    """Return whether arm64 programs already run; each entry contains its magic in hexadecimal."""
    entries = (p for p in PLACE.iterdir() if p.name not in ("register", "status"))
    return any(f"magic {MAGIC}" in entry.read_text() for entry in entries)


def _own(emulator: Path) -> Iterator[None]:
    name = f"buildkit-tasks-bench-{secrets.token_hex(3)}"
    # F: the kernel opens the emulator now, so containers do not have to contain it
    (PLACE / "register").write_text(f":{name}:M::{_escaped(MAGIC)}:{_escaped(MASK)}:{emulator}:F")
    try:
        yield
    finally:
        (PLACE / name).write_text("-1")


def _escaped(digits: str) -> str:
    return "".join(f"\\x{digits[i : i + 2]}" for i in range(0, len(digits), 2))
