"""Compare how we and compose read and complete .env: 2,000 generated files."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from buildkit_tasks.dotenv import edit as dotenv_edit
from buildkit_tasks.dotenv import mask as dotenv_mask
from buildkit_tasks.dotenv import text as dotenv_text
from tests.support import compose_oracle
from tests.support.dotenv_files import AROUND, FILES, NAMES, WILD

ENVIRONMENT = {k: v for k, v in compose_oracle.ENVIRONMENT.items() if v is not None}
ASKED = (*NAMES, *AROUND)


@pytest.fixture(scope="module")
def compose() -> Path:
    """Return the installed compose."""
    return compose_oracle.plugin()


def generated(strategy: st.SearchStrategy[bytes], number: int) -> list[bytes]:
    """Return this many different files, the same ones each time."""
    made: dict[bytes, None] = {}

    @settings(
        max_examples=number * 2,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(content: bytes) -> None:
        if len(made) < number:
            made[content] = None

    collect()
    return list(made)


def ours(content: bytes) -> dict[str, str]:
    """Return our values of the names that are compared; show bytes that are not UTF-8 as Go does."""
    read = {**dotenv_text.values(dotenv_text.decode(content), ENVIRONMENT), **ENVIRONMENT}
    mark = dict.fromkeys(range(0xDC80, 0xDD00), "\ufffd")
    return {k: v.translate(mark) for k, v in read.items() if k in ASKED}


def check(compose: Path, place: Path, files: Sequence[bytes]) -> tuple[int, int]:
    """Check that compose and we accept the same files with the same values; count the accepted and rejected files."""
    read: dict[bytes, dict[str, str]] = {}
    refused: dict[bytes, dotenv_text.Refused] = {}
    for content in files:
        try:
            read[content] = ours(content)
        except dotenv_text.Refused as refusal:
            refused[content] = refusal
    names = list(read)
    for start in range(0, len(names), 200):
        batch = names[start : start + 200]
        for content, its in zip(batch, compose_oracle.read(compose, place / "batch", batch, ASKED), strict=True):
            assert read[content] == its, content

    def said(item: tuple[int, bytes]) -> str:
        return compose_oracle.refusal(compose, place / f"one{item[0]}", item[1])

    with ThreadPoolExecutor(2) as pool:
        for (content, error), words in zip(refused.items(), pool.map(said, enumerate(refused)), strict=True):
            assert words, f"compose reads {content!r}, we refuse it: {error}"
            its_line = compose_oracle.line_of(words)
            if its_line and error.words.startswith(("unexpected", "key cannot")):
                assert its_line == error.line, (content, error, words)
    return len(read), len(refused)


def test_2000_generated_files_are_read_as_compose_reads_them(compose: Path, tmp_path: Path) -> None:
    files = dict.fromkeys([*generated(FILES, 1920), *generated(WILD, 120)])
    read, refused = check(compose, tmp_path, list(files)[-2000:])
    assert read + refused == 2000
    assert min(read, 8 * refused) > 1200


def test_completed_files_mean_to_compose_what_they_mean_to_us(compose: Path, tmp_path: Path) -> None:
    files = [content for content in generated(FILES, 600) if content]
    completed = []
    for example, existing in zip(files[::2], files[1::2], strict=False):
        texts = dotenv_text.decode(example), dotenv_text.decode(existing)
        try:
            generate = {name: f"made-{number}" for number, name in enumerate(dotenv_edit.empty_names(texts[0]))}
            done = dotenv_edit.complete(*texts, generate)
        except dotenv_text.Refused:
            continue
        completed.append(dotenv_text.encode(done.text))
    assert len(completed) > 150
    check(compose, tmp_path, completed)


REFUSED = [
    b"PW=hunter${22\n",
    b'A=1\nPW="hunter22\n',
    b"PW;=hunter22\n",
    b"hunter22\xe9+x=1\n",
    b"PW=hunter22\nP W=hunter22\n",
    b"PW=${X?hunter22}\n",
]


@pytest.mark.parametrize("content", REFUSED, ids=repr)
def test_no_value_is_left_in_composes_own_words(compose: Path, tmp_path: Path, content: bytes) -> None:
    words = compose_oracle.refusal(compose, tmp_path / "p", content)
    assert words
    assert "hunter" not in dotenv_mask.mask(words, dotenv_text.decode(content))
