"""GNU make and just as oracles: we read the same targets and recipes as they do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given, reject, settings
from hypothesis import strategies as st

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.world import World
from buildkit_tasks.equivalents.calls import Facts
from buildkit_tasks.makefile import ask, expand, justfile, makefile, mapping, reader, shim
from buildkit_tasks.makefile.model import Source
from tests.support import process
from tests.support.shells import program

NAMES = st.sampled_from(["a", "b-c", "d.e", "f_g", "h\\:i", "j$$k", "l\\#m", "$(N)", "$(N)x", "${P}/y", "test", "up"])
VARIABLES = st.sampled_from(["N", "P", "Q", "R"])
VALUES = st.sampled_from(["v", "w x", "$(N)z", "a\\\n  b", "1 # no", "$(subst v,u,$(N))", "", "$(addprefix -,a b)"])
COMMANDS = st.sampled_from(
    [
        "cargo test -p $(N)",
        "@cargo fmt --check",
        "-docker compose down",
        "echo '$(P)' \\\n\tdone",
        "docker compose up -d $(Q)",
        "echo $$HOME; cargo check",
        "echo $(strip  $(R)  )",
        "cargo test \\\n\t  --release",
        "./x.sh $@",
        "# only a comment",
        "echo $(if $(N),yes,no) $(call F,1)",
    ]
)
OPERATORS = st.sampled_from(["=", ":=", "?=", "+=", "::="])


@st.composite
def makefiles(draw: st.DrawFn) -> str:
    """Generate a Makefile that make accepts, with constructs from public Makefiles."""
    lines = ["N = v", "F = [$(1)]"]
    for _ in range(draw(st.integers(0, 10))):
        kind = draw(
            st.sampled_from(["rule", "rule", "rule", "variable", "define", "if", "comment", "phony", "specific"])
        )
        if kind == "variable":
            lines.append(f"{draw(VARIABLES)} {draw(OPERATORS)} {draw(VALUES)}")
        elif kind == "define":
            lines += [f"define {draw(VARIABLES)}", "  cargo test", "endef"]
        elif kind == "if":
            lines += [f"ifeq ({draw(st.sampled_from(['1', '2']))},1)", *rule(draw), "else", *rule(draw), "endif"]
        elif kind == "comment":
            lines += ["# docker: not a rule", ""]
        elif kind == "phony":
            lines.append(f".PHONY: {draw(NAMES)}")
        elif kind == "specific":
            lines.append(f"{draw(NAMES)}: Q = {draw(st.sampled_from(['q', 'r s']))}")
        else:
            lines += rule(draw)
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return end.join("\n".join(lines).split("\n")) + draw(st.sampled_from([end, ""]))


def rule(draw: st.DrawFn) -> list[str]:
    names = " ".join(draw(st.lists(NAMES, min_size=1, max_size=2, unique=True)))
    needs = " ".join(draw(st.lists(NAMES, max_size=2)))
    head = f"{names}:{needs and ' '}{needs}{draw(st.sampled_from(['', ' ## help: me', ' # x']))}"
    commands = draw(st.lists(COMMANDS, max_size=3))
    if commands and draw(st.integers(0, 5)) == 0 and "\n" not in commands[0] and "#" not in head:
        head += f" ; {commands.pop(0)}"
    return [head, *(f"\t{command}" for command in commands)]


def make(folder: Path, *words: str) -> process.Done:
    quiet = {"MAKEFLAGS": None, "MAKEFILES": None, "MAKELEVEL": None, "LC_ALL": "C"}
    return process.run([program("make"), "--no-print-directory", *words], folder, quiet, timeout=30)


def read(text: str) -> tuple[Source, expand.Variables]:
    variables = expand.Variables()
    return reader.read("Makefile", text, variables=variables)[0], variables


def accepted(text: str) -> tuple[Source, expand.Variables]:
    try:
        return read(text)
    except Problem:
        reject()


@settings(max_examples=250, deadline=None)
@given(text=makefiles())
@example(text="N = v\nN += \n$(N)x:\n")
@example(text="N = $(N)z\n$(N):\n")
@example(text="N = $(P)\nP = $(N)\nQ := $(P)\na:\n")
@example(text="N = $(N)z\na: $(N)\n")
@example(text="N = $(N)z\nifeq ($(N),1)\na:\nendif\n")
@example(text="N = $(N)z\nifeq (1,2)\n$(N):\nendif\na:\n\techo $(N)\n")
@example(text="N = $(N)z\nF = $(call G,$(1))\nG = $(F)\na: Q = $(N)\na:\nb:\n\techo $(N)\n")
def test_the_targets_are_those_that_make_finds(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("make", numbered=True)
    (folder / "Makefile").write_bytes(text.encode())
    done = make(folder, "-pRrq", "-f", "Makefile", ".none")
    try:
        found, _ = read(text)
    except Problem:
        assert "***" in done.err
        return
    if "Recursive variable" in done.err:  # in a branch that make uses; we do not evaluate conditions
        assert any(rule.conditions for rule in found.rules), text
        return
    assert "missing separator" not in done.err, text
    ours = {name for rule in found.rules for name in rule.names}
    conditional = {name for rule in found.rules if rule.conditions for name in rule.names}
    theirs = ask.targets(done.out)
    assert theirs - ours - found.mentioned == set()
    assert ours - theirs - conditional == set()


@settings(max_examples=150, deadline=None)
@given(text=makefiles())
def test_recipes_expand_to_what_make_would_run(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("make", numbered=True)
    (folder / "Makefile").write_bytes(text.encode())
    found, variables = accepted(text)
    counts = [name for rule in found.rules if rule.steps for name in rule.names]
    for rule in found.rules:
        try:
            texts = [expand.expand(step.text, variables.values) for step in rule.steps]
        except expand.SelfReference:
            continue
        name = rule.names[0] if rule.names else ""
        if rule.kept or not rule.steps or None in texts or counts.count(name) > 1 or "/" in name:
            continue
        done = make(folder, "-n", "-B", "-f", "Makefile", name)
        if done.code != 0:  # a prerequisite without a rule
            continue
        wanted = "\n".join(text.lstrip("@-+ \t") for text in texts if text)
        assert done.out.rstrip("\n").endswith(wanted.strip("\n")), (text, name)


@settings(max_examples=150, deadline=None)
@given(text=makefiles())
def test_the_shim_has_the_same_targets_and_is_read_again_without_a_change(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    found, variables = accepted(text)
    facts = Facts(("compose.yaml",), values=found.variables, service_word=makefile.service_word)
    rows = mapping.rows([found], makefile.language(variables.values), facts, "invoke")
    new = shim.text(found, rows)
    replaced = {name for row in rows if row.replaced for name in row.rule.names}
    lines = [
        line for row in rows if row.replaced for step in row.rule.steps for line in range(step.first, step.last + 1)
    ]
    kept = [line for i, line in enumerate(found.lines) if i not in lines and "; " not in line]
    assert all(line.rstrip("\r\n") in new for line in kept)
    folder = tmp_path_factory.mktemp("make", numbered=True)
    (folder / "Makefile").write_bytes(text.encode())
    before = make(folder, "-pRrq", "-f", "Makefile", ".none")
    (folder / "Makefile").write_bytes(new.encode())
    after = make(folder, "-pRrq", "-f", "Makefile", ".none")
    assert ask.targets(before.out) == ask.targets(after.out)
    if new != text:  # patch accepts the diff
        (folder / "Makefile").write_bytes(text.encode())
        changes = shim.diff(found, shim.edits(found, rows)) + "\n"
        if "\r" not in text and text.endswith("\n"):
            process.ok(["git", "init", "-q"], folder)
            (folder / "x.patch").write_text(changes)
            process.ok(["git", "apply", "x.patch"], folder)
            assert (folder / "Makefile").read_bytes().decode() == new
    again, later = read(new)
    assert replaced <= again.phony or not replaced
    more = mapping.rows([again], makefile.language(later.values), facts, "invoke")
    assert shim.text(again, more) == new


RECIPES = st.sampled_from(
    [
        "cargo test {{a}}",
        "@echo {{{{x",
        "docker compose up -d",
        "echo \\\n      b",
        "./x.sh",
        "#!/bin/sh",
        "cargo fmt # x",
    ]
)


@st.composite
def justfiles(draw: st.DrawFn) -> str:
    """Generate a justfile that just accepts."""
    lines = ["a := 'v'"]
    for i in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["recipe", "recipe", "recipe", "set", "alias", "string", "comment"]))
        if kind == "set":
            lines.append(draw(st.sampled_from(["set dotenv-load", "set shell := ['bash', '-c']"])) if i == 0 else "")
        elif kind == "alias":
            lines += [f"alias s{i} := r{i}", f"r{i}:", "    echo"]
        elif kind == "string":
            lines += [f"s{i} := '''", "no: recipe", "  here", "'''"]
        elif kind == "comment":
            lines.append("# docker: not a recipe")
        else:
            head = draw(st.sampled_from(["", "@"])) + f"r{i}"
            head += draw(st.sampled_from(["", " p", " p='x:y'", ' p=("a" + a) *q', " +q", " $e"]))
            needs = draw(st.sampled_from(["", " r{i}d", " (r{i}d)", " && r{i}d"])).format(i=i)
            attribute = draw(st.sampled_from([[], ["[private]"], ["[group('x')]"], ["[doc('d: e')]"]]))
            lines += [*attribute, f"{head}:{needs}", *(f"    {c}" for c in draw(st.lists(RECIPES, max_size=2)))]
            lines += [f"r{i}d:", "    echo"] if needs else []
    return draw(st.sampled_from(["\n", "\r\n"])).join("\n".join(lines).split("\n")) + "\n"


@settings(max_examples=150, deadline=None)
@given(text=justfiles())
def test_the_recipes_are_those_that_just_finds(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("just", numbered=True)
    (folder / "justfile").write_bytes(text.encode())
    just = process.BIN / "just"
    done = process.run([just, "--dump", "--dump-format", "json", "--justfile", "justfile"], folder, timeout=30)
    assert done.code == 0, (text, done.err)
    found = justfile.read("justfile", text)[0]
    theirs = json.loads(done.out)["recipes"]
    assert {rule.names[0] for rule in found.rules} == set(theirs)
    for rule in found.rules:
        recipe = theirs[rule.names[0]]
        assert [p.strip("*+=") for p in rule.parameters] == [p["name"] for p in recipe["parameters"]], text
        assert list(rule.prerequisites) == [d["recipe"] for d in recipe["dependencies"]], text
    facts = Facts(values=found.variables)
    rows = mapping.rows([found], justfile.language(found.variables), facts, "invoke")
    new = shim.text(found, rows, phony=False)
    (folder / "justfile").write_bytes(new.encode())
    after = process.run([just, "--summary", "--unsorted", "--justfile", "justfile"], folder, timeout=30)
    assert after.code == 0, (new, after.err)
    again = justfile.read("justfile", new)[0]
    assert (
        shim.text(again, mapping.rows([again], justfile.language(again.variables), facts, "invoke"), phony=False) == new
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("all: ; touch ran\nb:\n\t+touch ran\n\t$(MAKE) b\n.PHONY: all b\n", ""),
        ("A := $(shell touch ran)\n", "Makefile:1 runs a command"),
        ("A != touch ran\n", "Makefile:1 runs a command"),
        ("$(eval A := 1)\n", "Makefile:1 runs a command"),
        ("%:\n\ttouch ran\n", "Makefile:1 may remake a Makefile"),
        ("-include x.mk\nx.mk:\n\ttouch ran\n", "Makefile:2 may remake a Makefile"),
        (
            "include $(wildcard *.mk)\n",
            "Makefile:1 includes files whose names cannot be determined without running make",
        ),
    ],
)
def test_make_is_only_asked_where_that_runs_nothing(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(text)
    sources = reader.read("Makefile", text)
    assert ask.unsafe(sources).startswith(why) if why else ask.unsafe(sources) == ""
    if not why:
        world = World(env={"PATH": f"{Path(program('make')).parent}:/bin"}, cwd=tmp_path, home=tmp_path)
        assert ask.make(world, tmp_path, "Makefile") == frozenset({"all", "b"})
        assert not (tmp_path / "ran").exists()
