"""What is read from a Makefile and from a justfile: every kind of line in GNU make and just."""

from __future__ import annotations

import contextlib
import time

import pytest

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.makefile import justfile, reader
from buildkit_tasks.makefile.expand import Value, Variables, expand
from buildkit_tasks.makefile.model import Rule, Source


def source(text: str) -> Source:
    return reader.read("Makefile", text)[0]


def rule(text: str, name: str) -> Rule:
    return next(r for r in source(text).rules if name in r.names)


def recipe(found: Rule) -> list[str]:
    return [step.text for step in found.steps]


@pytest.mark.parametrize(
    ("text", "names", "needs", "lines"),
    [
        ("a: b c\n\tx\n\ty\n", ("a",), ("b", "c"), ["x", "y"]),
        ("a b: | c\n\tx\n", ("a", "b"), ("c",), ["x"]),
        ("a:\n\tx \\\n\ty\n", ("a",), (), ["x \\\ny"]),  # the prefix of a continued line is not part of the command
        ("a: b \\\n   c\n\tx\n", ("a",), ("b", "c"), ["x"]),
        ("a:\n\n# comment\n\tx\n\n\ty\n", ("a",), (), ["x", "y"]),
        ("\ufeffa:\n\tx\n", ("a",), (), ["x"]),
        ("a: b\r\n\tx \\\r\n\ty\r\n", ("a",), ("b",), ["x \\\ny"]),
        ("a: b ; x\n\ty\n", ("a",), ("b",), ["x", "y"]),
        ("a:\n\tx", ("a",), (), ["x"]),
        ("N = a\n$(N)-$(N): $(N)\n\tx\n", ("a-a",), ("a",), ["x"]),
        ("a\\:b c\\#d:\n\tx\n", ("a:b", "c#d"), (), ["x"]),
        ("a$$b:\n\tx\n", ("a$b",), (), ["x"]),
        (".RECIPEPREFIX = >\na:\n>x\n> y\n", ("a",), (), ["x", " y"]),
        ("a:\n\tx\n\n    V = 1\n\nb:\n\ty\n", ("a",), (), ["x"]),
        ("a: b.mk $(wildcard *.rs)\n\tx\n", ("a",), (), ["x"]),  # prerequisites that only make can determine
        ("é-\udce9:\n\tx\udcff\n", ("é-\udce9",), (), ["x\udcff"]),
    ],
)
def test_a_rule_with_its_recipe(text: str, names: tuple[str, ...], needs: tuple[str, ...], lines: list[str]) -> None:
    found = source(text).rules[0]
    assert (found.names, found.prerequisites, recipe(found)) == (names, needs, lines)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ifeq ($(X),1)\na:\n\tx\nelse\nb:\n\ty\nendif\n", "the rule is inside a condition (line 1: ifeq ($(X),1))"),
        ("a:\n\tx\nifdef X\n\ty\nendif\n\tz\n", "part of the recipe depends on a condition (ifeq, ifdef)"),
        ("a:: b\n\tx\n", "the rule is a double-colon rule"),
        ("a b &: c\n\tx\n", "the rule has one recipe for multiple targets (&:)"),
        ("a: ; x \\\n y\n", "the recipe begins on the target's line and continues on the next line"),
        ("$(shell echo a):\n\tx\n", "the target's name cannot be determined without running make"),
    ],
)
def test_what_stays_whatever_its_recipe_does(text: str, why: str) -> None:
    assert source(text).rules[0].kept == why


def test_both_branches_of_a_condition_are_listed() -> None:
    text = "ifeq ($(OS),Linux)\na:\n\tx\nelse ifeq ($(OS),Darwin)\na:\n\ty\nelse\na:\n\tz\nendif\nb:\n\tw\n"
    rules = source(text).rules
    assert [(r.names, bool(r.kept)) for r in rules] == [(("a",), True)] * 3 + [(("b",), False)]


def test_help_phony_and_what_is_exported() -> None:
    found = source(
        ".PHONY: a\n.PHONY: b c\nexport A = 1\nexport B\nX := 2\na: b ## Do it\n\tx\na: export C = 3\na: D = 4\n"
    )
    assert found.rules[0].help == "Do it"
    assert found.phony == {"a", "b", "c"}
    assert found.rules[0].exported == ("A", "B", "C")


def test_definitions_of_several_lines_are_not_rules() -> None:
    found = source("define A\nb:\n\tx\ndefine B\nendef\nendef\nc: ; y\n")
    assert [r.names for r in found.rules] == [("c",)]
    assert found.variables["A"] == "b:\n\tx\ndefine B\nendef"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("A := $(shell date)\n", 1),
        ("\nA != date\n", 2),
        ("$(eval A := 1)\n", 1),
        ("define A\n$(shell date)\nendef\n", 2),
        ("a: X != date\n", 1),
        ("a:\n\techo $(shell date)\n", 0),  # only when the recipe runs
    ],
)
def test_lines_that_run_something_while_make_reads_the_file(text: str, line: int) -> None:
    assert list(source(text).runs) == ([line] if line else [])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ifeq (a,b)\n", "ifeq (a,b) has no endif"),
        ("endif\n", "endif has no matching condition"),
        ("define A\nx\n", "define A has no endef"),
        ("docker compose up\n", "the line is neither a rule nor a definition (missing separator)"),
        (
            "a:\n    cargo test\n",
            "the line is neither a rule nor a definition (missing separator)",
        ),  # spaces, not a tab
    ],
)
def test_what_make_refuses_is_refused_with_its_line(text: str, why: str) -> None:
    with pytest.raises(Problem) as problem:
        reader.read("Makefile", text)
    assert problem.value.code == "makefile-invalid"
    assert why in problem.value.message


