"""What is written to the terminal: the bell unchanged, everything else visible; hints are pasteable commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.report import Report, without_login
from buildkit_tasks.core.world import World


@pytest.mark.parametrize(("tty", "rung"), [(True, "\a"), (False, "")])
def test_the_bell_rings_on_a_terminal_only(tty: bool, rung: str, capsys: pytest.CaptureFixture[str]) -> None:
    Report(World({}, Path("/"), Path("/"), tty=tty)).bell()
    assert capsys.readouterr().err == rung


def test_control_characters_are_visible(capsys: pytest.CaptureFixture[str]) -> None:
    Report(World({}, Path("/"), Path("/"))).say("a\a\x1b[2Jb")
    assert "\a" not in (shown := capsys.readouterr().err)
    assert "\x1b" not in shown


def test_values_of_dotenv_are_masked_where_other_programs_speak_and_not_in_hints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    (tmp_path / ".env").write_text("DB_USER=build\nPASSWORD=hunter22\n")
    report = Report(World({}, tmp_path, tmp_path))
    Session(report.world, report)
    report.problem(
        Problem("build-failed", "It says hunter22.", causes=["hunter22"], hint="invoke build", details="hunter22")
    )
    shown = capsys.readouterr().err
    assert "hunter22" not in shown
    assert "hint: invoke build" in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:pw@h/x", "https://***@h/x"),
        ("see <https://me:p=w(@h/x>, [http://me:pw@h]", "see <https://***@h/x>, [http://***@h]"),
        ("--build-arg P=http://us=er:pw@h", "--build-arg P=http://***@h"),
        ("me:pw@h/x and 'me:@h/x'", "***@h/x and '***@h/x'"),
        ("a/b:c@d", "a/b:c@d"),
        (f"rust:1@sha256:{'0' * 64}", f"rust:1@sha256:{'0' * 64}"),
        ("git@host:me/x, a@b", "git@host:me/x, a@b"),
    ],
)
def test_logins_are_masked(text: str, shown: str) -> None:
    assert without_login(text) == shown


def test_a_table_has_one_line_per_row(capsys: pytest.CaptureFixture[str]) -> None:
    """A label or a branch with a line break starts no line, which a CI system could read as a command."""
    table = [("branch", "x\n::set-output name=a::b\r\n##[add-mask]c"), ("other", "y")]
    Report(World({}, Path("/"), Path("/"))).table(("what", "value"), table)
    shown = capsys.readouterr().out
    assert shown.count("\n") == 3
    assert "\n::" not in shown
