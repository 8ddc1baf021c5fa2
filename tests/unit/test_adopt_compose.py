"""Compose files in common styles, edited in place: the model changes, and every other line stays the same."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from buildkit_tasks.adopt import composefile, pythonfiles
from buildkit_tasks.adopt.composefile import Build
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.survey import model as survey_model

OURS = Build("api", ".", "docker/Dockerfile", "runtime", {"BIN": "api", "CACHE_SCOPE": "shop"}, ("OLD",))


def model(text: str) -> Any:
    return YAML(typ="safe").load(io.StringIO(text))


def check(text: str) -> str:
    after = composefile.edit({"compose.yaml": text}, [OURS]).texts["compose.yaml"]
    old, new = model(text), model(after)
    before, build = old["services"]["api"].pop("build", None), new["services"]["api"].pop("build")
    assert {k: build[k] for k in ("context", "dockerfile", "target")} == OURS.what
    before = before if isinstance(before, dict) else {}
    args = before.get("args") or {}
    if isinstance(args, list):
        args = dict(str(a).split("=", 1) for a in args)
    kept = {k: v for k, v in args.items() if k != "OLD"}
    assert build["args"] == {"CARGO_INCREMENTAL": "${CARGO_INCREMENTAL:-}", **kept, **OURS.args}
    ours = ("context", "dockerfile", "dockerfile_inline", "target", "args")
    assert {k: v for k, v in build.items() if k not in ours} == {k: v for k, v in before.items() if k not in ours}
    assert old == new
    # running it again changes nothing
    assert composefile.edit({"compose.yaml": after}, [OURS]).texts["compose.yaml"] == after
    return after


@pytest.mark.parametrize(
    "text",
    [
        "services:\n  api:\n    build: .\n",
        "services:\n  api:\n    build: './a b'   # why\n    ports: [80]\n",
        "services:\n  api:\n    build: {context: ., args: {OLD: 1, P: x}}\n",
        "services:\n  api: {build: ., ports: ['80:80']}\n",
        (
            "services:\n    api:\n        build:\n            context: .\n            args:\n"
            "            - OLD=1\n            - P=x=y\n        init: true\n"
        ),
        (
            "services:\n  api:\n    build:\n      args:\n        # about P\n        P: 'x'   # p\n"
            "        OLD: 1\n      context: .\n      labels: [a=b]\n"
        ),
        (
            "services:\n  api:\n    build:\n      dockerfile_inline: |\n        FROM a\n        RUN b\n"
            "      context: .\n    image: x\n"
        ),
        (
            "services:\n  api:\n    build:\n      context: .\n      # the last word\n\n  # of the database\n"
            "  db:\n    image: x\n"
        ),
        (
            "x-b: &b\n  context: .\n  args: {OLD: 1, P: 2}\n  labels: {a: b}\nservices:\n  api:\n"
            "    build: *b\n  web:\n    build: *b\n"
        ),
        (
            "x-b: &b\n  context: .\n  args: {P: 2}\nservices:\n  api:\n    build:\n      <<: *b\n"
            "      target: t\n  web:\n    build: *b\n"
        ),
        (
            "x-s: &s\n  build: {context: ., args: {P: 2}}\n  init: true\nservices:\n  api:\n    <<: *s\n"
            "    ports: [80]\n  web:\n    <<: *s\n"
        ),
        (
            "x-a: &a\n  P: 2\nservices:\n  api:\n    build:\n      context: .\n      args:\n        <<: *a\n"
            "        OLD: 1\n"
        ),
        (
            "services:\n  api:\n    image: x\n    build:\n      context: .\n      secrets:\n        - one\n"
            "secrets:\n  one: {file: a}\n"
        ),
        '"services":\n  "api":\n    "build": "."\n',
        (
            "---\n# top\nservices:\n  api:\n    build:\n      context: .\n"
            "      args: {P: 1.10, Q: 'no', R: 0x10, S: ~}\n...\n"
        ),
        "services:\r\n  api:\r\n    build: .\r\n    init: true\r\n",
    ],
)
def test_every_form(text: str) -> None:
    after = check(text)
    gone = [line for line in text.split("\n") if line not in after.split("\n")]
    about = ("build", "context", "dockerfile", "target", "args", "OLD", "P=", "P:", "FROM a", "RUN b", "api: {")
    assert all(any(word in line for word in about) for line in gone), gone


_WORD = st.sampled_from(["a", "b-c", "D_E", "x.y", "1.10", "no", "~", "a b", "#", "${V:-1}", "ü", "8080:80"])


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["P", "OLD", "BIN", "Q_R"]), _WORD, max_size=4),
    st.sampled_from([2, 3, 4]),
    st.booleans(),
    st.dictionaries(st.sampled_from(["labels", "network", "shm_size"]), _WORD, max_size=3),
    st.sampled_from(["", "# a comment", "\n"]),
)
def test_any_block(args: dict[str, str], step: int, listed: bool, rest: dict[str, str], between: str) -> None:
    pad = " " * step
    lines = ["services:", f"{pad}db:", f"{pad * 2}image: x", f"{pad}api:", f"{pad * 2}build:", f"{pad * 3}context: ."]
    if args:
        lines.append(f"{pad * 3}args:")
        quoted = {k: "'" + v + "'" for k, v in args.items()}
        lines += [f"{pad * 4}- '{k}={v}'" if listed else f"{pad * 4}{k}: {quoted[k]}" for k, v in args.items()]
    lines += [f"{pad * 3}{k}: '{v}'" for k, v in rest.items()]
    lines += [between, f"{pad * 2}init: true", f"{pad}z:", f"{pad * 2}image: y", ""]
    text = "\n".join(lines)
    if "BIN" in args:
        text = text.replace("BIN", "BINX")
    check(text)


def test_services_at_the_end() -> None:
    text = "services:\n    db:\n        image: x   # y\n\nvolumes:\n    v:\n"
    after = composefile.appended(text, [OURS])
    assert after.startswith("services:\n    db:\n        image: x   # y\n")
    assert after.endswith("\nvolumes:\n    v:\n")
    assert model(after)["services"]["api"]["build"]["target"] == "runtime"


def test_a_broken_file_is_named_with_its_line() -> None:
    with pytest.raises(Problem, match=r"compose.yaml, line 4 is not valid YAML"):
        composefile.edit({"compose.yaml": "services:\n  api:\n    build: [\n"}, [OURS])


def test_variables_without_a_value_are_named_where_compose_stops_because_of_them() -> None:
    said = (
        'time="2026-01-01T00:00:00Z" level=warning msg="The \\"DB_USER\\" variable is not set. Defaulting to a blank '
        'string."\nThe "PORT" variable is not set. Defaulting to a blank string.\nNo port specified: :<empty>'
    )
    refused = survey_model._refused(["docker/compose.yml"], said)
    assert refused.message == "Compose cannot read docker/compose.yml; variables without a value: DB_USER, PORT."
    assert "docker/.env" in refused.hint


def test_a_setting_is_a_table_of_its_own_with_blank_lines_around_it() -> None:
    text = "[tool.ruff]\nline-length = 100\n\n[build-system]\nrequires = []\n"
    written = pythonfiles.pyproject(text, {"project.compose_file": "a/b.yml"})
    ours = '[tool.buildkit-tasks.project]\ncompose_file = "a/b.yml"\n\n'
    assert written == text.replace("[build-system]", f"{ours}[build-system]")
