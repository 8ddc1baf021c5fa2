"""Map commands that create, migrate and open databases to tasks. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from .calls import Call, Facts, Stays, Words, raws
from .words import Word

_ASKS = "the task asks for the database name; in scripts, pass --yes --name NAME"


def which(url: Word | None, call: Call, facts: Facts) -> Call | Stays:
    """Return the task for a database given by URL or name: the project's own, its test database, or neither."""
    if url is None:
        return call
    name = re.split(r"[/?#]", re.sub(r"^[a-z+]+://[^/]*/?", "", url.value or "").strip())[0]
    if name and name in facts.databases:
        return call
    if name.endswith("_test") and name.removesuffix("_test") in facts.databases:
        return Call(call.task, (*call.words, "--test"), call.env, call.note)
    test = ("--test",) if name.endswith("_test") else ()
    what = f"the database `{name}`" if name else "an unknown database"
    return Stays(
        f"the command uses {what}, but the task uses the database in the compose file",
        Call(call.task, (*call.words, *test), call.env),
    )


def sqlx(env: Sequence[Word], words: Sequence[Word], facts: Facts) -> Call | Stays:
    """Map `sqlx …` and `cargo sqlx …`. The task runs the migrations in the project directory."""
    left, plain, url = Words(list(words)), [], _address(env)
    while left:
        word = left.take()
        if (given := left.value(word, "--database-url", "-D")) is not None:
            url = given
        elif (source := left.value(word, "--source")) is not None:
            if (source.value or "").strip("./") != "migrations":
                plain.append(source.raw)
        elif word.value not in ("-y", "--no-dotenv"):
            plain.append(word.value or word.raw)
    tasks = {
        "migrate run": Call("db.migrate"),
        "mig run": Call("db.migrate"),
        "migrate info": Call("db.migrate", ("--status",)),
        "migrate run --ignore-missing": Call("db.migrate", ("--ignore-missing",)),
        "database create": Call("db.create"),
        "db create": Call("db.create"),
        "database drop": Call("db.drop", note=_ASKS),
        "db drop": Call("db.drop", note=_ASKS),
        "database reset": Call("db.reset", note=_ASKS),
        "db reset": Call("db.reset", note=_ASKS),
    }
    made = tasks.get(" ".join(plain))
    if made is None:
        near = tasks.get(" ".join(plain[:2]))
        return Stays(f"no task replaces `sqlx {' '.join(plain)}`", near)
    return which(url, made, facts)


def diesel(env: Sequence[Word], words: Sequence[Word], facts: Facts) -> Call | Stays:
    """Map `diesel …`."""
    left, plain, url = Words(list(words)), [], _address(env)
    while left:
        word = left.take()
        if (given := left.value(word, "--database-url")) is not None:
            url = given
        else:
            plain.append(word.value or word.raw)
    tasks = {
        "migration run": Call("db.migrate"),
        "migration list": Call("db.migrate", ("--status",)),
        "migration pending": Call("db.migrate", ("--status",)),
        "database reset": Call("db.reset", note=_ASKS),
        "database drop": Call("db.drop", note=_ASKS),
    }
    made = tasks.get(" ".join(plain))
    if made is None:
        near = Call("db.migrate") if plain[:2] in (["setup"], ["database", "setup"]) else None
        return Stays(f"no task replaces `diesel {' '.join(plain)}`", near)
    return which(url, made, facts)


def refinery(env: Sequence[Word], words: Sequence[Word], facts: Facts) -> Call | Stays:
    """Map `refinery migrate`."""
    if [w.value for w in words] == ["migrate"]:
        return Call("db.migrate")
    near = Call("db.migrate") if words and words[0].value == "migrate" else None
    return Stays(f"no task replaces `refinery {' '.join(raws(words))}`", near)


def createdb(env: Sequence[Word], words: Sequence[Word], facts: Facts) -> Call | Stays:
    """Map `createdb NAME`."""
    return _named(words, Call("db.create"), facts)


def dropdb(env: Sequence[Word], words: Sequence[Word], facts: Facts) -> Call | Stays:
    """Map `dropdb NAME`."""
    return _named(words, Call("db.drop", note=_ASKS), facts)


def _named(words: Sequence[Word], call: Call, facts: Facts) -> Call | Stays:
    left, names = Words(list(words)), []
    while left:
        word = left.take()
        if left.value(word, "-U", "--username", "-h", "--host", "-p", "--port", "-O", "--owner") is not None:
            continue
        if not (word.value or "").startswith("-"):
            names.append(word)
        elif word.value not in ("--if-exists", "-e", "--echo", "-w", "--no-password", "-f", "--force"):
            return Stays(f"no task supports the flag {word.raw}", call)
    return which(names[0] if names else Word("", None), call, facts)


def psql(env: Sequence[Word], words: Sequence[Word], facts: Facts) -> Call | Stays:
    """Map `psql`: a shell or an SQL file."""
    left, names, file = Words(list(words)), [], ""
    while left:
        word = left.take()
        if left.value(word, "-U", "--username", "-h", "--host", "-p", "--port") is not None:
            continue
        if (name := left.value(word, "-d", "--dbname")) is not None:
            names.append(name)
        elif (given := left.value(word, "-f", "--file")) is not None and not file:
            file = given.raw
        elif (word.value or word.raw).startswith("-"):
            return Stays(f"no task supports the psql flag {word.raw}", Call("db.shell"))
        else:
            names.append(word)
    call = Call("db.seed", ("--from", file), note="the task uses one transaction") if file else Call("db.shell")
    return which(names[0] if names else _address(env), call, facts)


def _address(env: Sequence[Word]) -> Word | None:
    """Return the value of DATABASE_URL before a command."""
    for word in env:
        if word.raw.startswith("DATABASE_URL="):
            return Word(word.raw[13:], None if word.value is None else word.value[13:])
    return None


PROGRAMS: dict[str, Callable[[Sequence[Word], Sequence[Word], Facts], Call | Stays]] = {
    "sqlx": sqlx,
    "diesel": diesel,
    "refinery": refinery,
    "createdb": createdb,
    "dropdb": dropdb,
    "psql": psql,
}
