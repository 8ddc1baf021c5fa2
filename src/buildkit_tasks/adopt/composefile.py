"""Edits a service's `build:` in the compose file, keeping comments, anchors and order, or writes an override file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from buildkit_tasks.survey import yaml_text

from . import splice

#: Keys of `build:` that define what is built; the others (labels, secrets, platforms ...) are kept.
_WHAT = ("context", "dockerfile", "dockerfile_inline", "target")
#: Lets a repository enable incremental compilation for plain `docker compose build` in .env. Empty: the default.
INCREMENTAL = ("CARGO_INCREMENTAL", "${CARGO_INCREMENTAL:-}")


@dataclass(frozen=True)
class Build:
    """A service's new `build:`. `drop`: build arguments of the old Dockerfile that ours does not use.

    `idle`: a service that `docker compose up` must not start.
    """

    service: str
    context: str
    dockerfile: str
    target: str
    args: Mapping[str, str]
    drop: tuple[str, ...] = ()
    ssh: bool = False
    idle: bool = False

    @property
    def what(self) -> dict[str, str]:
        """The keys that define what is built."""
        return {"context": self.context, "dockerfile": self.dockerfile, "target": self.target}


@dataclass(frozen=True)
class Edited:
    """The edited texts by path, and the services that no text defines (because an included or extended file does)."""

    texts: Mapping[str, str] = field(default_factory=dict)
    not_found: tuple[str, ...] = ()


def edit(texts: Mapping[str, str], builds: Sequence[Build]) -> Edited:
    """Write each build to the compose file that defines its service. Problems: compose-invalid with file and line."""
    documents = {path: yaml_text.load(path, text) for path, text in texts.items()}
    spans: dict[str, list[splice.Span]] = {}
    missing: list[str] = []
    for build in builds:
        place = next((p for p, d in reversed(documents.items()) if _section(d, build.service) is not None), None)
        # a service that only had an image gets its build where it is defined
        place = place or next((p for p, d in documents.items() if _entry(d, build.service) is not None), None)
        if place is None:
            missing.append(build.service)
            continue
        lines = splice.lines(texts[place])
        document = documents[place]
        spans.setdefault(place, []).append(splice.build(document["services"], build.service, lines, _wanted(build)))
    return Edited({p: splice.apply(texts[p], found) for p, found in spans.items()}, tuple(missing))


def _wanted(build: Build) -> splice.Wanted:
    ssh = {"ssh": ["default"]} if build.ssh else {}
    return splice.Wanted(build.what, build.args, dict([INCREMENTAL]), build.drop, ssh)


def appended(text: str, builds: Sequence[Build]) -> str:
    """The compose file `text` with these services appended."""
    document = yaml_text.load("compose", text)
    services = document.get("services")
    lines = splice.lines(text)
    if not isinstance(services, dict) or not services:
        section = yaml_text.mapping({"services": _fresh(builds)})
        return text.rstrip("\n") + "\n" + yaml_text.dump(section, text, whole=False)
    at, indent = splice.end_of(document, "services", lines)
    block = yaml_text.dump(_fresh(builds), text, whole=False).rstrip("\n").split("\n")
    return splice.apply(text, [splice.Span(at, at, ["", *(f"{indent}{line}" for line in block)])])


def _fresh(builds: Sequence[Build]) -> Any:
    services = yaml_text.mapping({})
    for build in builds:
        services[build.service] = _empty(build)
        _put(services[build.service], build)
    return services


def override(builds: Sequence[Build], text: str = "") -> str:
    """A compose override file with these builds; `text` is the existing one, if any."""
    document = yaml_text.load("override", text) if text.strip() else None
    if document is None:
        from ruamel.yaml.comments import CommentedMap

        document = CommentedMap()
        document.yaml_set_start_comment("Written by `buildkit-tasks init`: how the Rust services are built.")
    services = document.setdefault("services", yaml_text.mapping({}))
    for build in builds:
        entry = services.setdefault(build.service, _empty(build))
        _put(entry, build)
    return yaml_text.dump(document, text)


def _empty(build: Build) -> Any:
    """A service that is not in the file yet."""
    return yaml_text.mapping({"scale": 0} if build.idle else {})


def proposed(project: str, builds: Sequence[Build]) -> str:
    """A compose file for a repository without one."""
    document = yaml_text.mapping({"name": project, "services": yaml_text.mapping({})})
    document.yaml_set_start_comment("Written by `buildkit-tasks init`: a service for every program of the workspace.")
    for build in builds:
        document["services"][build.service] = yaml_text.mapping({})
        _put(document["services"][build.service], build)
    return yaml_text.dump(document, "")


def _section(document: Any, service: str) -> Any:
    entry = _entry(document, service)
    return None if entry is None else entry.get("build")


def _entry(document: Any, service: str) -> Any:
    services = document.get("services") if isinstance(document, dict) else None
    entry = services.get(service) if isinstance(services, dict) else None
    return entry if isinstance(entry, dict) else None


def _put(entry: Any, build: Build) -> None:
    """Write a build to a service. Values shared through an anchor or merge are copied, never changed."""
    old = entry.get("build")
    section: Any = old if isinstance(old, dict) and _own(entry, "build") else None
    if section is None:
        rest = {k: deepcopy(v) for k, v in old.items() if k not in (*_WHAT, "args")} if isinstance(old, dict) else {}
        section = yaml_text.mapping(rest)
        if isinstance(old, dict) and old.get("args"):
            section["args"] = _plain_args(old["args"])
        if _own(entry, "build"):
            entry["build"] = section
        else:
            entry.insert(0, "build", section)
    if _own(section, "dockerfile_inline"):
        section.pop("dockerfile_inline")
    for at, (key, value) in enumerate(build.what.items()):
        if _own(section, key):
            section[key] = value
        else:
            section.insert(min(at, len(section)), key, value)
    args = section.get("args")
    if not isinstance(args, dict) or not _own(section, "args"):
        args = _plain_args(args)
        section["args"] = args
    for name in build.drop:
        if _own(args, name):
            args.pop(name)
    for name, value in build.args.items():
        args[name] = value
    args.setdefault(*INCREMENTAL)
    if build.ssh and "ssh" not in section:
        section["ssh"] = ["default"]


def _own(mapping: Any, key: str) -> bool:
    """Whether a mapping itself has this key, with a value that is not shared."""
    own = getattr(mapping, "_ok", None)  # ruamel's keys without those of `<<`; a plain dict has none of these
    if key not in (mapping if own is None else own):
        return False
    return not getattr(getattr(mapping[key], "anchor", None), "value", None)


def _plain_args(args: Any) -> dict[str, Any]:
    if isinstance(args, dict):
        return yaml_text.mapping(dict(args.items()))  # type: ignore[no-any-return]
    if isinstance(args, list):
        pairs = (str(a).partition("=") for a in args)
        return yaml_text.mapping({n: (v if equals else None) for n, equals, v in pairs})  # type: ignore[no-any-return]
    return yaml_text.mapping({})  # type: ignore[no-any-return]
