"""rc edits: adding twice is the same as adding once, and undo restores every byte, in every kind of file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buildkit_tasks.shells import buildkit_line

HOME = Path("/home/ann")
LINES = {
    shell: buildkit_line.line(shell, buildkit_line.env_file(shell, HOME / ".config/buildkit-tasks"), HOME)
    for shell in buildkit_line.SHELLS
}

# The content of rc files, including what breaks naive editors: a missing last line break, CRLF, lone CR, form feeds,
# continuations, bytes that are not UTF-8 (surrogates, as files are read), comments and our own text without our marker.
ROWS = (
    *("export A=1", "alias ll='ls -l' \\", "\\", "\\\\", "# buildkit-tasks", "if true; then", "fi", "set -gx A b"),
    *("case $- in *i*) ;; *) return;; esac", "\x0c", "\u2028", "\udcff\udc80", "source x\r", "\r", " ", ""),
)
PIECE = st.one_of(
    st.sampled_from(ROWS),
    st.text(st.characters(exclude_characters="\n"), max_size=20),
)
RC = st.lists(st.tuples(PIECE, st.sampled_from(["\n", "\r\n", "\n\n", ""])), max_size=12).map(
    lambda rows: "".join(text + end for text, end in rows)
)
SHELL = st.sampled_from(buildkit_line.SHELLS)


@given(SHELL, RC, st.booleans())
@example("bash", "alias a=b \\", False)
@example("bash", "alias a=b \\\r\n", False)
@example("zsh", "x\r\ny", False)
@example("zsh", "source x\r", False)
@example("fish", "", True)
def test_add_twice_is_add_once_and_undo_gives_the_bytes_back(shell: str, text: str, new: bool) -> None:
    new = new and text == ""
    once = buildkit_line.add(text, LINES[shell], new_file=new)
    assert buildkit_line.present(once)
    assert buildkit_line.add(once, LINES[shell]) == once
    assert buildkit_line.remove(once) == buildkit_line.Removed(text, delete=new)
    assert once.startswith(text)


@given(SHELL, RC)
def test_undo_without_our_line_changes_nothing(shell: str, text: str) -> None:
    assert buildkit_line.remove(text) == buildkit_line.Removed(text)


@given(SHELL, RC, RC.filter(bool))
def test_what_was_written_after_our_line_survives_undo_on_lines_of_its_own(shell: str, text: str, more: str) -> None:
    left = buildkit_line.remove(buildkit_line.add(text, LINES[shell]) + more).text
    assert left.startswith(text)
    assert left.endswith(more)
    between = left[len(text) : len(left) - len(more)]
    assert between.strip("\r\n") == ""
    assert not text or text.endswith("\n") or between.startswith(("\n", "\r\n"))


@given(SHELL, RC)
def test_our_line_is_a_whole_line_that_nothing_continues_into(shell: str, text: str) -> None:
    rows = buildkit_line.add(text, LINES[shell]).split("\n")
    assert rows[-1] == ""
    assert rows[-2].startswith(LINES[shell])
    before = rows[-3].removesuffix("\r") if len(rows) > 2 else ""
    assert (len(before) - len(before.rstrip("\\"))) % 2 == 0


def test_crlf_files_stay_crlf() -> None:
    text = "export A=1\r\nexport B=2\r\n"
    assert (
        buildkit_line.add(text, LINES["bash"]).count("\n") == buildkit_line.add(text, LINES["bash"]).count("\r\n") == 3
    )


def test_an_older_line_is_replaced_where_it_stands() -> None:
    old = buildkit_line.add("first\n", "if [ -r /old ]; then . /old; fi") + "last\n"
    new = buildkit_line.add(old, LINES["bash"])
    assert "/old" not in new
    assert new.startswith(f"first\n{LINES['bash']}  #")
    assert new.endswith("\nlast\n")


def test_paths_are_quoted_and_home_stays_a_variable() -> None:
    odd = HOME / "my $(dir)'s" / "env.sh"
    assert buildkit_line.line("bash", odd, HOME).startswith("if [ -r \"$HOME\"/'my $(dir)'\"'\"'s/env.sh' ]; then . ")
    assert buildkit_line.line("fish", odd, HOME).startswith("if test -r \"$HOME\"/'my $(dir)\\'s/env.sh'; source ")
    assert (
        buildkit_line.line("bash", Path("/etc/x/env.sh"), HOME) == "if [ -r /etc/x/env.sh ]; then . /etc/x/env.sh; fi"
    )


@pytest.mark.parametrize(
    ("shell", "exists", "macos", "wanted"),
    [
        ("bash", (), False, [".bashrc"]),
        ("bash", (".profile",), False, [".bashrc", ".profile"]),
        ("bash", (".profile", ".bash_profile"), False, [".bashrc", ".bash_profile"]),
        ("bash", (), True, [".bashrc", ".profile"]),
        ("bash", (".bash_login",), True, [".bashrc", ".bash_login"]),
        ("zsh", (), False, [".zshrc"]),
        ("fish", (), True, [".config/fish/config.fish"]),
    ],
)
def test_rc_files_are_those_the_shell_reads(
    shell: str, exists: tuple[str, ...], macos: bool, wanted: list[str]
) -> None:
    found = buildkit_line.rc_files(
        shell, HOME, exists={HOME / e for e in exists}, zdotdir=None, config_home=HOME / ".config", macos=macos
    )
    assert found == tuple(HOME / w for w in wanted)


def test_zsh_honours_zdotdir() -> None:
    found = buildkit_line.rc_files("zsh", HOME, exists=(), zdotdir=Path("/z"), config_home=HOME, macos=False)
    assert found == (Path("/z/.zshrc"),)


@pytest.mark.parametrize(
    ("given_", "wanted"), [("", ".config"), ("relative", ".config"), ("/a\nb", ".config"), ("/xdg", "/xdg")]
)
def test_the_config_directory_is_xdg_s(given_: str, wanted: str) -> None:
    assert buildkit_line.config_dir({"XDG_CONFIG_HOME": given_}, HOME) == HOME / wanted / "buildkit-tasks"


def test_lines_that_switch_buildkit_off_are_found_by_number() -> None:
    text = "export DOCKER_BUILDKIT=1\nexport DOCKER_BUILDKIT=0\n# DOCKER_BUILDKIT=0\nset -gx DOCKER_BUILDKIT 0\n"
    assert buildkit_line.overruled(text) == (2, 4)


def test_a_profile_that_reads_bashrc_is_told_from_one_that_mentions_it() -> None:
    assert buildkit_line.reads_bashrc("if [ -f ~/.bashrc ]; then . ~/.bashrc; fi\n")
    assert not buildkit_line.reads_bashrc("# ~/.bashrc is read elsewhere\n")
