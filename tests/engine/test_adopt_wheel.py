"""Install the wheel into an empty environment on an empty machine: it must not depend on the repository."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from pathlib import Path

import pytest

from tests.support import process, repositories_served

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.usefixtures("base_images")]

REPOSITORY = Path(__file__).parents[2]
#: Time limit from a clone to its first plan, on two idle cores, in seconds.
PLAN = 20
MACHINE = (
    "FROM localhost/buildkit-tasks/debian:bookworm-slim\n"
    "RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends python3 python3-venv git >/dev/null\n"
)
SCRIPT = """
set -e
python3 -m venv /environment
/environment/bin/pip install -q --no-index --find-links /wheels buildkit-tasks
git clone -q /clone /work/{project} && cd /work/{project}
began=$(date +%s)
/environment/bin/buildkit-tasks init --yes
/environment/bin/buildkit-tasks build --plan
echo "seconds $(($(date +%s) - began))"
/environment/bin/buildkit-tasks build
docker run --rm --network none --entrypoint env {project}-till -u SERVE till
/environment/bin/buildkit-tasks init --undo --yes
echo "left behind: $(git status --porcelain | grep -v __pycache__ | tr '\\n' ' ')."
"""


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """Return the directory with our wheel and its dependencies, for the machine's Python."""
    place = tmp_path / "wheels"
    pip: list[str | Path] = [process.BIN / "python", "-m", "pip", "-q"]
    process.ok([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", place, REPOSITORY], tmp_path)
    (own,) = place.glob("*.whl")
    only = ["--python-version", "3.11", "--only-binary", ":all:"]
    process.ok([*pip, "download", *only, "-d", place, own], tmp_path)
    return place


def test_a_repository_is_adopted_and_built(tmp_path: Path, wheels: Path) -> None:
    project = f"bt-wheel-{secrets.token_hex(3)}"
    files = repositories_served.database()
    files["docker-compose.yml"] = files["docker-compose.yml"].replace("---\n", f"---\nname: {project}\n")
    clone = tmp_path / "clone"
    for name, text in files.items():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text(text)
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "one")):
        process.ok(["git", "-c", "user.email=a@example.org", "-c", "user.name=a", *words], clone)
    image = f"{project}-machine"
    try:
        made = process.run(["docker", "build", "-q", "-t", image, "-"], tmp_path, stdin=MACHINE, timeout=1800)
        assert made.code == 0, made.all
        info = json.loads(process.ok(["docker", "info", "--format", "{{json .ClientInfo.Plugins}}"], tmp_path).out)
        docker = Path(shutil.which("docker") or "docker").resolve()
        mounts = [f"{docker}:/usr/local/bin/docker:ro", "/var/run/docker.sock:/var/run/docker.sock"]
        mounts += [f"{p['Path']}:/usr/local/lib/docker/cli-plugins/{Path(p['Path']).name}:ro" for p in info]
        mounts += [f"{wheels}:/wheels:ro", f"{clone}:/clone:ro"]
        argv = ["docker", "run", "--rm", "-e", "GIT_CONFIG_COUNT=1", "-e", "GIT_CONFIG_KEY_0=safe.directory"]
        argv += ["-e", "GIT_CONFIG_VALUE_0=*", *(part for mount in mounts for part in ("-v", mount))]
        done = process.run([*argv, image, "sh", "-c", SCRIPT.format(project=project)], tmp_path, timeout=3000)
        assert done.code == 0, done.all
        seconds = re.search(r"seconds (\d+)", done.out)
        assert seconds, done.out
        assert int(seconds[1]) <= PLAN, done.all
        assert "\ntill\n" in done.out
        assert "left behind: ." in done.out
    finally:
        process.run(["docker", "image", "rm", "-f", image, f"{project}-till"], tmp_path)
