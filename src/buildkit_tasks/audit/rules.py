"""The rules: the facts of an image in, findings out. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from buildkit_tasks.core import units

from . import secrets
from .archive import step
from .catalogue import RULES, Finding, Place
from .facts import Image
from .secrets import Search

#: setuid and setgid files of Debian, Ubuntu and Alpine, installed by reviewed packages.
_USUAL = re.compile(
    r"(?:/usr)?/s?bin/(?:chage|chfn|chsh|expiry|gpasswd|mount|newgrp|passwd|su|umount|unix_chkpwd|bbsuid|wall)"
    r"|/usr/lib/(?:openssh/ssh-keysign|dbus-1\.0/dbus-daemon-launch-helper|utempter/utempter)"
    r"|/usr/bin/(?:ssh-agent|dotlockfile|write(?:\.ul)?|crontab)"
)

#: Directories for devices and runtime state, which the engine mounts over.
_MOUNTED = re.compile(r"/(?:dev|proc|sys|run/lock|var/lock)(?:/|$)")


@dataclass(frozen=True)
class Case:
    """The input of the rules. `entry`: the service's part of the compose model; None for an image alone."""

    image: Image
    search: Search
    entry: Mapping[str, Any] | None = None


def check(case: Case) -> tuple[Finding, ...]:
    """Return all findings of an image, in the order of the rules and layers."""
    found = [finding for rule in _RULES for finding in rule(case)]
    return tuple(sorted(found, key=lambda f: f.code))


def place(image: Image, number: int) -> Place:
    """Return the layer with this number, counted from 0."""
    return Place(number + 1, len(image.layers), image.layers[number].name.rpartition("/")[2], image.steps[number])


def _finding(code: str, image: Image, message: str, subject: str = "", **more: Any) -> Finding:
    rule = RULES[code]
    return replace(Finding(code, image.name, message, rule.severity, subject, remedy=rule.remedy), **more)


def _from_base(image: Image, number: int) -> bool:
    return image.base is not None and number < image.base


def _common(image: Image) -> frozenset[str]:
    """Return variables with common words as values: files of packages or of the base image contain them, too."""
    hits = [(n, hit) for n, layer in enumerate(image.layers) for hit in layer.hits if hit.code == "BA001"]
    owned = image.owned(hit.path for _, hit in hits)
    return frozenset(hit.what for number, hit in hits if hit.path in owned or _from_base(image, number))


def _in_files(case: Case) -> Iterator[Finding]:
    """Yield BA001, BA002 and BA003: secrets in the files of any layer, even if a later layer deletes them."""
    image, search = case.image, case.search
    common = _common(image)
    for number, layer in enumerate(image.layers):
        base = _from_base(image, number)
        hidden = image.hidden(number, {hit.path for hit in layer.hits})
        owned = image.owned({hit.path for hit in layer.hits})
        for hit in layer.hits:
            severity = "warning" if base else "error"
            if hit.code == "BA001":
                words = f"{hit.path} contains the value of {hit.what} from .env"
                if hit.what in common:
                    severity = "note"
                    words += ", a word that also occurs in distribution files"
                elif not search.sure(hit.what):
                    severity = "warning"
                    words += "; if the value is not secret, add it to .env.example"
            elif hit.code == "BA002":
                words = f"{hit.path} contains {hit.what}"
            else:
                words = f"{hit.path} contains credentials: {hit.what}"
            if hit.path in owned and hit.code == "BA002":
                severity = "note"
                words += "; it was installed by a distribution package"
            words += ("; it is from the base image" if base else "") + (
                "; a later layer deletes or replaces the file, but it is still in the image"
                if hit.path in hidden
                else ""
            )
            yield _finding(hit.code, image, words, hit.path, severity=severity, layer=place(image, number))
        for code in ("BA001", "BA002", "BA003"):
            if layer.more.get(code):
                severity = "warning" if base else "note" if common and code == "BA001" else "error"
                words = f"this layer has {units.counted(layer.more[code], 'more such file')}"
                yield _finding(code, image, words, severity=severity, layer=place(image, number))


