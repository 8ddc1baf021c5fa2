"""QEMU registered with the kernel for the length of a measurement. Needs root.

https://docs.kernel.org/admin-guide/binfmt-misc.html
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import process

PLACE = Path("/proc/sys/fs/binfmt_misc")

#: The head of an ELF program for arm64: 64 bits, little endian, type EXEC or DYN (the mask leaves its last bit out).
MAGIC = "7f454c460201010000000000000000000200b700"
MASK = "ffffffffffffff00fffffffffffffffffeffffff"


@contextmanager
def registered(emulator: Path) -> Iterator[None]:
    """arm64 programs run under the emulator, in containers as well. What was there already stays as it is."""
    mounted = not (PLACE / "register").exists()
    if mounted:
        process.ok(["mount", "-t", "binfmt_misc", "binfmt_misc", PLACE], Path("/"))
    try:
        if _known():
            print("  emulator: one is registered with the kernel already, it is used")
            yield
        else:
            yield from _own(emulator)
    finally:
        if mounted:
            process.ok(["umount", PLACE], Path("/"))


def _known() -> bool:
    """Whether arm64 programs run already; each entry shows its magic in hexadecimal."""
    entries = (p for p in PLACE.iterdir() if p.name not in ("register", "status"))
    return any(f"magic {MAGIC}" in entry.read_text() for entry in entries)


def _own(emulator: Path) -> Iterator[None]:
    name = f"buildkit-tasks-bench-{secrets.token_hex(3)}"
    # F: the kernel opens the emulator now; a container does not have to contain it
    (PLACE / "register").write_text(f":{name}:M::{_escaped(MAGIC)}:{_escaped(MASK)}:{emulator}:F")
    try:
        yield
    finally:
        (PLACE / name).write_text("-1")


def _escaped(digits: str) -> str:
    return "".join(f"\\x{digits[i : i + 2]}" for i in range(0, len(digits), 2))
