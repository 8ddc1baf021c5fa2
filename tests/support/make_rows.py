"""The rows of docs/how-to/from-make.md as commands: what to type in a repository, in order, and the result.

A row is identified by its first cell. tests/unit/test_from_make_page.py compares the rows with the page;
tests/engine/test_from_make.py runs each command for real.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.make_site import Site

#: The errors of `db` tasks in a repository without a database: tasks that need a file look for the file first.
NO_DATABASE = (81, "no supported database")
NO_FILE = {"db.migrate": (84, "No directory named `migrations`"), "db.restore": (87, "out/data.dump")}


@dataclass(frozen=True)
class Repository:
    """The names that the rows use.

    `service` keeps running; `crate` has tests; `pattern` matches services of one family; `agent` is the service with a
    profile, if there is one; `database` is the name of the database, or empty; `one_off` is the command for `run`;
    `says` is a word in the logs. `large`: hundreds of crates, so steps that recompile all of them are skipped or only
    planned.
    """

    name: str
    service: str
    crate: str
    pattern: str
    agent: str
    says: str
    one_off: str
    profile: str = ""
    database: str = ""
    large: bool = False


SAMPLE = Repository("sample", "api", "common", "work*", "worker", "listening", "--help", database="sample", large=True)
LEDGER = Repository("ledger", "api", "ledger-store", "worker-*", "agent", "ledger", "id -u", "agent", "ledger")
DESK = Repository("desk", "desk", "desk", "d*", "jobs", "desk", "id -u", "jobs")
REPOSITORIES = (SAMPLE, LEDGER, DESK)


@dataclass(frozen=True)
class Step:
    """A command without `invoke`, its exit code, words in its output, and a check of the result.

    `until`: press Ctrl-C when these words appear, because the command does not exit. `keys`: run the command on a
    terminal and type these keys. A command runs once, unless `again` is set. Rows can share a step with `after`.
    """

    line: str
    code: int = 0
    shows: str = ""
    after: Callable[[Site], object] | None = None
    stdin: str = ""
    env: tuple[tuple[str, str], ...] = ()
    until: str = ""
    keys: str = ""
    again: bool = False

    @property
    def words(self) -> list[str]:
        """Return the command as a list."""
        return shlex.split(self.line)


@dataclass(frozen=True)
class Row:
    """A row, identified by its first cell. Without steps, the page explains why there is nothing to type."""

    targets: str
    steps: tuple[Step, ...] = ()


UP = Step("up", after=lambda s: s.runs(s.repository.service))
PS = Step("ps")
DOWN = Step("down", after=lambda s: s.is_down())
DEV = Step("dev", 130, until="following the logs", after=lambda s: s.is_down())


def row(targets: str, *steps: Step | None) -> Row:
    """Return a row; steps that a repository skips are None."""
    return Row(targets, tuple(step for step in steps if step))


def rows(r: Repository) -> list[Row]:
    """Return all rows in the order to run them: steps that remove something run last."""
    return [*_rust(r), *_images(r), *_stack(r), *_databases(r), *_checks(r), *_development(r), *_removal(r)]


def _rust(r: Repository) -> list[Row]:
    served = Step(f"cargo.run --service {r.service} -- --help", shows="Usage")
    if not r.large:
        served = Step(f"cargo.run --service {r.service}", 130, until=r.says)
    databases = Step("cargo.test --integration", shows="test result: ok", after=lambda s: s.no_copies())
    if not r.database:
        databases = Step("cargo.test --integration", 78, "no active service with a prebuilt image")
    return [
        row("`help`", Step("--list", shows="cargo.test")),
        row("`install-tools`", Step("cargo.fmt", 73, "invoke cargo.fmt --install")),
        row(
            "`check`, `fmt`, `fmt-check`, `clippy`",
            Step("cargo.fmt --install --yes"),
            Step("cargo.fmt --check"),
            Step("cargo.check", shows="Finished"),
            Step("cargo.clippy", shows="Finished"),
        ),
        row("`lint`", Step("cargo.clippy"), Step("cargo.fmt --check"), Step("lint")),
        row(
            "`test`, `test-api`, `test-verbose`",
            Step("cargo.test", shows="test result: ok"),
            Step(f"cargo.test --crate {r.crate}", shows="test result: ok"),
            Step(f"cargo.test --crate {r.crate} -- -- --nocapture", shows="test result: ok"),
        ),
        row("`test-integration`, `test-with-db`", databases),
        row("`pre-commit`", Step("cargo.fmt --check"), Step("cargo.clippy"), Step("cargo.test")),
        row(
            "`run-api`, `run-worker`, … `-release`",
            served,
            None if r.large else Step(f"cargo.run --service {r.service} --release", 130, until=r.says),
        ),
        row(
            "`docs`, `bench`, `coverage`",
            Step("cargo.doc --to public", after=lambda s: s.file("public/doc")),
            None if r.large else Step("cargo.bench"),
            Step("cargo.coverage", 73, "invoke cargo.coverage --install"),
        ),
        row(
            "`update`, `tree`, `audit`, `deny`, `licenses`",
            Step("cargo.tree", shows=r.crate),
            *(Step(f"cargo.{n}", 73, f"invoke cargo.{n} --install") for n in ("audit", "deny", "licenses")),
            Step("cargo.update", after=lambda s: s.restore("services/Cargo.lock" if r.large else "Cargo.lock")),
        ),
    ]


def _images(r: Repository) -> list[Row]:
    platforms = f"build --service {r.agent} --platform amd64,arm64"
    static = f"build --service {r.agent}"
    if r.large or not r.database:  # one repository is enough for steps that recompile everything
        arm = Step(f"{platforms} --plan", shows="linux/arm64")
        linked = [Step(f"{static} --plan", env=(("BUILDKIT_TASKS_BUILD_STATIC", "gnu"),))]
    else:
        arm = Step(platforms, after=lambda s: s.has_image(r.agent))
        musl = Step(static, 21, "rustup target add", env=(("BUILDKIT_TASKS_BUILD_STATIC", "musl"),))
        linked = [musl, Step(static, env=(("BUILDKIT_TASKS_BUILD_STATIC", "gnu"),))]
        linked += [Step(f"extract --service {r.agent} --to static", after=lambda s: s.is_static("static/worker"))]
    taken = Step(f"extract --service {r.service} --to out", after=lambda s: s.file(f"out/{r.service}"))
    passwd = Step(f"extract --service {r.service} --path /etc/passwd --to out", after=lambda s: s.file("out/passwd"))
    return [
        row(
            "`setup`",
            Step("dotenv"),
            Step("quickstart --yes", after=lambda s: s.runs(r.service)),
        ),
        row("a script that sets up a new machine", Step("quickstart --yes")),
        row("`docker-build`", Step("build", after=lambda s: s.has_image(r.service))),
        row("`docker-build-api`, `-web`", Step(f"build --service {r.service}")),
        row("`docker-build-workers`, `-worker-base` …", Step(f"build --service '{r.pattern}'")),
        row("`docker-build-agent-arm64`, `-all`", arm),
        row(
            "`build-agent` (a static program)",
            *linked,
            None if len(linked) > 1 else Step(f"extract --service {r.service} --to out"),
        ),
        row("`build`, `build-release`", Step("build"), Step("cargo.check"), taken),
        row("a script that copies programs out of images", taken, passwd),
        row("scripts that build distribution packages", taken),
        row("`docker-cache-warm`", Step("cache.warm"), Step("cache.pull", 33, "No repository is configured")),
    ]


def _stack(r: Repository) -> list[Row]:
    overlay = Step("up --overlay compose.extra.yaml", after=lambda s: s.has_label(r.service, "extra"))
    profile = (("COMPOSE_PROFILES", r.profile or "none"),)
    follow = "logs --follow"
    return [
        row(
            "`docker-up`, `-down`, `-restart`, `-ps`",
            UP,
            Step("ps", shows=r.service),
            Step("restart", after=lambda s: s.runs(r.service)),
            DOWN,
        ),
        row(
            "`docker-up-agent` (one more `-f`)",
            overlay,
            Step("down --overlay compose.extra.yaml", after=lambda s: s.is_down()),
        ),
        row("`e2e`, `e2e-tier1` …", overlay),
        row(
            "`docker-up-mcp` (a profile)",
            Step(f"up --service {r.agent}", after=lambda s: s.runs(r.agent)),
            Step("up", env=profile, after=lambda s: s.runs(r.service)),
            Step("down", env=(("COMPOSE_PROFILES", "*"),), after=lambda s: s.is_down()),
            Step("up", again=True),
        ),
        row(
            "`docker-logs`, `docker-logs-api`",
            Step(follow, until=r.says),
            Step(f"logs --service {r.service} --follow", until=r.says),
        ),
        row("`docker-shell-api`", Step(f"shell --service {r.service}", keys="exit $((40 + 2))", code=42)),
        row("one-off commands", Step(f"run --service {r.service} -- {r.one_off}")),
    ]


def _databases(r: Repository) -> list[Row]:
    name = r.database

    def db(line: str, after: Callable[[Site], object] | None = None, shows: str = "", stdin: str = "") -> Step:
        return Step(line, 0, shows, after, stdin) if name else nothing(line)

    def nothing(line: str) -> Step:
        return Step(line, *NO_FILE.get(line.split()[0], NO_DATABASE))

    def gone(line: str, what: str = name, after: Callable[[Site], object] | None = None) -> list[Step]:
        """Run the command without confirmation, then with it."""
        if not name:
            return [nothing(line), nothing(f"{line} --yes --name any")]
        return [Step(line, 18, f"--yes --name {what}"), Step(f"{line} --yes --name {what}", after=after)]

    seed = "db.seed" if name == "ledger" else "db.seed --from seeds/rows.sql"
    kept = "SELECT count(*) FROM seeded" if name == "sample" else "SELECT count(*) FROM accounts"
    return [
        row("a script that waits for the database", db("db.create --start")),
        row(
            "`db-create`, `db-migrate`, `db-drop`",
            db("db.create"),
            db("db.migrate", lambda s: s.asked("SELECT count(*) > 1 FROM _sqlx_migrations", "t")),
            *gone("db.drop", after=lambda s: s.asked(_THERE.format(name), "0", "postgres")),
            Step("db.create", again=True) if name else None,
            Step("db.migrate", again=True) if name else None,
        ),
        row("a script that checks the migrations", db("db.migrate --status", shows="0 pending")),
        row("scripts that load users or packages", db(seed, lambda s: s.asked(kept, "1"))),
        row("`docker-shell-db`", db("db.shell", shows="42", stdin="SELECT 40 + 2;\n")),
        row(
            "–",
            db("db.dump --to out/data.dump", lambda s: s.file("out/data.dump")),
            *gone("db.restore --from out/data.dump", after=lambda s: s.asked(kept, "1")),
        ),
        row(
            "`db-test-create`, `db-test-migrate`, `db-test-drop`, `db-test-reset`, `db-test-setup`",
            db("db.create --test", lambda s: s.asked(_THERE.format(f"{name}_test"), "1")),
            db("db.migrate --test", shows="applied"),
            *gone("db.reset --test", f"{name}_test"),
            *gone("db.drop --test", f"{name}_test"),
        ),
        row(
            "a script that removes test schemas",
            *gone("db.drop --test", f"{name}_test"),
            Step("cargo.test --integration", 0 if name else 78),
        ),
        row("`db-reset`", *gone("db.reset")),
    ]


_THERE = "SELECT count(*) FROM pg_database WHERE datname = '{}'"


def _checks(r: Repository) -> list[Row]:
    smoke = Step("smoke") if r.database else Step("smoke", 33, "This project has no smoke test")
    workflow = ".github/workflows/rows.yml"
    written = Step(f"ci.init --provider github --file {workflow} --yes", after=lambda s: s.file(workflow))
    return [
        # earlier rows reset the database; the sensor writes to it when it starts, and every 30 seconds
        row("a script that checks whether each service works", Step("restart", again=True) if r.large else None, smoke),
        row("`install-git-hooks`", Step("hooks.install", after=lambda s: s.file(".git/hooks/pre-commit"))),
        row(
            "`ci`, `ci-rust`",
            Step("ci.lint"),
            Step("ci.test"),
            Step("ci.build --changed" if r.large else "ci.build"),
            written,
        ),
        row("a script that lists changed paths", Step("ci.changed", after=lambda s: s.undo_changes())),
        row("`docker-stop-system-services`", Step("services.stop --yes", shows="", after=lambda s: s.is_not_robbed())),
        row(
            "a script that exports `DOCKER_BUILDKIT`",
            Step("enable-buildkit --shell bash --yes", after=lambda s: s.shell_is(enabled=True)),
            Step("enable-buildkit --shell bash --undo --yes", after=lambda s: s.shell_is(enabled=False)),
        ),
        row("scripts that run inside containers"),
        row("`ci-web`, `ci-security`"),
        row("`generate-agents-index`"),
    ]


def _development(r: Repository) -> list[Row]:
    return [
        row("`dev`", Step("down", again=True), DEV),
        row("scripts that start, stop and list services", UP, PS, DOWN, DEV),
        row(
            "`watch`",
            Step("dev --watch", 130, until="press Ctrl-C", after=lambda s: s.is_down()),
            Step("watch", 130, until="press Ctrl-C", after=lambda s: s.runs(r.service)),
        ),
    ]


def _removal(r: Repository) -> list[Row]:
    shared = " --dry-run" if r.large else ""  # the sample shares its caches with the checkout that runs the tests
    crate = f" --crate {r.crate}" if r.large else ""
    return [
        row(
            "`docker-down-volumes`",
            Step("down --volumes", 18, "--yes") if r.database else None,
            Step("down --volumes --yes", after=lambda s: s.has_no_volumes()),
        ),
        row("`clean`", Step(f"cargo.clean{crate}", after=None if crate else lambda s: s.has_no_objects())),
        row(
            "`docker-clean`",
            Step("clean --yes", after=lambda s: s.is_down()),
            Step(f"clean --caches --yes{shared}", after=None if shared else lambda s: s.has_no_caches()),
            Step(f"clean --volumes --confirm {{project}}{shared}", after=lambda s: s.has_no_volumes()),
        ),
    ]
