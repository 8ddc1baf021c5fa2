"""Variables from files other than .env, and a .env that is not read: secrets and arguments match compose's."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support import built_images, newer_plugins, process

pytestmark = [pytest.mark.engine]

#: Name of the case: .env, the environment, and the working directory.
CASES: dict[str, tuple[str, dict[str, str], str]] = {
    "lines, one of them like another variable": ("TOKEN='l1\nl2 $x\nB=l3'\nA=1\n", {}, "."),
    "a BOM, which this bake cannot read": ("\ufeffTOKEN=bom\nA=2\n", {}, "."),
    "another file": ("TOKEN=of .env\nA=1\n", {"COMPOSE_ENV_FILES": "own.env"}, "."),
    "two files": ("TOKEN=of .env\nA=1\n", {"COMPOSE_ENV_FILES": "own.env,more.env"}, "."),
    "below the project": ("TOKEN=of .env\nA=1\n", {"COMPOSE_ENV_FILES": "../own.env"}, "sub"),
    "none": ("TOKEN=of .env\nA=1\n", {"COMPOSE_DISABLE_ENV_FILE": "true"}, "."),
    "not none": ("TOKEN=of .env\nA=1\n", {"COMPOSE_DISABLE_ENV_FILE": "0"}, "."),
    "a broken .env that is not read": ("A B=hunter2\n", {"COMPOSE_ENV_FILES": "own.env"}, "."),
    "the environment first": ("TOKEN=of .env\n", {"COMPOSE_ENV_FILES": "own.env", "TOKEN": "of the environment"}, "."),
}


@pytest.mark.parametrize("newest", [False, True], ids=["installed", "newest"])
@pytest.mark.parametrize("case", CASES)
def test_secrets_and_arguments_are_those_of_compose(
    case: str, newest: bool, tmp_path: Path, base_images: Mapping[str, str]
) -> None:
    dotenv, extra, folder = CASES[case]
    root, image = tmp_path / "tree", f"envfiles/{secrets.token_hex(3)}"
    (root / "sub").mkdir(parents=True)
    base = base_images.get("debian:bookworm-slim", "debian:bookworm-slim")
    files = {
        "tasks.py": "from buildkit_tasks import namespace\n__all__ = ['namespace']\n",
        ".env": dotenv,
        "own.env": "TOKEN=of own.env\nA=own\n",
        "more.env": "TOKEN=${TOKEN} and more\n",
        "compose.yaml": f"services: {{a: {{image: {image}, build: "
        "{context: ., args: {A: '${A-none}'}, secrets: [s]}}}\n"
        "secrets: {s: {environment: TOKEN}}\n",
        "Dockerfile": f"FROM {base}\nARG A\nLABEL a=$A\nRUN --mount=type=secret,id=s cat /run/secrets/s > /s\n",
    }
    for name, text in files.items():
        (root / name).write_text(text, "utf-8")
    env: dict[str, str | None] = {"CI": None, "XDG_STATE_HOME": str(tmp_path / "state"), **extra}
    if newest:
        env["DOCKER_CONFIG"] = str(newer_plugins.config())
    try:
        process.ok(["docker", "compose", "build", "--no-cache"], root / folder, env)
        theirs = built_images.facts([image], root, env)
        process.ok(["docker", "image", "rm", "-f", image], root)
        process.ok([process.BIN / "invoke", "build", "--no-cache"], root / folder, env)
        ours = built_images.facts([image], root, env)
    finally:
        process.run(["docker", "image", "rm", "-f", image], root)
    assert built_images.difference(ours[image], theirs[image]) == []


def test_a_variable_is_missing_in_the_file_that_compose_reads(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("from buildkit_tasks import namespace\n__all__ = ['namespace']\n")
    (tmp_path / ".env").write_text("NEEDED=1\n")
    (tmp_path / "own.env").write_text("OTHER=1\n")
    (tmp_path / "compose.yaml").write_text("services: {a: {image: '${NEEDED:?}', build: .}}\n")
    env: dict[str, str | None] = {"COMPOSE_ENV_FILES": "own.env", "XDG_STATE_HOME": str(tmp_path / "state")}
    done = process.run([process.BIN / "invoke", "build", "--plan"], tmp_path, env)
    assert done.code == 5, done.all
    assert f"{tmp_path}/own.env does not set NEEDED" in done.err
