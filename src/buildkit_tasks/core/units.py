"""Parses sizes, ages and durations printed by buildx or written by users, and formats them for users. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_UNITS = {"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800, "month": 2592000, "year": 31536000}

#: Maximum length of a printed size or age to parse: listings contain text from other projects.
_LONGEST = 100


def size(text: str) -> int:
    """Parse `54.38MB` to bytes (decimal units, as printed by buildx; `GiB` is binary); 0 if it cannot be parsed."""
    found = re.match(r"([0-9]+(?:\.[0-9]+)?)\s*([kKMGT]?i?B)", text[:_LONGEST].strip())
    return round(float(found[1]) * _UNITS[found[2].lower()]) if found else 0


def amount(text: str) -> int:
    """Parse a size written by a user, `10GB` or `512MiB`, to bytes. Raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?b)", text.strip(), re.IGNORECASE)
    if not found:
        raise ValueError(text)
    return round(float(found[1]) * _UNITS[found[2].lower()])


def age(text: str) -> float:
    """Parse `6 minutes ago` to seconds; 0 if it cannot be parsed (counts as just used, so nothing is deleted)."""
    said = text[:_LONGEST]
    found = re.search(r"([0-9]+|an?|less than a)\s+(second|minute|hour|day|week|month|year)s?", said, re.IGNORECASE)
    if not found:
        return 0.0
    count = int(found[1]) if found[1].isdigit() else 1
    return float(count * _SECONDS[found[2].lower()])


def duration(text: str) -> float:
    """Parse `14d`, `12h`, `30m` to seconds. Raises ValueError."""
    found = re.fullmatch(r"(\d+)\s*([smhdw])", text.strip())
    if not found:
        raise ValueError(text)
    return float(int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[found[2]])


def human(amount: float) -> str:
    """Format bytes for users, in decimal units."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if amount >= factor:
            return f"{amount / factor:.1f} {unit}"
    return f"{amount:.0f} B"


def days(seconds: float) -> str:
    """Format a time span for users, in a single unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def counted(number: int, what: str) -> str:
    """Format a number with a noun that takes a plural s: `1 image`, `2 images`."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def bar(share: float, width: int = 20) -> str:
    """Return a bar for a share between 0 and 1, drawn in eighths of a character."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    return "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")


def severities(found: Iterable[str]) -> str:
    """Return the number of findings of each severity, for example `2 errors, 1 warning`."""
    each = list(found)
    counts = [counted(each.count(one), one) for one in ("error", "warning", "note") if one in each]
    return ", ".join(counts) or "nothing found"
