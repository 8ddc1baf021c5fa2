"""Turn a `Finding` into the files that `init` writes: text by path. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.existing import stage_items
from buildkit_tasks.recipes import dockerfile, ignorefile, package_files
from buildkit_tasks.survey import look
from buildkit_tasks.survey.finding import Finding, Note, Service, Workspace
from buildkit_tasks.workspaces.tree import Tree

from . import check, composefile, pythonfiles
from .composefile import Build

MODES = ("edit", "override")


@dataclass(frozen=True)
class Files:
    """The final text of each file by path, and notes for the user."""

    texts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    dockerfiles: Mapping[str, str] = field(default_factory=dict)


def write(files: Tree, finding: Finding, *, compose: str = "edit") -> Files:
    """Return every file that the repository needs. `compose`: edit the compose file, or leave it and add an override.

    Problems: compose-invalid; adopt-conflict if one of our file names is already taken.
    """
    texts: dict[str, str] = {}
    notes: list[Note] = list(finding.notes)
    builds: list[Build] = []
    names = _dockerfiles(files, finding)
    for workspace in finding.workspaces:
        services = [s for s in finding.services if s.workspace == workspace.cargo.directory and not s.adopted]
        if not services:
            continue
        file = names[workspace.cargo.directory]
        adopted = [s for s in finding.services if s.workspace == workspace.cargo.directory and s.adopted == file]
        derived = dockerfile.derive(files, finding, workspace, file)
        notes += (*derived.notes, *check.rejected(workspace, derived.text))
        if adopted:
            notes += _grown(file, services)
            plain = {s.name: _only_stage(files.text(file)) for s in services}
            derived = replace(derived, targets=plain, context=())
        else:
            texts[file] = derived.text
            name = f"{file}.dockerignore"
            texts[name] = ignorefile.derive(files, workspace, derived.context, derived.compiled, services)
            notes += [
                Note(
                    name,
                    f"excludes {path}, which was previously copied into images: add the line `!{path}` to keep copying "
                    "it",
                )
                for path in ignorefile.dropped(files, texts[name], derived.context, services)
            ]
        scope = _scope(finding, workspace)
        builds += [_build(finding, s, file, scope, derived) for s in services]
    if builds:
        for name, text in package_files.compile_files().items():
            texts[f"docker/{name}"] = text
        for path, mode in _compose(finding, builds, compose, notes).items():
            texts[path] = mode
        texts["tasks.py"] = pythonfiles.tasks(finding.existing.get("tasks.py", ""))
        texts["noxfile.py"] = pythonfiles.nox(finding.existing.get("noxfile.py", ""), texts["tasks.py"])
        example = pythonfiles.env_example(finding.existing.get(".env.example", ""))
        if example:
            texts[".env.example"] = example
        settings = _settings(finding, texts)
        if settings:
            texts["pyproject.toml"] = pythonfiles.pyproject(finding.existing.get("pyproject.toml", ""), settings)
    _refuse_foreign(files, texts)
    return Files(texts, tuple(dict.fromkeys(notes)), {d: n for d, n in names.items() if n in texts})


def _dockerfiles(files: Tree, finding: Finding) -> dict[str, str]:
    """Map each workspace directory to its Dockerfile: docker/Dockerfile if that name is free or the file is ours."""
    found: dict[str, str] = {}
    for number, workspace in enumerate(finding.workspaces):
        directory = workspace.cargo.directory
        adopted = next((s.adopted for s in finding.services if s.workspace == directory and s.adopted), "")
        slug = re.sub(r"[^a-z0-9]+", "-", directory.lower()).strip("-") or "rust"
        wanted = "docker/Dockerfile" if number == 0 else f"docker/{slug}.Dockerfile"
        if files.has(wanted) and not files.text(wanted).startswith(look.MARK):
            wanted = f"docker/{slug}.Dockerfile" if number else "docker/rust.Dockerfile"
        found[directory] = adopted or wanted
    return found


def _grown(file: str, services: list[Service]) -> list[Note]:
    names = ", ".join(s.name for s in services)
    return [
        Note(
            file,
            f"new services will use this Dockerfile without changes: {names}. Add a runtime stage for each service "
            "that needs its own",
            True,
        )
    ]


def _only_stage(text: str) -> str:
    found = re.findall(r"(?mi)^FROM .* AS (runtime[\w.-]*)\s*$", text)
    return str(found[0]) if found else "runtime"


def _scope(finding: Finding, workspace: Workspace) -> str:
    """Return the prefix of the mount ids: the project's name, plus a suffix for each additional workspace."""
    first = finding.workspaces[0].cargo.directory
    if workspace.cargo.directory == first:
        return finding.project
    return f"{finding.project}-{re.sub(r'[^a-z0-9]+', '-', workspace.cargo.directory.lower()).strip('-')}"


