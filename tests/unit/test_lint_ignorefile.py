"""Which files docker excludes from a context. The expected results come from moby/patternmatcher."""

from __future__ import annotations

import pytest

from buildkit_tasks.lint.ignorefile import IgnoreFile


@pytest.mark.parametrize(
    ("text", "out", "stays"),
    [
        (None, [], ["README.md", "target/debug/x"]),
        ("target\n", ["target/debug/x"], ["services/target/x", "targets/x"]),
        ("**/target\n", ["target/x", "a/b/target/x"], ["a/targets/x"]),
        ("/target/\n", ["target/x"], ["a/target/x"]),
        ("./target/./debug/..\n", ["target/x"], []),
        ("*\n!services\n", ["README.md", ".git/HEAD"], ["services/target/x"]),
        ("*\n!services\nservices/*/target\n", ["services/a/target/x"], ["services/target/x", "services/a/src/x"]),
        ("**/target\n!services\n", ["target/x", "services/target/x"], ["services/x"]),
        ("*.md\n!README.md\n", ["a.md"], ["README.md", "docs/a.md"]),
        ("**/*.md", ["README.md", "a/b/c.md"], ["a.mdx"]),
        ("# target\n\n   \n  target  \n", ["target/x"], ["# target"]),
        ("tar?et\n[st]rc\n[^a]x\n", ["target/x", "src/a", "bx"], ["tar/et", "ax", "arc"]),
        ("a/**/b\n", ["a/b", "a/x/y/b/c"], ["b", "a/x"]),
        ("\\*\n", ["*"], ["x"]),
        ("\n!\n/\n.\n[\n", [], ["x"]),
    ],
)
def test_last_match_wins_and_parents_count(text: str | None, out: list[str], stays: list[str]) -> None:
    file = IgnoreFile(text)
    assert [p for p in out if not file.excludes(p)] == []
    assert [p for p in stays if file.excludes(p)] == []
