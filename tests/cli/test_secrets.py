"""Recognizable secrets in all places that have some, every task in several modes: no secret appears where it must not.

The tests check both streams, the arguments of every program that is started, and every file that is left behind.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.cli.test_every_task import TASKS
from tests.support import situations
from tests.support.fork_server import Server
from tests.support.situations import WORDS, Place

#: Secrets by location. All are long enough to be masked, and none is a part of another.
SECRETS = {
    "in .env": situations.PASSWORD,
    "a build argument from .env": "argument-8a41c-from-env",
    "in the environment": "environment-77f0-token",
    "of a registry": "registry-51be-password",
    "of a proxy": "proxy-90aa-password",
    "of an image mirror": "mirror-3c3c-password",
    "of a pack repository": "packs-11d2-password",
    "of a crate registry": "cargo-64e5-token",
    "of a database": "database-27c8-password",
}
#: How docker behaves.
MODES = ("sound", "failing", "old engine", "without an engine")


def plant(place: Place, mode: str) -> None:
    """Plant the secrets, and a docker in this mode."""
    root, home = place.root, place.home
    with (root / ".env").open("a") as file:
        file.write(f"API_KEY='{SECRETS['a build argument from .env']}'\n")
    auth = base64.b64encode(f"me:{SECRETS['of a registry']}".encode()).decode()
    (home / ".docker/config.json").write_text(json.dumps({"auths": {"registry.example": {"auth": auth}}}))
    (home / ".cargo/credentials.toml").write_text(f'[registry]\ntoken = "{SECRETS["of a crate registry"]}"\n')
    place.env |= {
        "DEPLOY_TOKEN": SECRETS["in the environment"],
        "HTTPS_PROXY": f"http://me:{SECRETS['of a proxy']}@127.0.0.1:1",
        "https_proxy": f"http://me:{SECRETS['of a proxy']}@127.0.0.1:1",
        "BUILDKIT_TASKS_IMAGES_REGISTRY": f"me:{SECRETS['of an image mirror']}@127.0.0.1:1/mirror",
    }
    if mode == "failing":  # builds reject this setting
        place.env["BUILDKIT_TASKS_PACKS_REPOSITORY"] = f"me:{SECRETS['of a pack repository']}@127.0.0.1:1/packs"
    given = situations.answers(root)
    config = json.loads(dict(given)["*config --format json*"])
    for name in ("api", "worker"):
        config["services"][name]["build"]["args"]["API_KEY"] = SECRETS["a build argument from .env"]
        config["services"][name]["environment"] = {"TOKEN": SECRETS["a build argument from .env"]}
    config["services"]["db"]["environment"]["POSTGRES_PASSWORD"] = SECRETS["of a database"]
    said = f"error: password {SECRETS['in .env']} and key {SECRETS['a build argument from .env']} are wrong"
    info = dict(situations.INFO)
    if mode == "old engine":
        info |= {"ServerVersion": "20.10.24", "DriverStatus": []}
        info["ClientInfo"] = {"Context": "default", "Plugins": [{"Name": "compose", "Version": "2.40.3"}]}
    changed = {"*config --format json*": json.dumps(config), "info *": json.dumps(info)}
    given = [(pattern, changed.get(pattern, text)) for pattern, text in given]
    if mode == "failing":
        situations.fake_docker(place, given[:4], tail=f"echo '{said}' >&2; exit 1")
    elif mode == "without an engine":
        situations.fake_docker(place, [], tail=f"echo '{said}' >&2; exit 1")
    else:
        situations.fake_docker(place, given)


def leaks(place: Place, said: str, before: dict[Path, bytes]) -> list[str]:
    """Return the places of secrets that were not there before."""
    texts = {"what it printed": said.encode()}
    for path in place.root.parent.rglob("*"):
        ours = path.is_relative_to(place.fake) and not path.is_relative_to(place.home) and path.name != "argv"
        if path.is_file() and not ours and path.read_bytes() != before.get(path):
            texts[str(path.relative_to(place.root.parent))] = path.read_bytes()
    found = []
    for where, text in texts.items():
        for name, secret in SECRETS.items():
            coded = base64.b64encode(f"me:{secret}".encode())
            if secret.encode() in text or coded in text:
                line = next((x for x in text.splitlines() if secret.encode() in x or coded in x), b"")
                found.append(f"the secret {name} is in {where}: {line[:300]!r}")
    return found


@pytest.mark.parametrize("task", TASKS)
def test_no_secret_is_seen_anywhere(open_dir: Path, server: Server, task: str) -> None:
    calls = WORDS.get(task, ((),))
    wrong = []
    runs = [(mode, calls[number % len(calls)]) for number, mode in enumerate(MODES)]
    for number, (mode, words) in enumerate(dict.fromkeys([*runs, ("old engine", calls[0])])):
        folder = open_dir / str(number)
        folder.mkdir()
        made = situations.make(folder)
        plant(made, mode)
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        ran = server.run((task, *words), made.root, made.env, folder, seconds=30)
        (folder / "out").unlink(missing_ok=True)
        (folder / "err").unlink(missing_ok=True)
        wrong += [f"{mode}; {' '.join((task, *words))}: {leak}" for leak in leaks(made, ran.done.all, before)]
    assert not wrong, "\n".join(wrong)
