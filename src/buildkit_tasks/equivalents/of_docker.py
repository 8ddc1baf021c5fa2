"""Map docker and compose commands to tasks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import of_database
from .calls import Call, Facts, Stays, Unfit, Words, raws
from .words import Word

_SHELLS = ("sh", "bash", "/bin/sh", "/bin/bash", "ash", "/bin/ash", "zsh")
_NEAR_CLEAN = Call("clean")
_GRACE = "stop_grace_period applies; --timeout is ignored"


def compose(env: Sequence[Word], words: Sequence[Word], facts: Facts) -> Call | Stays:
    """Return the task for `docker compose …`; `words` start after `compose`."""
    left, files, prefix = Words(list(words)), [], list(raws(env))
    while left:
        word = left.take()
        if file := left.value(word, "--file", "-f"):
            files.append(file)
        elif project := left.value(word, "--project-name", "-p"):
            prefix.append(f"COMPOSE_PROJECT_NAME={project.raw}")
        elif profile := left.value(word, "--profile"):
            prefix.append(f"COMPOSE_PROFILES={profile.raw}")
        elif (word.value or "").startswith("-") or word.loose:
            raise Unfit(f"no task supports {word.raw} between `docker compose` and its command")
        else:
            left.left.insert(0, word)
            break
    if not left:
        raise Unfit("the recipe runs compose without a subcommand")
    if len([p for p in prefix if p.startswith("COMPOSE_PROFILES=")]) > 1:
        raise Unfit("the command uses multiple profiles")
    name = left.take()
    made = _COMPOSE.get(name.value or "")
    if made is None:
        return Stays(f"no task replaces `docker compose {name.raw}`", _COMPOSE_NEAR.get(name.value or ""))
    found = made(left, facts)
    if isinstance(found, Stays):
        return found
    return _with_files(Call(found.task, found.words, tuple(prefix), found.note), files, facts)


def _with_files(made: Call, files: Sequence[Word], facts: Facts) -> Call | Stays:
    """Handle the compose files given with `-f`. Files that compose finds by default need no arguments."""
    names = [(f.value or f.raw).removeprefix("./") for f in files]
    found = list(facts.compose_files)
    if not names or names == found:
        return made
    if found and names[: len(found)] == found and made.task in ("up", "down"):
        overlays = [part for f in files[len(found) :] for part in ("--overlay", f.raw)]
        return Call(made.task, (*overlays, *made.words), made.env, made.note)
    if any(f.loose or f.raw[:1] in "'\"~" for f in files):
        return Stays("the names of the compose files (-f) cannot be determined", made)
    return Call(made.task, made.words, (f"COMPOSE_FILE={':'.join(raws(files))}", *made.env), made.note)


def _services(words: Sequence[Word], facts: Facts) -> list[str]:
    found = []
    for word in words:
        if word.loose:
            found.append(facts.service_word(word.raw))
            continue
        if (word.value or word.raw).startswith("-"):
            raise Unfit(f"no task supports the flag {word.raw}")
        found += ["--service", word.raw]
    return found


def _options(left: Words, flags: dict[str, str], valued: dict[str, str]) -> tuple[list[str], list[Word]]:
    """Split a command's arguments into the task's flags (`""` if the task always does this) and all other words."""
    taken: list[str] = []
    rest: list[Word] = []
    while left:
        word = left.take()
        name = (word.value or "").partition("=")[0]
        if word.value in flags:
            taken += filter(None, [flags[word.value]])
        elif name in valued and (value := left.value(word, name)) is not None:
            taken += [valued[name], value.raw] if valued[name] else []
        else:
            rest.append(word)
    return taken, rest


def _names_any(left: Words, *flags: str) -> bool:
    """Return whether any of the flags is among the words."""
    return any((word.value or word.raw).startswith(flags) for word in left.left)


def _build(left: Words, facts: Facts) -> Call | Stays:
    flags = {"--no-cache": "--no-cache", "--parallel": "", "--with-dependencies": "", "-q": "--progress quiet"}
    taken, rest = _options(left, {**flags, "--quiet": "--progress quiet"}, {"--progress": "--progress"})
    for word in rest:
        if (word.value or word.raw).startswith("--build-arg"):
            raise Unfit("the command passes build arguments, which belong in the compose file", Call("build"))
        if word.value == "--pull":
            raise Unfit("the command pulls newer base images (--pull)", Call("build"))
    return Call("build", (*_services(rest, facts), *taken))


def _up(left: Words, facts: Facts) -> Call | Stays:
    flags = {"-d": "-d", "--detach": "-d", "--wait": "-d", "--build": "", "--quiet-pull": ""}
    flags |= {"--remove-orphans": "--remove-orphans", "--no-build": "--no-build"}
    built = any(w.value == "--build" for w in left.left)
    limited = _names_any(left, "--wait-timeout")
    taken, rest = _options(left, flags, {"--wait-timeout": ""})
    detached = "-d" in taken
    words = (*(t for t in taken if t != "-d"), *_services(rest, facts))
    if not detached:
        return Stays(
            "the command prints logs until you press Ctrl-C, but `up` returns (for logs, use `logs --follow`)",
            Call("up", words),
        )
    notes = (
        [] if built or "--no-build" in taken else ["`up` builds what changed and waits until the services are healthy"]
    )
    notes += ["the stack.health_timeout setting replaces --wait-timeout"] if limited else []
    return Call("up", words, note="; ".join(notes))


def _down(left: Words, facts: Facts) -> Call | Stays:
    flags = {"-v": "--volumes", "--volumes": "--volumes", "--remove-orphans": "--remove-orphans"}
    rmi, timed = _names_any(left, "--rmi"), _names_any(left, "-t", "--timeout")
    taken, rest = _options(left, flags, {"-t": "", "--timeout": "", "--rmi": ""})
    if rmi:
        more = ("--volumes",) if "--volumes" in taken else ()
        return Stays("the command also removes images", Call("clean", more))
    if rest:
        return Stays(
            "the command stops only some services, or uses flags that `down` does not support",
            Call("down", tuple(taken)),
        )
    notes = ["the task asks for confirmation; in scripts, add --yes"] if "--volumes" in taken else []
    return Call("down", tuple(taken), note="; ".join([*notes, *([_GRACE] if timed else [])]))


def _restart(left: Words, facts: Facts) -> Call | Stays:
    timed = _names_any(left, "-t", "--timeout")
    _, rest = _options(left, {}, {"-t": "", "--timeout": ""})
    return Call("restart", tuple(_services(rest, facts)), note=_GRACE if timed else "")


def _ps(left: Words, facts: Facts) -> Call | Stays:
    return Stays("`ps` does not accept flags or services", Call("ps")) if left else Call("ps")


def _logs(left: Words, facts: Facts) -> Call | Stays:
    flags = {"-f": "--follow", "--follow": "--follow"}
    taken, rest = _options(left, flags, {"--tail": "--tail", "-n": "--tail", "--since": "--since"})
    return Call("logs", (*_services(rest, facts), *taken))


def _exec(left: Words, facts: Facts) -> Call | Stays:
    _, rest = _options(left, dict.fromkeys(("-T", "--no-TTY", "-i", "-t", "-it", "--interactive"), ""), {})
    if len(rest) < 2:
        raise Unfit("the command to run in the container is unknown")
    service, *command = rest
    if (service.value or service.raw).startswith("-"):
        raise Unfit(f"no task supports the flag {service.raw}")
    named = _services([service], facts) if not service.loose else ["--service", service.raw]
    if len(command) == 1 and command[0].value in _SHELLS:
        return Call("shell", tuple(named))
    if command[0].value in ("psql", "mysql", "mariadb"):
        return _client(command, named, facts)
    if any(w.loose or w.value is None or "'" in w.raw or '"' in w.raw for w in command):
        return Stays(
            "the command to run in the container contains quotes or variables",
            Call("shell", (*named, "--command", "'…'")),
        )
    return Call("shell", (*named, "--command", f"'{' '.join(raws(command))}'"))


def _client(command: Sequence[Word], named: Sequence[str], facts: Facts) -> Call | Stays:
    left, names = Words(list(command[1:])), list[Word]()
    while left:
        word = left.take()
        if left.value(word, "-U", "--username", "-u", "--user") is not None:
            continue
        if (name := left.value(word, "-d", "--dbname", "-D", "--database")) is not None:
            names.append(name)
        elif (word.value or word.raw).startswith("-"):
            return Stays(f"no task supports the {command[0].value} flag {word.raw}", Call("db.shell", tuple(named)))
        else:
            names.append(word)
    call = Call("db.shell", tuple(named), note="the user and the database come from the compose file")
    return of_database.which(names[0] if names else None, call, facts)


def _run(left: Words, facts: Facts) -> Call | Stays:
    flags = {"--rm": "", "--no-deps": "--no-deps", "--build": "", "-T": "", "--no-TTY": "", "-it": "", "-ti": ""}
    taken: list[str] = []
    while left:
        word = left.take()
        if word.value in flags:
            taken += filter(None, [flags[word.value]])
            continue
        if (word.value or word.raw).startswith("-"):
            raise Unfit(f"`run` has no flag {word.raw}")
        named = ["--service", word.raw] if word.loose else _services([word], facts)
        command = ["--", *raws(left.left)] if left else []
        return Call("run", (*named, *taken, *command))
    raise Unfit("the command does not specify a service")


_COMPOSE: dict[str, Callable[[Words, Facts], Call | Stays]] = {
    "build": _build,
    "up": _up,
    "down": _down,
    "restart": _restart,
    "ps": _ps,
    "logs": _logs,
    "exec": _exec,
    "run": _run,
}
_COMPOSE_NEAR = {"stop": Call("down"), "start": Call("up"), "rm": Call("clean"), "push": Call("ci.push")}


def docker(env: Sequence[Word], words: Sequence[Word], facts: Facts) -> Call | Stays:
    """Return the task for another docker command; `words` start after `docker`."""
    values = [w.value or w.raw for w in words]
    if values[:1] == ["build"] or values[:2] in (["buildx", "build"], ["image", "build"]):
        return _image(env, Words(list(words[1 if values[0] == "build" else 2 :])), facts)
    if values[:2] in (["system", "prune"], ["volume", "prune"], ["image", "prune"], ["container", "prune"]):
        return Stays("the command affects every project, but `clean` affects only this project", _NEAR_CLEAN)
    if values[:2] in (["builder", "prune"], ["buildx", "prune"]):
        return Stays(
            "the command clears the build cache of all projects, but `cache.clear` clears only this project's",
            Call("cache.clear"),
        )
    near = {
        "push": Call("build", ("--push", "REGISTRY/PATH")),
        "rmi": _NEAR_CLEAN,
        "logs": Call("logs"),
        "exec": Call("shell"),
        "ps": Call("ps"),
    }.get(values[0] if values else "")
    why = "; tasks work with services, not with individual containers or images" if near else ""
    return Stays(f"no task replaces `docker {' '.join(values[:2])}`{why}", near)


def _image(env: Sequence[Word], left: Words, facts: Facts) -> Call | Stays:
    """Map `docker build`. The task builds services, so the image must belong to a service."""
    tags: list[str] = []
    platforms: list[str] = []
    other: list[str] = []
    taken: list[str] = []
    while left:
        word = left.take()
        if (tag := left.value(word, "--tag", "-t")) is not None:
            tags.append(tag.value or "")
        elif (platform := left.value(word, "--platform")) is not None:
            platforms.append(platform.raw)
        elif word.value == "--no-cache":
            taken.append("--no-cache")
        elif left.value(word, "--file", "-f", "--target", "--progress") is not None or word.value == "--load":
            continue
        elif (word.value or word.raw).startswith("-"):
            other.append(word.raw)
            if left.value(word, "--build-arg", "--cache-from", "--cache-to", "--secret", "--output", "-o", "--label"):
                continue
    named = [facts.images[tag] for tag in tags if tag in facts.images]
    service = ("--service", named[0]) if named else ()
    flags = (*service, *(part for p in platforms for part in ("--platform", p)), *taken)
    near = Call("build", flags, raws(env))
    if other:
        return Stays(
            f"`build` does not accept {other[0].partition('=')[0]}, but reads build options from the compose file", near
        )
    if len(tags) != 1 or not named:
        return Stays(
            "no service in the compose file uses this image name"
            if tags
            else "the command does not specify an image name",
            near,
        )
    return near
