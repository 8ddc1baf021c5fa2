"""The rows of docs/how-to/from-make.md use existing tasks and flags, and agree with import-makefile's proposals."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from buildkit_tasks.equivalents.names import nearest
from buildkit_tasks.makefile import examples
from buildkit_tasks.tasks import namespace, typed
from tests.support import make_rows

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "from-make.md"
TASKS = typed.Known(namespace)
#: Targets without an equivalent task, or whose row means something else; import-makefile does not propose any for them.
NONE = {"watch", "ci-web", "ci-security", "generate-agents-index", "install-tools", "help", "e2e", "e2e-tier1"}


def cells() -> list[tuple[str, ...]]:
    """Return the handwritten rows: targets, description, task."""
    text = re.sub(f"{examples.BEGIN}.*?{examples.END}", "", PAGE.read_text("utf-8"), flags=re.DOTALL)
    found = [
        tuple(c.strip() for c in line.strip("|").split(" | ")) for line in text.split("\n") if line.startswith("|")
    ]
    return [row for row in found if len(row) == 3 and row[0] != "target" and not row[0].startswith("-")]


def commands(cell: str) -> list[list[str]]:
    """Return the task calls in a cell; a part such as `--release` belongs to the previous call."""
    found: list[list[str]] = []
    for span in re.findall(r"`([^`]+)`", cell):
        words = [w for w in shlex.split(span) if not re.match(r"[A-Z_]+=", w)]
        if words[0] == "invoke":
            words = words[1:]
        if words[0] in TASKS or re.match(r"(cargo|db|ci|cache)\.", words[0]):
            found.append(words)
        elif words[0].startswith("--") and found:
            found.append([found[-1][0], *words])
    return found


def test_the_table_is_there() -> None:
    assert len(cells()) >= 45
    targets = [name for row in cells() for name in re.findall(r"`([^`]+)`", row[0])]
    assert len(targets) >= 65


@pytest.mark.parametrize("row", cells(), ids=lambda row: row[0][:40])
def test_every_task_and_flag_of_a_row_exists(row: tuple[str, ...]) -> None:
    for name, *words in commands(row[2]):
        if name.startswith("--"):
            continue
        assert name in TASKS, row
        own = words[: words.index("--")] if "--" in words else words
        flags = [w.partition("=")[0] for w in own if w.startswith("-")]
        assert set(flags) <= set(TASKS[name].takes_value), row
        typed.rewrite([name, *words], TASKS)  # values are present, and no words are left over
    without = re.search(r"not needed|no task|unchanged|every `db` task|--list|^$", row[2])
    assert commands(row[2]) or without, row


def concrete(row: tuple[str, ...]) -> list[str]:
    """Return the target names of a row; a leading dash is replaced with the beginning of the first name."""
    names = [n for n in re.findall(r"`([^`]+)`", row[0]) if re.fullmatch(r"[a-z0-9-]{3,}", n)]
    first = names[0] if names else ""
    lead = next((p for p in ("docker-build", "docker") if first.startswith(p)), first.partition("-")[0])
    return [lead + n if n.startswith("-") else n for n in names]


PAIRS = [(name, row) for row in cells() for name in concrete(row)]


@pytest.mark.parametrize(("name", "row"), PAIRS, ids=[name for name, _ in PAIRS])
def test_a_target_of_the_page_gets_a_task_of_its_row(name: str, row: tuple[str, ...]) -> None:
    call = nearest(name)
    tasks = {words[0] for words in commands(row[2])}
    if name in NONE:
        assert call is None, name
        return
    assert call is not None, (name, tasks)
    assert call.task in tasks, (name, call)


def test_every_proposed_task_exists_with_its_flags() -> None:
    from buildkit_tasks.equivalents import names

    for _, text in names._PATTERNS:
        task, *words = re.sub(r"\\1", "create" if ".\\1" in text else "up", text).split()
        if task.startswith("cargo.create"):
            task = "cargo.tree"
        assert task in TASKS, text
        typed.rewrite([task, *words], TASKS)


def test_the_table_of_commands_is_up_to_date() -> None:
    assert examples.page(PAGE.read_text("utf-8")) == PAGE.read_text("utf-8"), "run nox -s reference"
    assert "| `cargo test` | `invoke cargo.test` |" in PAGE.read_text("utf-8")


@pytest.mark.parametrize("command", examples.COMMANDS)
def test_every_call_of_the_table_of_commands_is_accepted(command: str) -> None:
    found = examples.line(command)
    for call in (*found.calls, *filter(None, [found.perhaps])):
        words = [re.sub(r"\$\(addprefix --service ,.*\)", "--service", word) for word in call.words]
        if "--service" in words and words[words.index("--service") + 1 :][:1] in ([], ["--follow"]):
            words.remove("--service")
        typed.rewrite([call.task, *[w for w in words if w != ",$(SERVICE))"]], TASKS)


#: Tasks that a row only mentions because they do something else.
MENTIONED = {"bench"}

#: Commands that a repository with hundreds of crates skips: each recompiles all of them.
LONG = {"cargo.bench", "cargo.run --release"}


@pytest.mark.parametrize("repository", make_rows.REPOSITORIES, ids=lambda r: r.name)
def test_every_row_is_played_with_every_task_and_flag(repository: make_rows.Repository) -> None:
    played = {row.targets: row.steps for row in make_rows.rows(repository)}
    assert sorted(played) == sorted(row[0] for row in cells())
    for row in cells():
        typed_words = [step.words for step in played[row[0]]]
        for name, *words in commands(row[2]):
            flags = {w for w in words if w.startswith("--")}
            if name in MENTIONED or (repository.large and " ".join((name, *words)) in LONG):
                continue
            assert any(w[0] == name and flags <= set(w) for w in typed_words), (row[0], name, flags)


@pytest.mark.parametrize("repository", make_rows.REPOSITORIES, ids=lambda r: r.name)
def test_every_command_of_the_rows_is_accepted(repository: make_rows.Repository) -> None:
    for row in make_rows.rows(repository):
        for step in row.steps:
            if step.words[0] != "--list":
                typed.rewrite(step.words, TASKS)
