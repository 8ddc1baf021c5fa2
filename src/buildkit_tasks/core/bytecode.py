"""Lets Python cache our compiled modules.

Invoke turns this off for the whole process, so that no `__pycache__` appears next to tasks.py. Tools that install
packages without compiling them (uv, `pip install --editable`) leave it to the first import, so every command would
compile all of our modules again: `build --plan` on the sample took 0.52 s instead of 0.42 s.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def cached() -> Iterator[None]:
    """Cache the bytecode of modules imported in this block, unless the user has turned it off (python -B)."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
