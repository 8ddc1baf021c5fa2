"""Split a recipe line into shell words, each as written and, where known, as expanded. Pure.

Only lines that can be replaced word for word are split. For a line with other shell syntax, the result is the reason
for keeping it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_CONTROL = frozenset(
    [
        "if",
        "then",
        "else",
        "elif",
        "fi",
        "for",
        "while",
        "until",
        "do",
        "done",
        "case",
        "esac",
        "function",
        "{",
        "}",
        "!",
        "[[",
        "(",
        ")",
    ]
)
_BLANK = " \t\n"


@dataclass(frozen=True)
class Word:
    """`raw` as written; `value` expanded and without quotes, None if unknown.

    `loose`: the word is a single reference (a variable, a parameter), which may expand to any number of words.
    """

    raw: str
    value: str | None
    loose: bool = False


@dataclass(frozen=True)
class Syntax:
    """The differences in syntax between a Makefile and a justfile.

    `reference_end`: the end of a reference that begins at this position, or the position itself. `resolve`: what a
    reference expands to, None if unknown. `one_word`: whether a reference always expands to one word. `dollar`: how the
    shell's own dollar sign is written.
    """

    reference_end: Callable[[str, int], int]
    resolve: Callable[[str], str | None]
    one_word: Callable[[str], bool]
    dollar: str = "$"


@dataclass(frozen=True)
class Command:
    """A simple command: the variables before it, its words, and its position in the line."""

    env: tuple[Word, ...]
    words: tuple[Word, ...]
    first: int
    last: int


@dataclass(frozen=True)
class Line:
    """`commands` in order; `why`: why the line cannot be split, empty if it can."""

    commands: tuple[Command, ...]
    why: str = ""


@dataclass
class _Token:
    kind: str  # word, op, redirect
    first: int
    last: int
    word: Word = Word("", "")


class _Shell(Exception):
    """Shell syntax that we do not handle."""


def split(text: str, syntax: Syntax) -> Line:
    """Split one recipe line. Prefixes (`@`, `-`, `+`) are not part of `text`."""
    try:
        return Line(tuple(_commands(_tokens(text, syntax))))
    except _Shell as reason:
        return Line((), str(reason))


def _commands(tokens: list[_Token]) -> list[Command]:
    found: list[Command] = []
    current: list[_Token] = []
    ignoring = False
    redirected = False
    for token in [*tokens, _Token("op", 0, 0, Word(";", ";"))]:
        if token.kind == "redirect":
            redirected = True
            continue
        if token.kind == "word":
            if redirected:
                raise _Shell("the line has a redirection before the command's last word")
            current.append(token)
            continue
        redirected = False
        if current:
            made = _command(current)
            if ignoring and not harmless(made):
                raise _Shell("the line runs another command after `||`")
            found.append(made)
        current, ignoring = [], token.word.raw == "||"
    return found


def _command(tokens: list[_Token]) -> Command:
    env: list[Word] = []
    begin = tokens[0].first
    while tokens and re.match(r"[A-Za-z_][A-Za-z0-9_]*=", tokens[0].word.raw):
        env.append(tokens.pop(0).word)
    if not tokens:
        raise _Shell("the line sets a shell variable")
    first = tokens[0].word
    if first.value in _CONTROL:
        raise _Shell("the line is a shell script")
    return Command(tuple(env), tuple(t.word for t in tokens), begin, tokens[-1].last)


def harmless(command: Command) -> bool:
    """Return whether a command only prints or does nothing and can therefore stay next to a task."""
    return bool(command.words) and command.words[0].value in ("echo", "printf", "true", ":", "exit")


def _tokens(text: str, syntax: Syntax) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character in _BLANK:
            if character == "\n" and not (at and text[at - 1] == "\\"):
                found.append(_Token("op", at, at + 1, Word(";", ";")))
            at += 1
        elif text.startswith("\\\n", at):
            at += 2
        elif character == "#" and (at == 0 or text[at - 1] in _BLANK):
            at = _end_of_line(text, at)
        elif text.startswith(("&&", "||", ";;"), at):
            if text.startswith(";;", at):
                raise _Shell("the line is a shell script")
            found.append(_Token("op", at, at + 2, Word(text[at : at + 2], None)))
            at += 2
        elif character == ";":
            found.append(_Token("op", at, at + 1, Word(";", ";")))
            at += 1
        elif redirect := re.compile(r"\d?(?:>>?\s*/dev/null|>&\s*\d)|&>\s*/dev/null").match(text, at):
            found.append(_Token("redirect", at, redirect.end()))
            at = redirect.end()
        elif character in "<>":
            raise _Shell("the line redirects its input or output")
        elif character == "|":
            raise _Shell("the line pipes output into another command")
        elif character == "&":
            raise _Shell("the line runs a command in the background")
        elif character in "()":
            raise _Shell("the line is a shell script")
        else:
            at = _word(text, at, syntax, found)
    return found


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _word(text: str, start: int, syntax: Syntax, found: list[_Token]) -> int:
    """Read one word, or the words that a lone reference expands to; return the position after it."""
    at, value, quote = start, [], ""
    known = True
    whole = syntax.reference_end(text, start)
    while at < len(text):
        character = text[at]
        end = syntax.reference_end(text, at)
        if end > at:
            part = syntax.resolve(text[at:end])
            if part is None or (not quote and re.search(r"[\s;&|<>()'\"`$\\]", part)):
                known = False
            value.append(part or "")
            at = end
        elif text.startswith(syntax.dollar, at) and quote != "'":
            known, at = False, _shell_reference(text, at + len(syntax.dollar))
        elif quote:
            if character == quote:
                quote = ""
            elif character == "\\" and quote == '"':
                value.append(text[at + 1 : at + 2])
                at += 1
            elif character == "`" and quote == '"':
                raise _Shell("the line uses another command's output as a value")
            else:
                value.append(character)
            at += 1
        elif character in "'\"":
            quote = character
            at += 1
        elif character == "\\":
            if text.startswith("\\\n", at):
                break
            value.append(text[at + 1 : at + 2])
            at += 2
        elif character == "`":
            raise _Shell("the line uses another command's output as a value")
        elif character in _BLANK or character in ";&|<>()":
            break
        else:
            if character in "*?[~" or (character == "{" and "," in text[at : at + 100].partition("}")[0]):
                known = False
            value.append(character)
            at += 1
    if quote:
        raise _Shell("the line has an unclosed quote")
    raw = text[start:at]
    if whole == at and whole > start and not syntax.one_word(raw):
        _alone(raw, start, at, syntax, found)
    else:
        found.append(_Token("word", start, at, Word(raw, "".join(value) if known else None)))
    return at


def _alone(raw: str, start: int, end: int, syntax: Syntax, found: list[_Token]) -> None:
    """Add the words that a single reference expands to, if they are known."""
    stands = syntax.resolve(raw)
    if stands is None or not stands.strip():
        found.append(_Token("word", start, end, Word(raw, stands if stands is None else "", loose=True)))
        return
    plain = Syntax(lambda _text, at: at, lambda _text: None, lambda _text: True)
    inner = _tokens(stands, plain)
    if any(token.kind == "op" for token in inner):
        raise _Shell(f"{raw} contains multiple commands")
    if len(inner) == 1:
        found.append(_Token("word", start, end, Word(raw, inner[0].word.value)))
    else:
        found.extend(_Token("word", start, end, Word(token.word.raw, token.word.value)) for token in inner)


def _shell_reference(text: str, at: int) -> int:
    """Return the end of a shell expansion, after its dollar sign."""
    if text[at : at + 1] == "(":
        raise _Shell("the line uses another command's output as a value")
    if text[at : at + 1] == "{":
        end = text.find("}", at)
        return len(text) if end < 0 else end + 1
    found = re.compile(r"\w+|[@*#?$!-]").match(text, at)
    return found.end() if found else at
