"""`invoke explain` on a real engine: changes with a single cause; it reports each cause, and `--next` predicts it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import process
from tests.support.explain_site import REPOSITORY, Site

pytestmark = pytest.mark.engine

API, COMMON = "services/api", "services/common"


@pytest.fixture
def site(tmp_path: Path, base_images: object) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.remove()


@dataclass(frozen=True)
class Case:
    """A change, its causes (kind and subject), and the causes per compiled crate.

    `words`: arguments of the build. `blind`: the change cannot be predicted.
    """

    name: str
    change: Callable[[Site], object]
    causes: frozenset[tuple[str, str]] = frozenset()
    crates: dict[str, str] | None = None
    words: tuple[str, ...] = ()
    blind: bool = False


#: The line of USER in the recipe's Dockerfile, where a case inserts a line.
USER_LINE = (REPOSITORY / "docker/Dockerfile").read_text().partition("\nUSER ")[0].count("\n") + 2


def edit(name: str, old: str, new: str) -> Callable[[Site], None]:
    """Replace text in a file."""

    def change(site: Site) -> None:
        text = site.path(name).read_text()
        assert old in text
        site.write(name, text.replace(old, new))

    return change


def base(site: Site, text: str) -> None:
    """Put another image under the name of the tests' base image."""
    folder = site.root.parent / "base"
    folder.mkdir(exist_ok=True)
    (folder / "file").write_text(f"{site.scope} {text}")  # BuildKit would know the content from an earlier session
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY file /file\n")
    process.ok(["docker", "build", "-q", "-t", f"{site.scope}/base:1", str(folder)], site.root)


def use_base(site: Site) -> None:
    base(site, "one\n")
    site.args["RUNTIME_IMAGE"] = f"{site.scope}/base:1"
    site.compose()


def argument(name: str, value: str) -> Callable[[Site], None]:
    """Set a build argument in the compose file."""

    def change(site: Site) -> None:
        site.args[name] = value
        site.compose()

    return change


def environment(name: str, value: str) -> Callable[[Site], None]:
    """Set an environment variable."""
    return lambda site: site.env.update({name: value})


def one(kind: str, subject: str) -> frozenset[tuple[str, str]]:
    return frozenset({(kind, subject)})


MAIN, LIB = f"{API}/src/main.rs", f"{COMMON}/src/lib.rs"
BELOW = {"api": "dependency", "worker": "dependency"}

CASES = (
    Case("nothing", lambda _: None),
    Case("touched", lambda site: os.utime(site.path(MAIN), (1e9, 1e9))),
    Case("service edited", edit(MAIN, "fn main", "// 1\nfn main"), one("file", MAIN), {"api": "source"}),
    Case("shared crate edited", edit(LIB, "pub fn", "// 1\npub fn"), one("file", LIB), {"common": "source", **BELOW}),
    Case(
        "file added",
        lambda site: site.write(f"{COMMON}/more.txt", "more\n"),
        one("file", f"{COMMON}/more.txt"),
        {"common": "marked", **BELOW},
    ),
    Case(
        "file removed",
        lambda site: site.path(f"{COMMON}/old.txt").unlink(),
        one("file", f"{COMMON}/old.txt"),
        {"common": "marked", **BELOW},
    ),
    Case(
        "mode",
        lambda site: site.path(f"{COMMON}/word.txt").chmod(0o755),
        one("file", f"{COMMON}/word.txt"),
        {"common": "marked", **BELOW},
    ),
    Case("link moved", lambda site: site.write("services/link", "-> worker"), one("file", "services/link")),
    Case("argument", argument("FEATURES", "common/loud"), one("argument", "FEATURES"), {"common": "feature", **BELOW}),
    Case(
        "flags",
        argument("RUSTFLAGS", "-C debuginfo=1"),
        one("argument", "RUSTFLAGS"),
        dict.fromkeys(("api", "common", "worker"), "environment"),
    ),
    Case(
        "feature",
        edit(f"{COMMON}/Cargo.toml", "loud = []", "loud = []\nlouder = []"),
        one("file", f"{COMMON}/Cargo.toml"),
        {"common": "feature", **BELOW},
    ),
    Case(
        "lock file",
        edit("services/Cargo.lock", "version = 3\n", "# another\nversion = 3\n"),
        one("file", "services/Cargo.lock"),
        {"common": "marked", **BELOW},  # its code refers to a file with "..", so it may read the lock file
    ),
    Case(
        "line of the runtime stage",
        lambda site: edit("docker/Dockerfile", "USER 65532", f"WORKDIR /srv/{site.scope}\nUSER 65532")(site),
        one("dockerfile", f"docker/Dockerfile:{USER_LINE}"),
        {},
    ),
    Case(
        "environment line",
        edit("docker/Dockerfile", "ARG REBUILD\n", "ENV GREETING=hello\nARG REBUILD\n"),
        one("dockerfile", "docker/Dockerfile"),
        dict.fromkeys(("api", "common", "worker"), "environment"),
    ),
    Case("other base image", use_base, one("base-image", "SCOPE/base:1"), {}),
    Case("base image moved", lambda site: base(site, "two\n"), one("base-image", "SCOPE/base:1"), {}),
    Case(
        "ignore file",
        edit(".dockerignore", "**/*.md\n", ""),
        one("ignore-file", ".dockerignore"),
        {"common": "marked", **BELOW},
    ),
    Case("other programs", lambda _: None, one("programs", "BINS"), {}, ("--service", "api")),
    Case("--no-cache", lambda _: None, one("no-cache", "--no-cache"), {}, ("--no-cache",), blind=True),
    Case(
        "profile",
        environment("BUILDKIT_TASKS_BUILD_PROFILE", "dev"),
        one("argument", "PROFILE"),
        dict.fromkeys(("api", "common", "worker"), "profile"),
    ),
    Case("edited again", edit(MAIN, "// 1\n", "// 2\n"), one("file", MAIN), {"api": "source"}),
    Case(
        "other mounts",
        lambda site: [environment("BUILDKIT_TASKS_CACHES_NAMESPACE", "x")(site), edit(MAIN, "// 2\n", "// 3\n")(site)],
        one("file", MAIN),
        dict.fromkeys(("api", "common", "worker"), "mount-empty"),
    ),
    Case(
        "toolchain file",
        lambda site: site.write("services/rust-toolchain", "stable\n"),
        one("file", "services/rust-toolchain"),
        dict.fromkeys(("api", "common", "worker"), "toolchain"),
    ),
)


