"""`./dev nox` runs everything, `./dev nox -s tests` a single session. Sessions use the environment of ./dev."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"  # use the environment of ./dev; a second one would double the startup time
nox.options.sessions = ["lint", "types", "docs", "tests", "engine"]
nox.options.error_on_missing_interpreters = False


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, import direction and shell scripts."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", "--no-cache")
    scripts = map(str, Path("src/buildkit_tasks/data").rglob("*.sh"))
    session.run("shellcheck", "dev", ".ci/run", "docker/cross.sh", *scripts)


@nox.session
def reference(session: nox.Session) -> None:
    """Write the generated pages of docs/reference."""
    session.run("python", "docs/make_reference.py")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation site in site/; fail on broken links and anchors."""
    session.run("python", "docs/make_site.py", *session.posargs)


@nox.session
def types(session: nox.Session) -> None:
    """Run mypy in strict mode, including on the tests and this file."""
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Run everything that does not need an engine: unit tests, and the real CLI with a fake docker."""
    session.run("pytest", "-q", "-n", "auto", "tests/unit", "tests/cli", *session.posargs)
    if shutil.which(
        "rustc"
    ):  # without rustc, tests/engine/staleness/test_compile_program.py runs them in the toolchain image
        with tempfile.TemporaryDirectory() as scratch:
            program = str(Path(scratch) / "compile")
            session.run("rustc", "--edition", "2021", "--test", "-o", program, "docker/compile.rs", external=True)
            session.run(program, external=True)


@nox.session
def surroundings(session: nox.Session) -> None:
    """Run every task in every kind of broken environment (forty minutes); `tests` runs some of the combinations.

    `-- --slice`: run each task in every seventh environment, chosen by the commit.
    """
    rest = [word for word in session.posargs if word != "--slice"]
    session.env["BUILDKIT_TASKS_TESTS_EVERY_SITUATION"] = "slice" if "--slice" in session.posargs else "1"
    session.run("pytest", "-q", "-n", "auto", "tests/cli/test_every_task.py", *rest)


@nox.session
def engine(session: nox.Session) -> None:
    """Run everything on a real engine, in three processes (tests/engine/conftest.py); start one if none is running."""
    session.run("pytest", "-q", "-n", "3", "-m", "not slow", "--durations=40", "tests/engine", *session.posargs)


@nox.session(name="cache-long")
def cache_long(session: nox.Session) -> None:
    """Bump a dependency twenty times; build and trim after each bump (about five minutes on an idle machine)."""
    session.run("pytest", "-q", "-s", "-m", "slow", "tests/engine/test_cache_rust.py", *session.posargs)


@nox.session(name="watch-long")
def watch_long(session: nox.Session) -> None:
    """Save 200 times at random under `invoke watch`, with failed builds, kills and a branch switch (three minutes)."""
    session.run("pytest", "-q", "-s", "-m", "slow", "tests/engine/test_watch.py", *session.posargs)


@nox.session(name="bench-long")
def bench_long(session: nox.Session) -> None:
    """Run `invoke bench` with a stale Dockerfile, the same build twice and a kill (eight minutes when idle)."""
    session.run("pytest", "-q", "-s", "-m", "slow", "tests/engine/test_bench.py", *session.posargs)


@nox.session
def bench_travel(session: nox.Session) -> None:
    """Measure how much time a shared cache saves on a new machine (about ten minutes on an idle machine)."""
    session.run("python", "-m", "tests.bench.travel", *session.posargs)


@nox.session
def bench_sync(session: nox.Session) -> None:
    """Measure the cost of comparing up to 50,000 sources by content (about five minutes on an idle machine)."""
    session.run("python", "-m", "tests.bench.sync", *session.posargs)


@nox.session
def bench_unchanged(session: nox.Session) -> None:
    """Compare a build with nothing to do with `docker compose build` (seconds, once everything is compiled)."""
    session.run("python", "-m", "tests.bench.unchanged", *session.posargs)


@nox.session
def bench_curves(session: nox.Session) -> None:
    """Measure plan, view and explain with up to 1,000 crates, 50 services, 50,000 files (six minutes; no engine)."""
    session.run("python", "-m", "tests.bench.curves", *session.posargs)


@nox.session
def bench_report(session: nox.Session) -> None:
    """Measure the sample with every way of building and write docs/benchmarks (idle machine; `-- --resume`)."""
    _make_ready(session)
    session.run("python", "-m", "tests.bench.report", *session.posargs)


@nox.session
def bench_readme(session: nox.Session) -> None:
    """Write the README's table from docs/benchmarks/REPORT.json."""
    session.run("python", "-m", "tests.bench.report", "--readme")


@nox.session
def bench_platforms(session: nox.Session) -> None:
    """Compare arm64 with amd64 and with QEMU, cold and after an edit (about 20 minutes, idle machine; needs root)."""
    session.run("python", "-m", "tests.bench.platforms", *session.posargs)


#: Tests that need a second engine.
TRAVEL = ("tests/engine/test_travel_machines.py", "tests/engine/test_cache_unlistable.py")


@nox.session
def travel(session: nox.Session) -> None:
    """Share caches between two engines, with injected faults and with an engine that cannot list them (4 min; 2 GB)."""
    session.run("pytest", "-q", "-s", "-m", "slow", *TRAVEL, *session.posargs)


