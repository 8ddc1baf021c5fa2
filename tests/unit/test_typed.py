"""What users type, and what Invoke receives."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.tasks import namespace, typed
from tests.support import process

KNOWN = typed.Known(namespace)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("build", "build"),
        ("build api", "build --service api"),
        ("build api web", "build --service api --service web"),
        ("build --plan api", "build --plan --service api"),
        ("build api --platform arm64 web", "build --service api --platform arm64 --service web"),
        ("build --service api", "build --service api"),
        ("build --service=api --json", "build --service=api --json"),
        ("logs api --since 10m", "logs --service api --since 10m"),
        ("build -s api -p arm64 web -j", "build -s api -p arm64 --service web -j"),
        ("build -sapi -yj", "build -sapi -yj"),
        ("logs -f api", "logs -f --service api"),
        ("build up", "build up"),
        ("up -d", "up"),
        ("--list", "--list"),
        ("completion fish --install", "completion fish --install"),
        ("--version", "--version"),
        ("-h build", "-h build"),
        ("build --help", "build --help"),
        ("cache.clear --dry-run", "cache.clear --dry-run"),
        ("init --no-such=", None),
    ],
)
def test_words(line: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(Problem):
            typed.rewrite(line.split(), KNOWN)
    else:
        assert typed.rewrite(line.split(), KNOWN) == expected.split()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("biuld", "Unknown task biuld. Did you mean build?"),
        ("build --platfrom arm64", "Unknown flag --platfrom. Did you mean --platform?"),
        ("build -d", "Unknown flag -d."),
        ("build --platform", "build --platform needs a value."),
        ("build -p", "build -p needs a value."),
        ("build -s -j", "build -s needs a value."),
        ("build --profile --plan", "build --profile needs a value."),
        ("settings quickly", "Unknown task quickly."),
    ],
)
def test_typos(line: str, said: str) -> None:
    with pytest.raises(Problem) as raised:
        typed.rewrite(line.split(), KNOWN)
    assert said in raised.value.message


def test_every_task_of_the_list_is_known_and_every_flag_of_its_help() -> None:
    assert set(KNOWN) >= set(namespace.task_names)
    for context in namespace.to_contexts():
        for flag in (*context.flags, *context.flags.aliases):
            assert flag in KNOWN[str(context.name)].takes_value


@pytest.mark.parametrize("command", ["buildkit-tasks", "invoke"])
def test_a_help_page_explains_every_flag(command: str) -> None:
    root = Path(__file__).parents[2]
    done = process.run([process.BIN / command, "build", "--help"], root)
    assert done.code == 0, done.all
    assert done.out.startswith(f"Usage: {command} build [SERVICE ...] [flags]\n\n  Build the images of all or")
    assert re.search(r"(?m)^  -p, --platform +target platform, for example$", done.out)
    assert "Docstring" not in done.out
    assert "core-opts" not in done.out
    flags = re.findall(r"(?m)^  -.*$", done.out.partition("Flags:\n")[2])
    assert len(flags) == 14
    assert all(re.search(r"\S {2,}\S", line) for line in flags)


def test_every_parameter_of_every_task_has_a_help_text_however_often_it_is_read() -> None:
    for _ in range(2):
        for context in namespace.to_contexts():
            missing = [name for name, argument in context.args.items() if not argument.help]
            assert missing == [], context.name
