"""Ask `docker compose config` for the values in many .env files at once.

Each file is the `env_file` of an included compose file with one service that lists the variables in its environment.
compose reads these files with the same code and environment as the project's own .env. Only errors that occur later,
when compose puts the values into its own environment (an empty name, a NUL), need a separate call.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.support import process

UNSET = "<not set>"


def plugin() -> Path:
    """Return the compose plugin itself: calling it without the docker command takes half the time."""
    listed = process.ok(["docker", "info", "--format", "{{json .ClientInfo.Plugins}}"], Path("/")).out
    return next(Path(p["Path"]) for p in json.loads(listed) if p["Name"] == "compose")


def read(compose: Path, place: Path, files: Sequence[bytes], names: Sequence[str]) -> list[dict[str, str]]:
    """Return the values of `names` in each file; raise AssertionError with compose's message if it rejects a file."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    environment = "".join(f"      {name}: '${{{name}-{UNSET}}}'\n" for name in names)
    includes = []
    for number, content in enumerate(files):
        (place / f"{number}.env").write_bytes(content)
        (place / f"{number}.yaml").write_text(f"services:\n  s{number}:\n    image: x\n    environment:\n{environment}")
        includes.append(f"  - path: {number}.yaml\n    project_directory: .\n    env_file: {number}.env\n")
    (place / "compose.yaml").write_text("name: oracle\ninclude:\n" + "".join(includes))
    done = process.run([compose, "config", "--format", "json"], place, ENVIRONMENT, timeout=120)
    assert done.code == 0, done.err
    services = json.loads(done.out)["services"]
    answers = [services[f"s{number}"]["environment"] for number in range(len(files))]
    return [{k: v.replace("$$", "$") for k, v in one.items() if v != UNSET} for one in answers]


def refusal(compose: Path, place: Path, content: bytes) -> str:
    """Return compose's error for a file used as the project's .env; return an empty string if it accepts the file."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    (place / ".env").write_bytes(content)
    (place / "compose.yaml").write_text("name: oracle\nservices: {s: {image: x}}\n")
    done = process.run([compose, "config", "--quiet"], place, ENVIRONMENT)
    said = [line for line in done.err.splitlines() if not line.startswith("time=")]
    return "\n".join(said) if done.code else ""


def line_of(said: str) -> int:
    """Return the line number in compose's message, or 0."""
    found = re.search(r": line (\d+): ", said)
    return int(found[1]) if found else 0


#: The only variables that files can get from the environment. None of docker's own variables are set.
ENVIRONMENT: dict[str, str | None] = {"SET": "from the environment", "EMPTY": ""}