#: Answers that are accepted instead of a crate's exact cause: the compile step marked it, or the cause is unknown.
VAGUE = ("marked", "unknown")


def named(document: dict[str, Any], scope: str, which: str = "causes") -> set[tuple[str, str]]:
    """Return the causes for the service api, as kind and subject."""
    service = next(s for s in document["services"] if s["service"] == "api")
    return {(c["kind"], "" if c["kind"] == "lost" else c["subject"].replace(scope, "SCOPE")) for c in service[which]}


def certain(document: dict[str, Any]) -> bool:
    """Return whether all causes are certain."""
    return all(cause["certain"] for service in document["services"] for cause in service["causes"])


def test_every_single_cause_is_named_and_predicted(site: Site) -> None:
    site.json("build")
    wrong, vague, idle = [], [], []
    for case in CASES:
        case.change(site)
        service = [w for w in case.words if w != "--no-cache"]
        predicted = site.json("explain", "--next", *service)["next"]
        # a record of an earlier build would be returned for a build without changes
        before = site.json("history")["builds"][0]["id"]
        built = site.json("build", *case.words)
        after = site.json("history")["builds"][0]["id"]
        if after == before:
            assert built["up_to_date"], case.name
            assert (set(case.causes), named(predicted, site.scope)) == (set(), set()), case.name
            continue
        explained = site.json("explain")["explain"]
        found = named(explained, site.scope)
        steps = site.json("history", "--last", "1")["builds"][0]["steps"]
        if case.causes and not any(ran(s) for s in steps):
            # BuildKit found the results by their content and ran nothing: there is nothing to explain
            assert not found, case.name
            idle.append(case.name)
            continue
        lost = {kind for kind, _ in found} == {"lost"}  # the engine is shared: its garbage collection may interfere
        if lost:
            found = named(explained, site.scope, "also")
        crates = {crate: {c["kind"] for c in r["causes"]} for r in explained["crates"] for crate in r["crates"]}
        results = {
            "causes": found <= case.causes if lost else found == case.causes,
            "predicted": case.blind or named(predicted, site.scope) == case.causes,
            "crates": case.crates is None or all(crates[name] <= {kind, *VAGUE} for name, kind in case.crates.items()),
            "compiled": sorted(crates) == sorted(built["cargo"]["compiled"]),
        }
        exact = {
            "certain": certain(explained),
            "same step": case.blind or lost or step(predicted) == step(explained),
            "kinds": case.crates is None or crates == {name: {kind} for name, kind in case.crates.items()},
        }
        if not all(exact.values()):
            vague.append((case.name, [name for name, good in exact.items() if not good]))
        if not all(results.values()):
            facts = {
                "causes": named(explained, site.scope),
                "predicted": named(predicted, site.scope),
                "crates": crates,
                "steps": steps,
            }
            wrong.append((case.name, [name for name, good in results.items() if not good], facts))
    assert not wrong, json.dumps(wrong, indent=1, default=list)
    assert len(idle) <= 2, idle
    assert len(vague) <= 4, vague


def ran(step: dict[str, Any]) -> bool:
    """Return whether BuildKit reports that a Dockerfile step ran."""
    base = "] FROM " in step["name"] or "exporting" in step["name"]
    return not base and not step["cached"] and step["seconds"] is not None


def step(document: dict[str, Any]) -> object:
    """Return the first step that ran, or would run, for the service api."""
    found = next(s for s in document["services"] if s["service"] == "api")["step"]
    return found and (found["stage"], found["line"])


def test_a_pruned_result_is_not_taken_for_a_change(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write(
        "docker/Dockerfile", f"FROM debian:bookworm-slim\nRUN echo {site.scope} > /made\nARG BIN\nRUN echo $BIN\n"
    )
    image = f"{site.scope}/api:dev"
    try:
        site.invoke("build", "--service", "api")
        process.ok(["docker", "image", "rm", "-f", image], site.root)
        text = process.ok(["docker", "buildx", "du", "--verbose"], site.root).out
        records = [r for r in text.split("ID:\t")[1:] if f"echo {site.scope} > /made" in r]
        below = [r for r in text.split("ID:\t")[1:] for m in records if f"Parent:\t\t{m.split()[0]}" in r]
        ids = "|".join(r.split()[0] for r in (*below, *records))
        process.ok(["docker", "buildx", "prune", "--force", "--all", "--filter", f"id=^({ids})$"], site.root)
        site.invoke("build", "--service", "api")
        (service,) = site.json("explain")["explain"]["services"]
        assert service["step"]["line"] == 2
        assert [(c["kind"], c["subject"], c["certain"]) for c in service["causes"]] == [("lost", "build 1", True)]
    finally:
        process.run(["docker", "image", "rm", "-f", image], site.root)
