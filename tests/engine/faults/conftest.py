"""A small Rust project with secrets in its environment, and the results of the session."""

from __future__ import annotations

import base64
import json
import os
import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from buildkit_tasks.core.errors import EXIT_CODES
from tests.engine import cache_site
from tests.engine.cache_site import Site
from tests.engine.faults.tally import Tally
from tests.engine.faults.trees import PASSWORD
from tests.support import oci_registry, process, strikes
from tests.support.oci_registry import Registry
from tests.support.strikes import Struck

#: Only run some of the tries, for a CI run.
SLICE = bool(os.environ.get("BT_FAULTS_SLICE"))

#: Write the record and the page if nothing was found.
WRITE = bool(os.environ.get("BT_FAULTS_WRITE"))

#: The exit codes that an interrupted command may have, in addition to its usual result.
ENDINGS = {0, 1, 2, *EXIT_CODES.values()}

#: The secrets, by location.
SECRETS = {
    "in .env": PASSWORD,
    "in the environment": "environment-77f0-token",
    "of a registry": "registry-51be-password",
    "of a proxy": "proxy-90aa-password",
}

Findings = list[tuple[str, str]]


@dataclass
class Range:
    """The project, and everything that a command needs for a try."""

    site: Site
    home: Path
    registry: Registry
    tally: Tally
    chance: random.Random
    number: int = 0
    said: list[str] = field(default_factory=list)
    usual: dict[str, float] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str | None]:
        """Return an environment with separate directories that can be searched, and a proxy that must not be used."""
        proxy = f"http://me:{SECRETS['of a proxy']}@127.0.0.1:1"
        return {
            **self.site.env,
            "HOME": str(self.home),
            "SHELL": "/bin/bash",
            "XDG_STATE_HOME": str(self.home / "state"),
            "DOCKER_CONFIG": str(self.home / ".docker"),
            "DEPLOY_TOKEN": SECRETS["in the environment"],
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
        }

    @property
    def online(self) -> dict[str, str | None]:
        """Return the machine's own proxies, for builds that may have to download crates."""
        return {name: os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy")}

    def filled(self) -> None:
        """Fill the mounts, regardless of what an earlier test left; cached layers would not fill them."""
        done = self.invoke("build", "--no-cache", **self.online)
        assert done.code == 0, done.all

    def edit(self) -> None:
        """Change the text that the worker prints: to something new, or back to the previous text."""
        self.number += self.chance.choice((1, 1, -1))
        source = self.site.root / "services/worker/src/main.rs"
        source.write_text(f'fn main() {{ println!("worker {{}} {self.number}", common::number(8)); }}\n')

    def invoke(self, *words: str, **env: str | None) -> process.Done:
        done = process.run([process.BIN / "invoke", *words], self.site.root, {**self.env, **env})
        self.said.append(done.all)
        return done

    def built(self, **env: str | None) -> Findings:
        """Check a new build, and return the findings."""
        done = self.invoke("build", **env)
        if done.code != 0:
            return [("lost", f"the next build ends with {done.code}: {done.err[-800:]}")]
        ran = process.run(["docker", "run", "--rm", f"{self.site.scope}/worker:dev"], self.site.root)
        wants = f"worker 8! {self.number}\n"
        return [] if ran.out == wants else [("wrong", f"it prints {ran.all!r}, not {wants!r}")]

    def seconds(self, *words: str, **env: str | None) -> float:
        """Return how long a command takes without faults."""
        began = time.monotonic()
        done = self.invoke(*words, **env)
        assert done.code == 0, done.all
        return time.monotonic() - began

    def strike(
        self,
        fault: str,
        words: Sequence[str],
        seconds: float,
        after: Callable[[], Findings],
        root: Path | None = None,
        more: Mapping[str, str | None] | None = None,
    ) -> None:
        """Kill a command at a random moment within `seconds`; `after` returns what is wrong afterwards.

        If the command ends earlier, later tries choose an earlier moment.
        """
        row = self.tally.rows.get(fault)
        signal = strikes.SIGNALS[(row.tries if row else 0) % len(strikes.SIGNALS)]
        moment = self.chance.uniform(0.05, min(seconds, self.usual.get(fault, seconds)))
        # a repository that has not been adopted yet has no tasks.py
        program = "invoke" if ((root or self.site.root) / "tasks.py").exists() else "buildkit-tasks"
        argv: list[str | Path] = [process.BIN / program, *words]
        struck = strikes.strike(argv, root or self.site.root, {**self.env, **(more or {})}, signal, moment)
        if not struck.hit:
            self.usual[fault] = min(struck.seconds, self.usual.get(fault, struck.seconds))
        when = f"{signal.name} after {moment:.2f} s, code {struck.code}"
        found = [*endings(struck), *after()]
        self.tally.count(fault, hit=struck.hit, findings=[(kind, f"{when}: {why}") for kind, why in found])

    def agreed(self, fault: str) -> None:
        """Fail the test if anything was found; otherwise write the row, if this run writes."""
        assert not self.tally.of(fault), "\n".join(self.tally.of(fault))
        if WRITE:
            self.tally.write(fault)


def endings(struck: Struck) -> Findings:
    """Return what is wrong with how an interrupted command ended."""
    found = [("left", line) for line in struck.left]
    if struck.late:
        found.append(("rough", "it did not end"))
    elif (
        (struck.code not in ENDINGS and struck.code != -struck.number)
        or "This is a bug" in struck.said
        or ("Traceback" in struck.said and "buildkit_tasks" in struck.said)
    ):
        found.append(("rough", struck.said[-1500:]))
    found += [("leaked", words) for words in strikes.places(SECRETS, struck.said, "what it printed")]
    for line in struck.seen:
        found += [("leaked", words) for words in strikes.places(SECRETS, line, f"the command {line!r}")]
    return found


@pytest.fixture(scope="session")
def tally() -> Iterator[Tally]:
    made = Tally()
    yield made
    for name, row in made.rows.items():
        print(f"\n{name}: {row.tries} tries, {row.hits} hits, {row.found} {row.note}", end="")  # noqa: T201


@pytest.fixture(scope="session")
def chance() -> random.Random:
    """Set `BT_FAULTS_SEED` to repeat the moments of a run."""
    seed = int(os.environ.get("BT_FAULTS_SEED") or secrets.randbits(32))
    print(f"\nBT_FAULTS_SEED={seed}")  # noqa: T201
    return random.Random(seed)


@pytest.fixture(scope="session")
def place(
    base_images: Mapping[str, str], tally: Tally, chance: random.Random, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Range]:
    folder = tmp_path_factory.mktemp("faults")
    site = cache_site.make_rust(folder, base_images)
    home = folder / "home"
    (home / ".docker").mkdir(parents=True)
    auth = base64.b64encode(f"me:{SECRETS['of a registry']}".encode()).decode()
    (home / ".docker/config.json").write_text(json.dumps({"auths": {"registry.example": {"auth": auth}}}))
    plugins = Path.home() / ".docker/cli-plugins"
    if plugins.is_dir():
        (home / ".docker/cli-plugins").symlink_to(plugins)
    (site.root / ".env").write_text(f"DB_PASSWORD='{SECRETS['in .env']}'\n")
    binary = oci_registry.program()
    with oci_registry.running(binary, folder / "registry") as registry:
        made = Range(site, home, registry, tally, chance)
        made.edit()
        # crates are downloaded through the machine's own proxies
        process.ok([process.BIN / "invoke", "build"], site.root, site.env)
        assert made.built() == []
        yield made
        site.remove_images()
        site.clear()