def _build(finding: Finding, service: Service, file: str, scope: str, derived: dockerfile.Derived) -> Build:
    folder = posixpath.dirname(finding.compose[0]) if finding.compose else ""
    context = posixpath.relpath(".", folder or ".")
    # compose resolves the Dockerfile relative to the context, i.e. the repository
    options = derived.arguments.get(service.name, {})
    # the user's argument with that name may take its value from a variable
    same = {name for name, value in options.items() if _same(service.args.get(name, ""), value)}
    args = {"BIN": service.binary, "CACHE_SCOPE": scope, **{n: v for n, v in options.items() if n not in same}}
    if {**service.inherited, **service.args}.get("PROFILE", service.profile) != service.profile:
        args["PROFILE"] = service.profile  # their value had another meaning, such as the directory `debug`
    declared = set(re.findall(r"(?m)^ARG (\w+)", derived.text))
    if service.added or not finding.compose:  # no compose file has the arguments that select the program yet
        args |= {name: value for name, value in service.args.items() if name in declared and name not in args}
    args |= {n: v for n, v in service.inherited.items() if n in declared and n not in args and n not in service.args}
    known = declared | set(args)
    # an argument that their Dockerfile does not declare never had an effect
    unused = set(service.args) - stage_items.declared(service.recipe) if service.recipe else set[str]()
    kept = known | unused
    drop = tuple(name for name in service.args if name not in kept and not _PREDEFINED.fullmatch(name))
    contexts = service.build.get("additional_contexts")
    theirs = {f"service:{name}" for name in service.providers}
    old = isinstance(contexts, dict) and bool(contexts) and {str(value) for value in contexts.values()} <= theirs
    target = derived.targets[service.name]
    return Build(
        service.name,
        context,
        file,
        target,
        args,
        drop,
        derived.ssh,
        service.idle,
        ("additional_contexts",) if old else (),
    )


#: Arguments that BuildKit itself reads without an ARG: https://docs.docker.com/reference/dockerfile/#predefined-args
_PREDEFINED = re.compile(r"(?i:https?|ftp|no|all)_(?i:proxy)|BUILDKIT_\w+|SOURCE_DATE_EPOCH")


def _same(given: str, ours: str) -> bool:
    """Return whether two arguments list the same words, in the way cargo reads features."""
    return given != "" and re.split(r"[,\s]+", given.strip()) == re.split(r"[,\s]+", ours.strip())


def _compose(finding: Finding, builds: list[Build], mode: str, notes: list[Note]) -> dict[str, str]:
    if not finding.compose:
        return {"compose.yaml": composefile.proposed(finding.project, builds)}
    for drop in dict.fromkeys(b.drop for b in builds if b.drop):
        names = ", ".join(b.service for b in builds if b.drop == drop)
        notes.append(Note(names, f"removed build arguments whose values are now in the new files: {', '.join(drop)}"))
    read = {path: finding.existing[path] for path in finding.compose if path in finding.existing}
    for service, key, old, becomes in composefile.computed(read, builds):
        notes.append(Note(service, f"`{key}: {old}` becomes `{becomes}`: the variable no longer has an effect"))
    if mode == "override":
        path = _override_path(finding)
        return {path: composefile.override(builds, finding.existing.get(path, ""))}
    texts = read
    added = {s.name for s in finding.services if s.added}
    new = [b for b in builds if b.service in added]
    if new:
        texts[finding.compose[0]] = composefile.appended(texts[finding.compose[0]], new)
        if len(new) == len(builds):
            return {finding.compose[0]: texts[finding.compose[0]]}
    done = composefile.edit(texts, [b for b in builds if b.service not in added])
    found = {**({finding.compose[0]: texts[finding.compose[0]]} if new else {}), **done.texts}
    if done.not_found:
        rest = [b for b in builds if b.service in done.not_found]
        path = _override_path(finding)
        notes.append(
            Note(path, f"overrides services defined in an included or extended file: {', '.join(done.not_found)}")
        )
        found[path] = composefile.override(rest, found.get(path, finding.existing.get(path, "")))
    return found


def _override_path(finding: Finding) -> str:
    """Return the override file that compose reads automatically, or a separate file if compose files are listed."""
    first = finding.compose[0]
    stem, _, suffix = first.rpartition(".")
    if finding.listed:
        return posixpath.join(posixpath.dirname(first), "compose.buildkit-tasks.yaml")
    existing = [p for p in finding.compose[1:] if ".override." in p]
    return existing[0] if existing else f"{stem}.override.{suffix}"


def _settings(finding: Finding, texts: Mapping[str, str]) -> dict[str, str]:
    """Return the settings without a usable default, such as compose files that compose does not find by itself."""
    found: dict[str, str] = {}
    if finding.listed:
        own = [p for p in texts if p.endswith("compose.buildkit-tasks.yaml")]
        found["project.compose_file"] = ":".join([*finding.compose, *(p for p in own if p not in finding.compose)])
    if all(s.profiles for s in finding.services):
        found["caches.scope"] = finding.project  # no active service would show it
    return found


def _refuse_foreign(files: Tree, texts: Mapping[str, str]) -> None:
    """Refuse to overwrite a file that is not ours at the path of one of our compile files."""
    for name, text in package_files.compile_files().items():
        path = f"docker/{name}"
        if path in texts and files.has(path) and "buildkit-tasks" not in files.text(path) and files.text(path) != text:
            raise Problem(
                "adopt-conflict",
                f"{path} already exists, but the generated Dockerfile needs that path.",
                hint=f"rename {path}, then rerun this command",
            )
    if files.has("docker"):
        raise Problem(
            "adopt-conflict",
            "The repository has a file named docker, but the generated Dockerfile needs a directory with that name.",
            hint="rename the file, then rerun this command",
        )
