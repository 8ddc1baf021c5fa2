"""Format errors and warnings for each CI system. Pure.

GitHub: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
GitLab: https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable

from buildkit_tasks.buildlog.remarks import Remark, clean


def github(remarks: Iterable[Remark]) -> list[str]:
    """Return workflow commands, one per remark."""
    lines = []
    for remark in remarks:
        facts = {"file": remark.file, "line": remark.line, "col": remark.column, "title": remark.check}
        given = ",".join(f"{name}={_property(str(value))}" for name, value in facts.items() if value)
        lines.append(f"::{remark.severity} {given}::{_data(remark.message)}")
    return lines


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(clean(text)).replace(":", "%3A").replace(",", "%2C")


def code_quality(remarks: Iterable[Remark]) -> str:
    """Return GitLab's code quality report."""
    grades = {"error": "major", "warning": "minor"}
    return json.dumps(
        [
            {
                "description": remark.message,
                "check_name": remark.check,
                "fingerprint": hashlib.sha256(f"{remark.file}\0{remark.line}\0{remark.message}".encode()).hexdigest(),
                "severity": grades.get(remark.severity, "info"),
                "location": {"path": remark.file, "lines": {"begin": max(remark.line, 1)}},
            }
            for remark in remarks
        ],
        indent=1,
    )


def code(text: str) -> str:
    """Return text as code for a Markdown table cell. A file's name may contain a backtick or a bar."""
    inside = clean(text).replace("|", "\u2502")
    longest = max(map(len, re.findall("`+", inside)), default=0)
    fence, space = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{space}{inside}{space}{fence}"


def markdown(text: str) -> str:
    """Escape text for Markdown, including table cells."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&@-])", r"\\\1", clean(text))
