"""How tests wait for the output of a program or a container, and for each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import beside, process

#: A docker with a container that exited at 10, restarted, listened at 12, and was recorded as started at 13.
DOCKER = """\
#!/bin/sh
case "$*" in
inspect*FinishedAt*) echo 10 ;;
inspect*StartedAt*) echo 13 ;;
logs*) for line in "09 listens, before its end" "12 listens again"; do
    [ "${line%% *}" -lt "$4" ] || echo "$line"
  done; exec sleep 60 ;;
esac
"""


def test_what_a_container_says_before_its_start_is_noted_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setattr(process, "BIN", tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    process.wait_for_container("node", "listens again")


def test_waiting_has_an_end(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no 'ready' in 0 s:\nsaid this"):
        process.wait_for(["sh", "-c", "echo said this; exec sleep 60"], "ready", seconds=0.3)


def test_of_sessions_on_one_engine_the_last_one_tidies_up(tmp_path: Path) -> None:
    with beside.others(tmp_path / "cache/lock") as last:
        with beside.others(tmp_path / "cache/lock") as first:
            assert not first()
        assert last()
