"""Settings for everything except builds: the stack, databases, cargo, CI; one class per group. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from .setting import choice, setting


@dataclass(frozen=True)
class Stack:
    """The running stack."""

    health_timeout: float = setting(
        180.0, "How long `up` waits for services to become healthy.", "duration", example="3m", was="health_timeout"
    )
    smoke: tuple[str, ...] = setting(
        (),
        "The requests that `smoke` sends, as a list of `SERVICE[:PORT] [METHOD] /PATH [FIELD=VALUE ...]`.",
        "list",
        example="api /health status=ok",
    )
    smoke_command: tuple[str, ...] = setting(
        (),
        "A program in the project that `smoke` runs. The program gets environment variables such as API_URL "
        "(for a service named `api`).",
        "list",
        example="python3 smoke.py",
    )


@dataclass(frozen=True)
class Watch:
    """`watch` and `dev --watch`."""

    notify: str = choice(
        "off",
        ("off", "bell", "desktop"),
        "How to notify you when containers are replaced or a build fails. `bell`: the terminal bell. `desktop`: a "
        "desktop notification, sent with notify-send (osascript on macOS).",
    )


@dataclass(frozen=True)
class Database:
    """The project's database and its migrations."""

    service: str = setting(
        "", "The service that runs the database. Default: the only service with a database.", example="postgres"
    )
    url: str = setting(
        "",
        "The project's SQLite file. Default: the value of DATABASE_URL, if it is a SQLite URL.",
        example="sqlite:app.db",
    )
    migrations: str = setting(
        "", "The migrations directory. Default: the only directory named `migrations`.", example="crates/db/migrations"
    )
    tool: str = choice(
        "auto",
        ("auto", "sqlx", "refinery", "diesel", "sql"),
        "The migration tool. `sql`: plain files, tracked by buildkit-tasks. `auto`: detected from file names and "
        "dependencies.",
    )
    seeds: str = setting(
        "",
        "The SQL file that `db.seed` runs, or a directory of SQL files. Default: `seeds` or `db/seeds`.",
        example="db/seeds",
    )


@dataclass(frozen=True)
class Cargo:
    """The cargo tasks."""

    services: tuple[str, ...] = setting(
        (),
        "The services that `cargo.test --integration` starts. Default: all active services with a prebuilt image.",
        "list",
        example="postgres redis",
    )
    env: tuple[str, ...] = setting(
        (),
        "Environment variables for the cargo tasks' containers, as NAME=VALUE, or as NAME to use the host's value.",
        "list",
        example="SQLX_OFFLINE=true",
    )


@dataclass(frozen=True)
class Audit:
    """Which findings `audit` accepts."""

    ignore: tuple[str, ...] = setting(
        (),
        "Findings to suppress, as a list of `CODE:SUBJECT reason`. SUBJECT is a path, a variable, a CVE or a pattern.",
        "list",
        example="BA006:/usr/bin/sudo operators need it",
    )


@dataclass(frozen=True)
class Ci:
    """What `ci.init` writes to a CI workflow, and what the jobs of that workflow do."""

    default_branch: str = setting(
        "", "The default branch, if the CI system does not provide it. Empty: main or master.", example="trunk"
    )
    images: str = setting(
        "", "The registry and path that `ci.push` pushes images to. Empty: none.", example="ghcr.io/OWNER"
    )
    install: str = setting(
        "",
        "The argument that CI jobs pass to `pip install` to install the tasks, or `./dev` to use that script instead. "
        "Empty: this version.",
        example="buildkit-tasks==0.1.0",
    )
    builds: str = choice(
        "all",
        ("all", "changed"),
        "Which images the `build` job builds. `changed`: only the images that are affected by the change.",
    )
    platforms: tuple[str, ...] = setting(
        ("amd64", "arm64"), "The platforms for `ci.multiarch` and `ci.push`.", "list", example="amd64 arm64"
    )
    arm64: str = choice(
        "cross",
        ("cross", "native"),
        "How to build arm64 images. `cross`: one runner builds all platforms. `native`: an arm64 runner builds and "
        "starts the arm64 images.",
    )
    runner: str = setting(
        "ubuntu-24.04",
        "The runner label. GitHub-hosted runner labels become `docker` for Jenkins and are omitted for GitLab.",
        example="ubuntu-24.04",
    )
    runner_arm64: str = setting(
        "ubuntu-24.04-arm",
        "The runner label for arm64. GitHub-hosted runner labels become `arm64` for GitLab and Jenkins.",
        example="arm64",
    )
    extra: tuple[str, ...] = setting((), "Additional commands, one job each.", "list", example="cargo deny check")