def test_included_files_are_read_where_they_are_included() -> None:
    files = {"v.mk": "V = cargo\ninclude deep.mk\n", "deep.mk": "b:\n\ty\ninclude v.mk\n"}
    text = "include v.mk\n-include gone.mk *.mk\n$(V)-a:\n\tx\n.PHONY: b\n"
    found = reader.read("Makefile", text, files.get)
    assert [s.path for s in found] == ["Makefile", "v.mk", "deep.mk"]
    assert [r.names for s in found for r in s.rules] == [("cargo-a",), ("b",)]
    assert found[2].phony == {"b"}
    assert [i.path for i in found[0].includes] == ["v.mk", "gone.mk", ""]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$(A) ${B}$C", "1 22"),
        ("$(strip  x   y )", "x y"),
        ("$(subst a,b,banana)|$(A:1=x)|$(patsubst %.c,%.o,a.c b.d)", "bbnbnb|x|a.o b.d"),
        ("$(addprefix -f ,a b) $(addsuffix .x,a)", "-f a -f b a.x"),
        ("$(if $(U),y,n) $(or ,$(A)) $(and $(A),)", "n 1 "),
        ("$(call F,q,r)", "q-r"),
        ("$$x $(U)", "$x "),
        ("$(shell date)", None),
        ("$@", None),
        ("$(BIG)", None),
        ("$(Z40)", None),  # 2 to the power of 40 references, all of them empty
        ("$(A", None),
    ],
)
def test_expansion(text: str, value: str | None) -> None:
    values = {"A": "1", "B": "2", "C": "2", "F": "$(1)-$(2)", "LOOP": "$(LOOP)x", "E0": "0123456789"}
    known = {name: Value(v) for name, v in values.items()}
    for i in range(1, 9):
        known[f"E{i}"] = Value(f"$(E{i - 1})" * 10)
    known["BIG"] = Value("$(E8)")
    known |= {f"Z{i}": Value(f"$(Z{i - 1})$(Z{i - 1})") for i in range(1, 41)}
    assert expand(text, known) == value


def test_a_variable_that_refers_to_itself_is_refused_only_where_make_expands_it() -> None:
    with pytest.raises(Problem) as refused:
        reader.read("Makefile", "N = v\nN = $(N)z\n$(N):\n")
    assert refused.value.message == "Makefile:3: the variable N refers to itself."
    found = reader.read("Makefile", "N = $(N)z\nifdef X\n$(N):\nendif\na:\n\techo $(N)\n")[0]
    assert found.rules[-1].names == ("a",)


def test_a_variable_that_a_branch_sets_is_not_known() -> None:
    variables = Variables()
    reader.read("Makefile", "A = 1\nifdef X\nA = 2\nendif\nB ?= 3\nB ?= 4\nC := $(B)\nB += 5\n", variables=variables)
    assert {n: v.text for n, v in variables.values.items()} == {"A": None, "B": "3 5", "C": "3"}


JUST = """\
set shell := ["bash", "-c"]
export URL := "postgres://localhost/x"
long := '''
  a: b
'''
alias t := test

# Run the tests
[private]
test crate="a:b" *ARGS: build (lint "x") && done # comment
    @cargo test -p {{crate}} {{ARGS}}
    echo \\
      done

script:
    #!/usr/bin/env bash
    cargo test

[working-directory: 'x']
inside:
\tcargo test
@quiet $A:
  x
"""


def test_a_justfile() -> None:
    found = justfile.read("justfile", JUST)[0]
    first, script, inside, quiet = found.rules
    assert (first.names, first.prerequisites, first.help) == (("test",), ("build", "lint", "done"), "Run the tests")
    assert first.parameters == ("crate=", "*ARGS")
    assert recipe(first) == ["@cargo test -p {{crate}} {{ARGS}}", "echo \\\n  done"]
    assert script.kept == "the recipe is a script with its own interpreter"
    assert inside.kept == "the recipe runs in a different directory"
    assert (quiet.names, quiet.exported, quiet.prefix) == (("quiet",), ("URL", "A"), "  ")
    assert found.aliases == {"t": "test"}


@pytest.mark.parametrize("text", ["    x\n", "what is this\n", "a := (\n", "a := '''\n"])
def test_what_just_refuses_is_refused(text: str) -> None:
    with pytest.raises(Problem) as problem:
        justfile.read("justfile", text)
    assert problem.value.code == "makefile-invalid"


def test_recipes_for_another_shell_stay() -> None:
    assert (
        justfile.read("justfile", 'set shell := ["nu", "-c"]\na:\n  x\n')[0].shell
        == "the recipes in this file run in nu"
    )
    assert (
        source("SHELL := /usr/bin/env python3\na:\n\tx\n").shell
        == "the recipes in this file run in /usr/bin/env python3"
    )
    assert source("SHELL = /bin/bash\na:\n\tx\n").shell == ""


@pytest.mark.parametrize(
    "text",
    [
        "X = " + "$(" * 300_000,
        "a:\n" + "\tcargo test\n" * 80_000,
        "".join(f"t{i}: t{i + 1}\n\tx\n" for i in range(10_000)),
        "a: " + "\\\n" * 400_000,
        "$" * 900_001 + ":\n",
        "X = " + "$(if " * 150_000,
        "# " + "x\\\n" * 300_000,
        "a" * 900_000 + ":\n\t" + "b\\\n" * 10,
        "define A\n" * 90_000,
    ],
    ids=range(9),
)
def test_a_large_file_is_read_in_a_few_seconds(text: str) -> None:
    began = time.monotonic()
    with contextlib.suppress(Problem):
        reader.read("Makefile", text)
    assert time.monotonic() - began < 10
