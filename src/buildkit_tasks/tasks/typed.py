"""Rewrites the command line before Invoke parses it: positional services and suggestions for typos. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from invoke.collection import Collection
from invoke.exceptions import Exit
from invoke.parser import Parser
from invoke.parser.context import ParserContext
from invoke.program import Program

from buildkit_tasks.core.errors import Problem


@dataclass(frozen=True)
class Flags:
    """A task's flags as typed, whether each takes a value, and the flag that receives positional arguments.

    `positions`: the number of positional arguments that Invoke itself accepts. `foreign`: the task is not part of
    buildkit-tasks, so its arguments are passed through unchanged.
    """

    takes_value: Mapping[str, bool]
    word: str = ""
    optional: frozenset[str] = frozenset()
    positions: int = 0
    foreign: bool = False


#: Invoke's own flags that are accepted after a task's name.
_HELP = ("--help", "-h")


class Known(Mapping[str, Flags]):
    """Every task's flags, keyed by each of its names and aliases. Computed on first use: most runs need one task."""

    def __init__(self, namespace: Collection, *, ignore_unknown_help: bool = False) -> None:
        self._namespace, self._lenient = namespace, ignore_unknown_help
        self._aliases = {name: tuple(aliases) for name, aliases in namespace.task_names.items()}
        self._names = {name: main for main, all_ in self._aliases.items() for name in filter(None, (main, *all_))}
        self._contexts: dict[str, ParserContext] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, name: str) -> Flags:
        context = self.context(name)
        takes = {flag: arg.takes_value for flag, arg in context.flags.items()}
        takes |= {f"{flag}": False for flag in context.inverse_flags}
        short = context.flags.aliases  # not among the items
        takes |= {letter: takes[flag] for letter, flag in short.items()}
        optional = frozenset(flag for flag in (*context.flags, *short) if context.flags[flag].optional)
        word = next((f"--{name}" for name in ("service", "mount") if f"--{name}" in takes), "")
        listed = word and context.flags[word].kind is list
        foreign = not self._namespace[context.name].__module__.startswith(__package__)
        return Flags(
            takes, word if listed and word == "--service" else "", optional, len(context.positional_args), foreign
        )

    def context(self, name: str) -> ParserContext:
        """Return Invoke's context of a task: the same as `Collection.to_contexts` returns for all tasks."""
        main = self._names[name]
        if main not in self._contexts:
            arguments = self._namespace[main].get_arguments(ignore_unknown_help=self._lenient)
            self._contexts[main] = ParserContext(name=main, aliases=self._aliases[main], args=arguments)
        return self._contexts[main]


def positions(namespace: Collection, name: str) -> list[str]:
    """Return a task's positional arguments as shown in its usage line."""
    own = [argument.name.upper() for argument in namespace[name].get_arguments() if argument.positional]
    word = Known(namespace)[name].word
    return [*own, *([f"[{word.lstrip('-').upper()} ...]"] if word else [])]


def attach(program: Program) -> None:
    """Rewrite arguments for `invoke` too, not just `buildkit-tasks`: tasks.py imports this module before parsing.

    Invoke then gets only the tasks that the arguments mention: it would copy the flags of all (25 ms).
    """
    make_parser = program._make_parser

    def parser() -> Parser:
        words = program.core.unparsed
        if not words:
            return make_parser()
        lenient = program.config.tasks.ignore_unknown_help
        known = Known(program.collection, ignore_unknown_help=lenient)
        try:
            words[:] = rewrite(words, known, program.binary_names[0])
        except Problem as problem:
            raise Exit(problem.text(), code=problem.exit_code) from None
        mentioned = (part for word in words for part in word.split("=") if part in known)
        return Parser(initial=program.initial_context, contexts=dict.fromkeys(map(known.context, mentioned)))

    program._make_parser = parser  # type: ignore[method-assign]
    print_safely(program)


def print_safely(program: Program) -> None:
    """Make `--list` and `--help` handle a closed pipe or a full disk as every task does."""
    print_what_was_asked = program.parse_cleanup

    def parse_cleanup() -> None:
        from .edge import printing

        with printing():
            print_what_was_asked()

    program.parse_cleanup = parse_cleanup  # type: ignore[method-assign]


def rewrite(words: Sequence[str], known: Mapping[str, Flags], command: str = "buildkit-tasks") -> list[str]:
    """Return the arguments for Invoke. Raises `Problem` bad-argument, with suggestions, for an unknown task or flag."""
    at = next((i for i, word in enumerate(words) if word in known), None)
    if at is None:
        first = next((w for w in words if not w.startswith("-")), None)
        if first is not None and not any(w.startswith("-") for w in words[: words.index(first)]):
            raise _unknown("task", first, known, f"{command} --list")
        return list(words)
    done = list(words[:at])
    current, name, given = Flags({}), "", 0
    rest = list(words[at:])
    while rest:
        word = rest.pop(0)
        flag, equals, _ = word.partition("=")
        if word in known:
            current, name, given = known[word], word, 0
            done.append(word)
        elif current.foreign:
            done.append(word)
        elif word in _HELP:
            done = [*done, word]
        elif word == "--":
            return [*done, word, *rest]
        elif flag.startswith("--"):
            if flag not in current.takes_value:
                raise _unknown("flag", flag, current.takes_value, f"{command} {name} --help")
            done.append(word)
            if current.takes_value[flag] and not equals and flag not in current.optional:
                done.append(_value(rest, flag, current, f"{command} {name}"))
        elif word.startswith("-") and len(word) > 1:
            short = word[:2]
            if short == "-d" and name == "up":
                continue  # `up` always returns once the services are healthy
            if short not in current.takes_value:
                raise _unknown("flag", short, current.takes_value, f"{command} {name} --help")
            done.append(word)
            if current.takes_value[short] and len(word) == 2 and short not in current.optional:
                done.append(_value(rest, short, current, f"{command} {name}"))
        elif given < current.positions:
            given += 1
            done.append(word)
        elif current.word:
            done += [current.word, word]
        else:
            raise _unknown("task", word, known, f"{name} takes no positional arguments: {command} {name} --help")
    return done


def _value(rest: list[str], flag: str, flags: Flags, task: str) -> str:
    """Return a flag's value: the next word, unless it is another of the task's flags."""
    if not rest or rest[0].partition("=")[0] in flags.takes_value:
        raise Problem("bad-argument", f"{task} {flag} needs a value.", hint=f"{task} --help")
    return rest.pop(0)


def _unknown(kind: str, word: str, known: Mapping[str, object], hint: str) -> Problem:
    plain = {name.lstrip("-"): name for name in known if len(name.lstrip("-")) > 1}
    near = difflib.get_close_matches(word.lstrip("-"), list(plain), n=3, cutoff=0.7)
    more = f" Did you mean {' or '.join(plain[n] for n in near)}?" if near else ""
    return Problem("bad-argument", f"Unknown {kind} {word}.{more}", hint=hint)
