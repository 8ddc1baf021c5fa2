"""Checks of a smoke test: how they are written, and what they report about a response."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Port
from buildkit_tasks.stack import checks
from buildkit_tasks.stack.checks import Check


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("api /health", Check("api", 0, "GET", "/health")),
        ("api:8080 POST /a?b=c status=ok n=3", Check("api", 8080, "POST", "/a?b=c", (("status", "ok"), ("n", "3")))),
        ("api / a.0.b=x=y c=", Check("api", 0, "GET", "/", (("a.0.b", "x=y"), ("c", "")))),
    ],
)
def test_a_check_is_read(text: str, check: Check) -> None:
    assert checks.parse(text) == check


WRONG = ("", "api", "/health", "api health", "api GET", "api: /", "api:x /", "api / =1", "api / a")


@pytest.mark.parametrize("text", WRONG)
def test_what_is_not_a_check_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(Problem) as refused:
        checks.parse(text)
    assert refused.value.code == "settings-invalid"
    assert "SERVICE[:PORT]" in refused.value.hint


@given(st.text())
def test_any_text_is_a_check_or_refused(text: str) -> None:
    with contextlib.suppress(Problem):
        assert checks.parse(text).path.startswith("/")


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b'{"status": "ok", "n": 3, "deep": [{"on": true}]}', ""),
        (200, b'{"status": "ok", "n": 4, "deep": [{"on": true}]}', "n is 4, not 3"),
        (200, b'{"status": "ok"}', "n is missing, not 3"),
        (200, b'["x"]', "status is missing, not ok"),
        (200, b"<html>", "did not respond with JSON: <html>"),
        (200, b"[" * 100_000, f"did not respond with JSON: {'[' * 200}"),
        (503, b"down", "responded with 503: down"),
    ],
)
def test_an_answer_is_compared_field_by_field(status: int, body: bytes, words: str) -> None:
    check = checks.parse("api / status=ok n=3 deep.0.on=true")
    assert checks.wrong(check, status, body) == words


def test_a_service_is_found_by_its_port() -> None:
    ports = [Port("api", "::", 5353, 53, "udp"), Port("api", "::", 9000, 80), Port("api", "::1", 9001, 81)]
    assert checks.address(checks.parse("api /"), ports) == ("127.0.0.1", 9000)
    assert checks.address(checks.parse("api:81 /"), ports) == ("::1", 9001)
    with pytest.raises(Problem, match="does not publish port 82"):
        checks.address(checks.parse("api:82 /"), ports)
    with pytest.raises(Problem, match="publishes no ports"):
        checks.address(checks.parse("web /"), ports)