def _make_ready(session: nox.Session) -> None:
    """Set up a bare machine, as `quickstart --yes` does; do nothing if nothing is missing."""
    for words in (("engine.install", "--yes"), ("engine.start", "--yes"), ("dotenv",)):
        session.run("invoke", *words)


@nox.session
@nox.parametrize("platform", ["amd64", "arm64"], ids=["amd64", "arm64"])
def multiarch(session: nox.Session, platform: str) -> None:
    """Build and check all images for one platform, cross-compiled if necessary: `multiarch(arm64)`."""
    _make_ready(session)
    session.run("invoke", "build", "--yes", "--platform", platform, *session.posargs)
    session.run("invoke", "images.check", "--platform", platform)
    if platform == "arm64":
        session.run("pytest", "-q", "-m", "slow", "tests/engine/test_platforms_sample.py")


@nox.session
def multiarch_list(session: nox.Session) -> None:
    """Build a manifest list per image, in the engine or (`-- --push HOST/PATH`) in a registry."""
    _make_ready(session)
    session.run("invoke", "build", "--yes", "--platform", "amd64,arm64", *session.posargs)


@nox.session
def builders(session: nox.Session) -> None:
    """Build BuildKit's image, run build nodes with mTLS, and test `invoke builder` on them (five minutes)."""
    files = ("tests/engine/test_buildkit_image.py", "tests/engine/test_builders.py")
    session.run("pytest", "-q", "-s", "-m", "slow", *files, *session.posargs)


@nox.session
def adopt(session: nox.Session) -> None:
    """Adopt, build, edit, start and undo every kind of repository; follow every hint; test the installed wheel."""
    files = ("tests/engine/test_adopt.py", "tests/engine/test_adopt_remedies.py", "tests/engine/test_adopt_wheel.py")
    session.run("pytest", "-q", "-s", "-m", "slow", "--durations=20", *files, *session.posargs)


@nox.session(name="adopt-real")
def adopt_real(session: nox.Session) -> None:
    """Adopt, build, edit, start and undo three repositories of real size."""
    session.run("pytest", "-q", "-s", "--durations=5", "tests/engine/test_adopt_real.py", *session.posargs)


@nox.session(name="ci-templates")
def ci_templates(session: nox.Session) -> None:
    """Run each CI template twice, each time on a new engine, and then as a fork (14 minutes; `BT_CI_TREE=large`)."""
    session.run("pytest", "-q", "-s", "-m", "slow", "tests/engine/test_ci_templates.py", *session.posargs)


@nox.session
def degraded(session: nox.Session) -> None:
    """Compile real Rust code on Docker 20.10.24, with and without BuildKit (five minutes; copies 2 GB into it)."""
    session.run("pytest", "-q", "-s", "-m", "slow", "tests/engine/test_old_engine.py", *session.posargs)


@nox.session(name="from-make")
def from_make(session: nox.Session) -> None:
    """Run every row of docs/how-to/from-make.md on three repositories, without Rust on PATH.

    `-- -k ledger`: run one of the three (sample, ledger, desk).
    """
    session.run("pytest", "-q", "-s", "-m", "slow", "tests/engine/test_from_make.py", *session.posargs)


@nox.session(name="compose-long")
def compose_long(session: nox.Session) -> None:
    """Build generated compose files with compose (installed and newest) and with these tasks; compare the results.

    Builds 300 files, or N with `-- --files N`.
    """
    files, rest = "300", list(session.posargs)
    if "--files" in rest:
        at = rest.index("--files")
        files = rest[at + 1]
        del rest[at : at + 2]
    tests = ("tests/engine/test_compose_generated.py", "tests/engine/test_compose_print.py")
    session.run("pytest", "-q", *tests, *rest, env={"BT_COMPOSE_FILES": files})


@nox.session
def faults(session: nox.Session) -> None:
    """Kill commands, fill disks, stop registries; write docs/explanation/reliability.md (forty minutes).

    `-- --slice`: run some of the tests; write nothing.
    """
    rest = [word for word in session.posargs if word != "--slice"]
    short = "--slice" in session.posargs
    env = {"BT_FAULTS_SLICE": "1" if short else "", "BT_FAULTS_WRITE": "" if short or rest else "1"}
    session.run("pytest", "-q", "-s", "-m", "slow", "tests/engine/faults", *rest, env=env)


@nox.session
def turn(session: nox.Session) -> None:
    """Run the slow sessions that are due or fit, as CI does after `nox`; `nox -s turn -- --list` lists them."""
    session.run("python", "-m", "tests.support.turns", *session.posargs)


@nox.session
def stale(session: nox.Session) -> None:
    """Run all never-stale cases, 30 rounds of the registry race and the long random test (`-- --steps 2000`).

    `-- --slice`: run the cornerstone cases, a fifth of the other cases (chosen by the commit), and five rounds.
    """
    steps, rounds, part = "2000", "30", ""
    rest = list(session.posargs)
    if "--slice" in rest:
        rest.remove("--slice")
        rounds, part = "5", "1"
    if "--steps" in rest:
        at = rest.index("--steps")
        steps = rest[at + 1]
        del rest[at : at + 2]
    session.run(
        *("pytest", "-q", "-s", "tests/engine/staleness", *rest),
        env={
            "BT_STALE_STEPS": steps,
            "BT_STALE_ROUNDS": rounds,
            "BT_STALE_SLICE": part,
            "BT_STALE_PROOF": "" if rest or part else "1",
        },
    )
