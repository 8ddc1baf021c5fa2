"""`invoke enable-buildkit`, `invoke env`: real startup files, real bash, zsh and fish, with a recording docker."""

from __future__ import annotations

import os
from pathlib import Path

import pexpect
import pytest

from tests.cli.conftest import Bench
from tests.support import process, shells

RC = {"bash": ".bashrc", "zsh": ".zshrc", "fish": ".config/fish/config.fish"}
DEBIAN_BASHRC = b"case $- in\n    *i*) ;;\n      *) return;;\nesac\nalias ll='ls -l'\n"
ODD = {
    "bash": [b"", DEBIAN_BASHRC, b"export A=1", b"export A=1\r\n", b"# caf\xe9\nalias x=y \\\n", b"sleep 30 &\n"],
    "zsh": [b"", b"setopt nullglob\nexport A=1", b"# \xff\xfe\n"],
    "fish": [b"", b"set -gx A 1", b"if status is-interactive\n  set -g fish_greeting\nend\n"],
}


@pytest.fixture
def ready(bench: Bench) -> Bench:
    """A separate home directory, and a docker that builds."""
    bench.reply("build --output - -", stdout="")
    bench.env["XDG_CONFIG_HOME"] = bench.env["DOCKER_BUILDKIT"] = bench.env["COMPOSE_DOCKER_CLI_BUILD"] = None
    bench.env["ZDOTDIR"] = None
    bench.env["SHELL"] = "/bin/bash"
    return bench


def home(bench: Bench) -> Path:
    return bench.place / "home"


def rc(bench: Bench, shell: str, content: bytes) -> Path:
    path = home(bench) / RC[shell]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def variables(bench: Bench, shell: str, *how: str) -> list[str]:
    """Return the variables of a newly started real shell, read without our code."""
    # Discard all streams: background processes of a startup file must not keep ours open.
    argv = [
        "sh",
        "-c",
        'exec setsid timeout 20 "$@" >/dev/null 2>&1',
        "sh",
        shells.program(shell),
        *(how or ("-i",)),
        "-c",
    ]
    done = process.run(
        [*argv, 'echo "<$DOCKER_BUILDKIT$COMPOSE_DOCKER_CLI_BUILD>" > "$HOME/seen"'], bench.root, bench.environment()
    )
    assert done.code == 0, done.err
    return (home(bench) / "seen").read_text().splitlines()


@pytest.mark.parametrize(("shell", "number"), [(s, n) for s, texts in ODD.items() for n in range(len(texts))])
def test_a_new_shell_has_the_variables_and_undo_gives_the_bytes_back(ready: Bench, shell: str, number: int) -> None:
    shells.program(shell)
    path = rc(ready, shell, ODD[shell][number])
    path.chmod(0o640)
    done = ready.invoke("enable-buildkit", "--shell", shell, "--yes")
    assert done.code == 0, done.err
    assert f"verified: a new {shell} has DOCKER_BUILDKIT=1 COMPOSE_DOCKER_CLI_BUILD=1" in done.err
    assert "verified: BuildKit works" in done.err
    assert variables(ready, shell) == ["<11>"]
    changed = path.read_bytes()
    again = ready.invoke("enable-buildkit", "--shell", shell, "--yes")
    assert "already set up; nothing changed" in again.err
    assert path.read_bytes() == changed
    assert ready.invoke("enable-buildkit", "--undo", "--yes").code == 0
    assert path.read_bytes() == ODD[shell][number]
    assert path.stat().st_mode & 0o777 == 0o640
    assert variables(ready, shell) == ["<>"]


@pytest.mark.parametrize("shell", list(RC))
def test_files_that_we_made_are_gone_after_undo(ready: Bench, shell: str) -> None:
    shells.program(shell)
    assert ready.invoke("enable-buildkit", "--shell", shell, "--yes").code == 0
    assert (home(ready) / RC[shell]).is_file()
    assert ready.invoke("enable-buildkit", "--undo", "--yes").code == 0
    assert not (home(ready) / RC[shell]).exists()
    assert not (home(ready) / ".config" / "buildkit-tasks").exists()


def test_a_login_bash_has_them_through_the_profile_it_reads_and_none_is_made(ready: Bench) -> None:
    profile = home(ready) / ".profile"
    profile.write_text("export P=1\n")
    assert ready.invoke("enable-buildkit", "--yes").code == 0
    assert variables(ready, "bash", "-l") == ["<11>"]
    assert not (home(ready) / ".bash_profile").exists()
    assert ready.invoke("enable-buildkit", "--undo", "--yes").code == 0
    assert profile.read_text() == "export P=1\n"


def test_zdotdir_that_only_zshenv_sets_is_found(ready: Bench) -> None:
    shells.program("zsh")
    (home(ready) / "z").mkdir()
    (home(ready) / ".zshenv").write_text('ZDOTDIR="$HOME/z"\n')
    assert ready.invoke("enable-buildkit", "--shell", "zsh", "--yes").code == 0
    assert (home(ready) / "z/.zshrc").is_file()
    assert not (home(ready) / ".zshrc").exists()
    assert variables(ready, "zsh") == ["<11>"]


def test_a_linked_rc_file_in_a_git_repository_stays_a_link_and_is_said(ready: Bench) -> None:
    dotfiles = home(ready) / "dotfiles"
    (dotfiles / ".git").mkdir(parents=True)
    (dotfiles / "bashrc").write_text("export A=1\n")
    (home(ready) / ".bashrc").symlink_to("dotfiles/bashrc")
    done = ready.invoke("enable-buildkit", "--yes")
    assert done.code == 0, done.err
    assert (home(ready) / ".bashrc").readlink() == Path("dotfiles/bashrc")
    assert "added by buildkit-tasks" in (dotfiles / "bashrc").read_text()
    assert str(home(ready)) not in (dotfiles / "bashrc").read_text()
    assert f"is in the git repository {dotfiles}" in done.err


