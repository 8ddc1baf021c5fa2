"""Rules about ARG and ENV that split the compile step, override cargo's settings or leak secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import tomli

from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.lint.steps import pairs
from buildkit_tasks.workspaces import cargo_config

from . import shell
from .mounts import Hit
from .reading import File

# Names that usually select one of several programs. Ignored if there is a default, which suggests a single program.
_PER_SERVICE = re.compile(
    r"(?:BIN|BINARY|SERVICE|APP|APPLICATION|PACKAGE|PKG|CRATE|COMPONENT|PROGRAM|EXECUTABLE)(?:_?NAME)?", re.IGNORECASE
)
_FLAGS = ("RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS")
_SECRET_NAME = re.compile(
    r"CARGO_REGISTR(?:Y|IES)_(?:\w+_)?(?:TOKEN|CREDENTIALS?)|CARGO_TOKEN|CRATES_?IO_TOKEN|"
    r"(?:GIT|GITHUB|GITLAB|GH|GL|CI_JOB|REGISTRY|ARTIFACTORY|CLOUDSMITH|SHIPYARD|KELLNR|NEXUS)"
    r"(?:_\w+)?_(?:TOKEN|PASSWORD|PAT|SECRET)|(?:SSH_|GIT_)?(?:PRIVATE|DEPLOY)_KEY",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(r"://[^/\s:@$]*:[^@/\s$]+@")
_SECRET_FILE = re.compile(r"(?:^|/)(?:credentials(?:\.toml)?|\.git-credentials|\.netrc|id_(?:rsa|ed25519|ecdsa))$")


def check(file: File) -> Iterator[Hit]:
    """Yield BT007, BT013 and BT016 for one file."""
    yield from _splitting(file)
    yield from _silencing(file)
    yield from _secrets(file)


# ---- BT007


def _splitting(file: File) -> Iterator[Hit]:
    services = file.source.services
    for step in file.runs:
        if not shell.compiles(file.text(step)):
            continue
        for name, line in step.declared.items():
            values = {args[name] for args in services.values() if name in args}
            if len(services) > 1:
                if len(values) + any(name not in args for args in services.values()) > 1:
                    message = f"{name} differs between the services and is declared before the compile step on line "
                    yield "BT007", line, f"{message}{step.item.line}."
            elif not services and name not in step.env and _PER_SERVICE.fullmatch(name):
                message = (
                    f"{name} has no default, so its value differs between images, but it is declared before "
                    "the compile step on line "
                )
                yield "BT007", line, f"{message}{step.item.line}."


# ---- BT013


def _silencing(file: File) -> Iterator[Hit]:
    if "unset RUSTFLAGS" in file.source.text:
        return
    in_settings = any(_sets_flags(body) for path, body in file.source.files.items() if "/.cargo/" in f"/{path}")
    for step in file.steps:
        if step.keyword not in ("ARG", "ENV"):
            continue
        for name, value in pairs(step.item):
            if name not in _FLAGS:
                continue
            # the step already has an ARG's value; ENV values are computed here
            result = step.env.get(name) if step.keyword == "ARG" else _resolved(value or "", step.env)
            if result is not None and not result.strip():
                tail = ", which disables the rustflags in .cargo/config.toml." if in_settings else "."
                message = f"{step.keyword} {name} is set to an empty string{tail}"
                yield "BT013", step.item.line_of(name), message, "error" if in_settings else "warning"


def _sets_flags(settings: str) -> bool:
    """Return whether cargo's configuration sets rustflags that apply to a build for Linux."""
    if not re.search(r"^\s*rustflags\s*=", settings, re.MULTILINE):
        return False
    try:
        content = tomli.loads(settings)
    except tomli.TOMLDecodeError:
        return True
    return cargo_config.sets_rustflags(content)


def _resolved(value: str, env: Mapping[str, str]) -> str:
    def known(match: re.Match[str]) -> str:
        return env.get(match[1], "")

    return re.sub(r"\$\{?(\w+)\}?", known, value)


# ---- BT016


def _secrets(file: File) -> Iterator[Hit]:
    for line, keyword, name, value in _values(file):
        if _SECRET_NAME.fullmatch(name):
            yield "BT016", line, f"{keyword} {name} contains a credential."
        elif value and _SECRET_VALUE.search(value):
            yield "BT016", line, f"The value of {keyword} {name} is a URL that contains a password."
    for step in file.steps:
        if not step.from_stage:
            for source in step.copied[0]:
                if _SECRET_FILE.search(source):
                    yield "BT016", step.item.line, f"This {step.keyword} copies {source} into a layer."


def _values(file: File) -> Iterator[tuple[int, str, str, str | None]]:
    """Yield every ARG and ENV, including those before the first FROM."""
    for item in syntax.instructions(file.source.text):
        if item.keyword in ("ARG", "ENV"):
            for name, value in pairs(item):
                yield item.line_of(name), item.keyword, name, value
