"""Guess the closest task from a target's name, for recipes that cannot be mapped. Pure.

A unit test compares this list with the table in docs/how-to/from-make.md.
"""

from __future__ import annotations

import re

from .calls import Call

#: Patterns in the order tried, for names with dashes instead of `_`, `.` and `:`. `\1` is the first group.
_PATTERNS = (
    (r"(?:docker-|compose-|dc-)?build-(?:workers|worker-.+)", "build --service worker-*"),
    (r"(?:docker-)?build-(.+)-(?:arm64|aarch64|multiarch|all)", r"build --service \1 --platform amd64,arm64"),
    (r"(?:docker-|compose-)?(?:buildx|multiarch|build-multiarch|build-all-platforms)", "build --platform amd64,arm64"),
    (r"build|build-release|release|docker-build|compose-build|docker|images?|build-images?", "build"),
    (r"(?:docker-|compose-)build-(.+)", r"build --service \1"),
    (r"build-agent", "build --service agent"),
    (r"(?:docker-)?cache-warm|warm", "cache.warm"),
    (r"clean|cargo-clean", "cargo.clean"),
    (r"test-(?:integration|with-db|db)|integration-tests?|tests-integration", "cargo.test --integration"),
    (r"test-verbose", "cargo.test -- -- --nocapture"),
    (r"tests?|test-all|unit-tests?|test-unit|cargo-test", "cargo.test"),
    (r"test-([a-z0-9-]+)", r"cargo.test --crate \1"),
    (r"check|cargo-check", "cargo.check"),
    (r"fmt-check|format-check|check-fmt|check-format|style", "cargo.fmt --check"),
    (r"fmt|format|cargo-fmt", "cargo.fmt"),
    (r"clippy|lint|cargo-clippy|lint-rust", "cargo.clippy"),
    (r"run-(.+)-release", r"cargo.run --service \1 --release"),
    (r"run-(.+)", r"cargo.run --service \1"),
    (r"docs?|cargo-doc", "cargo.doc"),
    (r"bench|benches|benchmark", "cargo.bench"),
    (r"coverage|cov", "cargo.coverage"),
    (r"(update|tree|audit|deny|licenses)", r"cargo.\1"),
    (r"setup|quickstart|bootstrap", "quickstart"),
    (r"env|env-init|dotenv", "dotenv"),
    (r"(?:db-|database-)test-setup", "db.reset --test"),
    (r"(?:db-|database-)test-(create|migrate|drop|reset)", r"db.\1 --test"),
    (r"(?:db-|database-)(create|migrate|drop|reset|seed|dump|restore)", r"db.\1"),
    (r"migrate|migrations|migrate-up|db-setup", "db.migrate"),
    (r"seed", "db.seed"),
    (r"(?:docker-)?(?:shell-db|db-shell|psql)", "db.shell"),
    (r"(?:docker-|compose-)?shell-(.+)", r"shell --service \1"),
    (r"(?:docker-|compose-|dc-)?down-volumes", "down --volumes"),
    (r"(?:docker-|compose-|dc-)?(up|start)", "up"),
    (r"(?:docker-|compose-|dc-)?dev", "dev"),
    (r"(?:docker-|compose-|dc-)?(?:down|stop)", "down"),
    (r"(?:docker-|compose-|dc-)?up-(.+)", r"up --service \1"),
    (r"(?:docker-|compose-|dc-)?(restart|ps)", r"\1"),
    (r"(?:docker-|compose-|dc-)?(?:status)", "ps"),
    (r"(?:docker-|compose-|dc-)?logs", "logs --follow"),
    (r"(?:docker-|compose-|dc-)?logs-(.+)", r"logs --service \1 --follow"),
    (r"(?:docker-|compose-|dc-)clean|prune|docker-prune", "clean"),
    (r"docker-stop-system-services|stop-system-services", "services.stop"),
    (r"pre-commit", "cargo.clippy"),
    (r"(?:install-)?(?:git-)?hooks|install-git-hooks", "hooks.install"),
    (r"ci|ci-rust", "ci.test"),
    (r"smoke|smoke-test", "smoke"),
)


def nearest(name: str) -> Call | None:
    """Return the task that a target with this name most likely means; None if the name is not in the list."""
    plain = re.sub(r"[_.:/]", "-", name.lower())
    if not re.fullmatch(r"[a-z0-9-]{1,80}", plain):  # part of the name may become a command argument
        return None
    for pattern, call in _PATTERNS:
        if found := re.fullmatch(pattern, plain):
            task, *words = found.expand(call).split()
            return Call(task, tuple(words))
    return None
