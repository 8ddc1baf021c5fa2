"""Run workflows without their CI systems: the shell lines of each job, in order, as the runner would start them.

A substitute for emulators: it supports what our templates use, and rejects everything else. Conditions, rules and
secrets are up to the caller.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML


@dataclass(frozen=True)
class Played:
    """A job: its shell scripts, the variables of each script, and all other keys of the job."""

    name: str
    scripts: tuple[str, ...]
    env: tuple[dict[str, str], ...]
    facts: dict[str, Any]


def github(text: str) -> dict[str, Played]:
    """Return the jobs of a GitHub workflow."""
    found = {}
    for name, job in YAML(typ="safe").load(text)["jobs"].items():
        steps = job["steps"]
        unknown = {key for step in steps for key in step} - {"name", "uses", "with", "run", "env", "if"}
        assert not unknown, unknown
        runs = [step for step in steps if "run" in step]
        scripts, env = tuple(s["run"] for s in runs), tuple(s.get("env", {}) for s in runs)
        found[name] = Played(name, scripts, env, job)
    return found


def gitlab(text: str) -> dict[str, Played]:
    """Return the jobs of a GitLab pipeline; each is one script, after `before_script`."""
    document = YAML(typ="safe").load(text)
    before = document["default"]["before_script"]
    jobs = {n: j for n, j in document.items() if n not in ("workflow", "stages", "variables", "default")}
    return {n: Played(n, ("\n".join([*before, *job["script"]]),), ({},), job) for n, job in jobs.items()}


def jenkins(text: str) -> dict[str, Played]:
    """Return the stages of a Jenkinsfile, found by its indentation."""
    found = {}
    for match in re.finditer(r"^    stage\('([^\n]*)'\) \{\n(.*?)^    \}\n", text, re.MULTILINE | re.DOTALL):
        body = match[2]
        scripts = []
        for shell in re.finditer(r"\bsh ('''(.*?)'''|'((?:\\.|[^'\\])*)')", body, re.DOTALL):
            scripts.append(shell[2] if shell[2] is not None else re.sub(r"\\(.)", r"\1", shell[3]))
        when = re.search(r"when \{ (.*) \}$", body, re.MULTILINE)
        secret = "withCredentials" in body
        facts = {"when": when[1] if when else "", "secret": secret, "text": body}
        found[match[1]] = Played(match[1], tuple(scripts), ({},) * len(scripts), facts)
    return found


def shims(place: Path, tools: Path) -> Path:
    """Create a directory for PATH with an `apk`, and a `python3` that links our tools into environments without pip."""
    place.mkdir()
    links = "".join(f'ln -s "{tools / name}" "$3/bin/{name}"\n' for name in ("invoke", "buildkit-tasks", "python3"))
    texts = {
        "python3": f'[ "$1 $2" = "-m venv" ] || exec "{tools}/python3" "$@"\nrm -rf "$3"\nmkdir -p "$3/bin"\n{links}'
        'printf \'#!/bin/sh\\nprintf "%%s\\\\n" "$@" >> "$PIP_LOG"\\n\' > "$3/bin/pip"\nchmod +x "$3/bin/pip"\n',
        "apk": "exit 0\n",
    }
    for name, text in texts.items():
        (place / name).write_text(f"#!/bin/sh\nset -e\n{text}")
        (place / name).chmod(0o755)
    return place