def test_hard_links_see_the_same_text_and_the_old_one_is_kept(ready: Bench) -> None:
    path = rc(ready, "bash", b"export A=1\n")
    os.link(path, home(ready) / "other")
    done = ready.invoke("enable-buildkit", "--yes")
    assert (home(ready) / "other").read_bytes() == path.read_bytes() != b"export A=1\n"
    kept = Path(done.err.split("changed " + str(path) + " (backup: ")[1].split(")")[0])
    assert kept.read_bytes() == b"export A=1\n"


def test_a_line_that_switches_buildkit_off_is_named(ready: Bench) -> None:
    rc(ready, "bash", b"# x\nexport DOCKER_BUILDKIT=0\n")
    done = ready.invoke("enable-buildkit", "--yes")
    assert "line 2 of" in done.err
    assert "disables BuildKit" in done.err
    assert variables(ready, "bash") == ["<11>"]


def test_a_start_up_file_that_ends_early_fails_the_proof(ready: Bench) -> None:
    rc(ready, "bash", b"return\n")
    done = ready.invoke("enable-buildkit", "--yes")
    assert done.code == 28
    assert "error[verify-failed]: A new interactive bash does not set the BuildKit variables." in done.err


def test_dry_run_shows_the_edit_and_writes_nothing(ready: Bench) -> None:
    path = rc(ready, "bash", b"export A=1\n")
    done = ready.invoke("enable-buildkit", "--dry-run")
    assert done.code == 0
    assert '+if [ -r "$HOME"/.config/buildkit-tasks/env.sh ]' in done.err
    assert path.read_bytes() == b"export A=1\n"
    assert [p.name for p in home(ready).iterdir()] == [".bashrc"]


def test_without_consent_nothing_changes_and_the_code_says_so(ready: Bench) -> None:
    path = rc(ready, "bash", b"export A=1\n")
    done = ready.invoke("enable-buildkit")
    assert done.code == 18
    assert path.read_bytes() == b"export A=1\n"


@pytest.mark.parametrize(
    ("shell", "argv", "code"),
    [("/bin/ksh", (), 38), ("/bin/bash", ("--shell", "tcsh"), 33)],
    ids=["login shell unknown", "asked for unknown"],
)
def test_other_shells_get_clear_words(ready: Bench, shell: str, argv: tuple[str, ...], code: int) -> None:
    ready.env["SHELL"] = shell
    done = ready.invoke("enable-buildkit", *argv)
    assert done.code == code
    assert "--shell bash|zsh|fish" in done.err


def test_a_directory_in_place_of_the_file_is_a_problem(ready: Bench) -> None:
    (home(ready) / ".bashrc").mkdir()
    done = ready.invoke("enable-buildkit", "--yes")
    assert done.code == 39
    assert "error[rc-unwritable]" in done.err


def test_a_silent_engine_leaves_the_edit_and_says_what_is_not_tested(ready: Bench) -> None:
    ready.reply("build --output - -", code=1, stderr="cannot connect")
    ready.reply("info", stdout='{"ServerErrors":["refused"],"ClientInfo":{}}', code=1)
    ready.reply("context inspect", stdout="unix:///nonexistent/docker.sock\n")
    done = ready.invoke("enable-buildkit", "--yes")
    assert done.code == 0, done.err
    assert "not verified with a build: No engine is listening" in done.err


@pytest.mark.parametrize(("answer", "written"), [("y", True), ("n", False), ("", False)])
def test_a_person_is_shown_the_edit_and_asked(ready: Bench, answer: str, written: bool) -> None:
    path = rc(ready, "bash", b"export A=1\n")
    env = process.environment(ready.environment())
    child = pexpect.spawn(
        str(process.BIN / "invoke"), ["enable-buildkit"], cwd=str(ready.root), env=env, encoding="utf-8", timeout=30
    )
    child.expect_exact("+if [ -r")
    child.expect_exact("Continue? [y/N]")
    child.sendline(answer)
    child.expect_exact("verified: BuildKit works" if written else "nothing was changed")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert (path.read_bytes() != b"export A=1\n") is written


@pytest.mark.parametrize("shell", list(RC))
def test_env_serves_one_session(ready: Bench, shell: str) -> None:
    invoke = f"{process.BIN}/invoke env --shell {shell}"
    use = f"{invoke} | source" if shell == "fish" else f'eval "$({invoke})"'
    done = process.run(
        [shells.program(shell), "-c", f"{use}; echo $DOCKER_BUILDKIT$COMPOSE_DOCKER_CLI_BUILD"],
        ready.root,
        ready.environment(),
    )
    assert (done.code, done.out) == (0, "11\n"), done.err


def test_a_line_added_while_the_question_waits_is_kept(ready: Bench) -> None:
    path = rc(ready, "bash", b"export A=1\n")
    env = {**process.environment(ready.environment()), "TERM": "xterm"}
    asked = pexpect.spawn(str(process.BIN / "invoke"), ["enable-buildkit"], cwd=str(ready.root), env=env, timeout=30)
    asked.expect_exact("[y/N]")
    path.write_bytes(b"export A=1\nexport B=2\n")
    asked.sendline("y")
    asked.expect(pexpect.EOF)
    asked.close()
    assert asked.exitstatus == 39
    assert "was changed by another program" in str(asked.before)
    assert path.read_bytes() == b"export A=1\nexport B=2\n"