def _in_configuration(case: Case) -> Iterator[Finding]:
    """Yield BA001, BA002 and BA004: secrets in variables, labels, the command and the history."""
    image, search = case.image, case.search
    config = image.config
    common = _common(image)
    env = dict(_assignment(word) for word in config.get("Env") or ())
    texts = {f"the variable {name}": (value, "") for name, value in env.items()}
    texts |= {f"the label {name}": (str(value), "") for name, value in (config.get("Labels") or {}).items()}
    texts["the command"] = (" ".join(map(str, (*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())))), "")
    texts |= {
        f"step {n} of the history": (words, step(words, search)) for n, words in enumerate(image.history, start=1)
    }
    for where, (text, shown) in texts.items():
        tail = f" ({_cut(shown)})" if shown else ""
        for name in search.values_in_text(text):
            severity = "note" if name in common else "error" if search.sure(name) else "warning"
            words = f"{where} contains the value of {name} from .env{tail}"
            yield _finding("BA001", image, words, name, severity=severity)
        for what in dict.fromkeys(secrets.tokens(text.encode("utf-8", "replace"))):
            yield _finding("BA002", image, f"{where} contains {what}{tail}", where.rpartition(" ")[2])
    for name, value in env.items():
        if secrets.holds_secret(name, value) and not set(search.values_in_text(value)):
            yield _finding("BA004", image, f"the image sets the variable {name}", name)
    seen = set(env)
    for words in image.history:
        for name, value in _build_arguments(words):
            if name not in seen and secrets.holds_secret(name, value) and not set(search.values_in_text(value)):
                seen.add(name)
                message = f"the image's history contains the build argument {name} and its value"
                yield _finding("BA004", image, message, name)


def _assignment(word: str) -> tuple[str, str]:
    name, _, value = str(word).partition("=")
    return name, value


def _build_arguments(words: str) -> list[tuple[str, str]]:
    """Return the arguments of a RUN, as recorded by BuildKit and the older builder: `|2 A=1 B=2 /bin/sh -c …`."""
    found = re.match(r"(?:RUN )?\|\d+ (.*?)(?: /\S+ -\w+ |$)", words, re.DOTALL)
    return re.findall(r"(?:^| )([A-Za-z_]\w*)=((?:(?! [A-Za-z_]\w*=).)*)", found[1], re.DOTALL) if found else []


def _cut(words: str, most: int = 60) -> str:
    return words if len(words) <= most else f"{words[: most - 1]}…"


def _user(case: Case) -> Iterator[Finding]:
    """Yield BA005: neither the image nor the service sets a user other than root."""
    image = case.image
    given = (case.entry or {}).get("user")
    user = str(given if given not in (None, "") else image.config.get("User") or "")
    if user.partition(":")[0] in ("", "0", "root"):
        words = f"runs as {user}" if user else "runs as root, because the image does not set USER"
        yield _finding("BA005", image, words, user or "root")


def _permissions(case: Case) -> Iterator[Finding]:
    """Yield BA006 and BA007 for the files as they are in the final image."""
    image = case.image
    for number, layer in enumerate(image.layers):
        base = _from_base(image, number)
        hidden = image.hidden(number, {mode.path for mode in layer.modes})
        for mode in layer.modes:
            if mode.path in hidden or _MOUNTED.match(mode.path):
                continue
            tail = "; it is from the base image" if base else ""
            if mode.capable or mode.mode & 0o6000:
                usual = bool(_USUAL.fullmatch(mode.path))
                kind = "is setuid" if mode.mode & 0o4000 else "is setgid" if mode.mode & 0o2000 else "has capabilities"
                tail = tail or ("; it is part of most distributions" if usual else "")
                words = f"{mode.path} {kind} ({mode.mode:04o}){tail}"
                code = "BA006"
            else:
                usual, code = False, "BA007"
                kind = "directory without the sticky bit" if mode.directory else "file"
                words = f"{mode.path} is a world-writable {kind} ({mode.mode:04o}){tail}"
            severity = "note" if base or usual else RULES[code].severity
            yield _finding(code, image, words, mode.path, severity=severity, layer=place(image, number))
        for kind, code in (("setuid", "BA006"), ("writable", "BA007")):
            if layer.more.get(kind):
                words = f"this layer has {units.counted(layer.more[kind], 'more such file')}"
                yield _finding(code, image, words, layer=place(image, number))


def _health(case: Case) -> Iterator[Finding]:
    """Yield BA008: neither the image nor the service has or disables a health check."""
    image = case.image
    if ((image.config.get("Healthcheck") or {}).get("Test")) or (case.entry or {}).get("healthcheck"):
        return
    if case.entry is None:
        words, severity = "has no HEALTHCHECK", "note"  # a compose file elsewhere may have one
    else:
        words, severity = "has no HEALTHCHECK, and the service has no `healthcheck:`", RULES["BA008"].severity
    yield _finding("BA008", image, words, severity=severity)


def _unread(case: Case) -> Iterator[Finding]:
    """Yield BA009: a layer that was not read to its end."""
    image = case.image
    for number, layer in enumerate(image.layers):
        if layer.unread:
            words = f"layer {number + 1} cannot be read: {layer.unread}"
            yield _finding("BA009", image, words, layer=place(image, number))


_RULES: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    _in_files,
    _in_configuration,
    _user,
    _permissions,
    _health,
    _unread,
)
