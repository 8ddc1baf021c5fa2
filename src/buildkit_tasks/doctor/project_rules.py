"""Checks for the project: compose file, .env, ports, sources."""

from __future__ import annotations

from buildkit_tasks.project import host_ports

from .facts import Facts
from .rules import Rule, Verdict, fail, ok, unknown, warn


def compose_file(facts: Facts) -> Verdict:
    if facts.compose_error:
        return fail(*facts.compose_error)
    if facts.compose_unseen:
        return unknown(facts.compose_unseen)
    if facts.dockerfiles_missing:
        more = f" (and {len(facts.dockerfiles_missing) - 1} more)" if len(facts.dockerfiles_missing) > 1 else ""
        return fail(
            f"{facts.dockerfiles_missing[0]}{more}", "fix the `build:` section of that service in the compose file"
        )
    return ok("valid, with all Dockerfiles present")


def ports(facts: Facts) -> Verdict:
    if facts.ports_taken:
        use = facts.ports_taken[0]
        more = f" (and {len(facts.ports_taken) - 1} more)" if len(facts.ports_taken) > 1 else ""
        return fail(
            f"port {use.port} of {use.service} is in use by {use.holder}{more}",
            f"{host_ports.remedy(use.variable, '.env')}, or stop that program",
        )
    if facts.compose_unseen:
        return unknown(facts.compose_unseen)
    if facts.ports_elsewhere:
        return unknown("the engine publishes ports on another machine")
    return ok("free or used by this project")


def dotenv(facts: Facts) -> Verdict:
    if facts.dotenv_error:
        usual = "write the line as NAME=value, with single quotes around a value that contains spaces or quotes"
        return fail(facts.dotenv_error, facts.dotenv_hint or usual)
    if facts.dotenv is None:
        return ok("the project has no .env.example")
    if not facts.dotenv:
        return fail(".env does not exist", "invoke dotenv", "dotenv")
    return ok("present")


def dotenv_complete(facts: Facts) -> Verdict:
    if facts.dotenv and facts.dotenv_missing:
        return warn(f"not set: {', '.join(facts.dotenv_missing)}", "invoke dotenv", "dotenv")
    if facts.dotenv_wanted and facts.dotenv is not False:
        return fail(*facts.dotenv_wanted)
    if not facts.dotenv_example:
        if facts.compose_unseen:
            return unknown(facts.compose_unseen)
        return ok("every variable that compose requires is set")
    if not facts.dotenv:
        return unknown(".env does not exist")
    return ok("every variable in .env.example is set")


def dotenv_private(facts: Facts) -> Verdict:
    if facts.dotenv_mode is None:
        return unknown(".env does not exist")
    if facts.dotenv_tracked:
        return warn(
            ".env is committed to git", "git rm --cached .env, then add .env to .gitignore and change the secrets"
        )
    if facts.dotenv_mode & 0o077:
        return warn(
            f"mode {facts.dotenv_mode & 0o777:o}: other users on this machine can read .env",
            "chmod 600 .env",
            "dotenv-mode",
        )
    return ok(f"mode {facts.dotenv_mode & 0o777:o}")


def dotenv_secrets(facts: Facts) -> Verdict:
    if facts.dotenv_placeholders:
        names = ", ".join(facts.dotenv_placeholders)
        return warn(
            f"placeholders instead of secrets: {names}", "delete these values from .env, then run `invoke dotenv`"
        )
    return ok("no placeholders") if facts.dotenv else unknown(".env does not exist")


def bind_sources(facts: Facts) -> Verdict:
    if facts.missing_sources:
        return warn(
            f"missing: {', '.join(facts.missing_sources)}",
            "create the file or directory; otherwise, the short volume syntax creates an empty directory owned by root",
        )
    return unknown(facts.compose_unseen) if facts.compose_unseen else ok("all exist")


def lock_file(facts: Facts) -> Verdict:
    if facts.locks_missing:
        return fail(f"{facts.locks_missing[0]} is missing", "run `cargo generate-lockfile` and commit the file")
    if facts.locks_ignored:
        return warn(
            f"git ignores {facts.locks_ignored[0]}, but builds copy it, so a fresh clone cannot be built",
            f"remove the file from .gitignore, then: git add {facts.locks_ignored[0]}",
        )
    if not facts.locks_seen:
        return unknown("no Cargo.toml was found within two directory levels")
    return ok("present and not ignored by git")


def health_tools(facts: Facts) -> Verdict:
    if facts.health_tools:
        bad = facts.health_tools[0]
        return fail(
            f"the health check of {bad.service} calls {bad.tool}, which {bad.image} does not have",
            f"use a health check built into the program, or install {bad.tool} in the image",
        )
    if facts.compose_unseen:
        return unknown(facts.compose_unseen)
    if facts.health_unsure:
        calls = "; ".join(f"{h.tool} ({h.service})" for h in facts.health_unsure[:3])
        return unknown(f"the Dockerfile does not show whether the image has the program: {calls}")
    return ok("no missing programs found")


RULES: tuple[Rule, ...] = (
    Rule("compose-file", "a valid compose file", "the compose file defines the services", compose_file),
    Rule("ports", "all published ports free", "a container does not start if its port is in use", ports),
    Rule("dotenv", "a readable .env", "compose reads ports and secrets from .env", dotenv),
    Rule(
        "dotenv-names",
        "a value for every variable that compose or .env.example requires",
        "compose refuses to start without a required value",
        dotenv_complete,
    ),
    Rule("dotenv-private", "readable only by you and not in git", ".env contains secrets", dotenv_private),
    Rule("dotenv-secrets", "generated secrets", "placeholders are public, so they protect nothing", dotenv_secrets),
    Rule(
        "bind-sources",
        "all sources of bind mounts exist",
        "docker creates an empty directory in place of a missing file",
        bind_sources,
    ),
    Rule("lock-file", "Cargo.lock in git", "builds use --locked", lock_file),
    Rule(
        "health-checks",
        "health checks that call only programs in the image",
        "a service never becomes healthy if its check cannot run",
        health_tools,
    ),
)
