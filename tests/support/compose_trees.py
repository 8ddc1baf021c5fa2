"""Generated projects: a compose file with its Dockerfiles, contexts, override and .env, each in a separate directory.

A root file includes many projects, so one `docker compose build` and one of our builds build all their images.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

#: Secrets and variables that every generated file may use.
ENVIRONMENT = {"GEN_ENV": "from the environment", "GEN_EMPTY": "", "GEN_SECRET": "s3cret, with a comma"}

_WORD = st.from_regex(r"[a-z][a-z0-9]{0,4}", fullmatch=True)
_NAME = st.from_regex(r"[a-z][a-z0-9]{0,4}([._-][a-z0-9]{1,3})?", fullmatch=True)
_VALUES = (
    *("plain", "two words", "", "$$one", "$$$$two", "$${BRACED}", "%{percent}", "a=b=c", "é ü", "it's", 'say "x"'),
    *("back\\slash", "#hash", "${GEN_ENV}", "${GEN_EMPTY:-default}", "${GEN_EMPTY-kept}", "${GEN_ENV:+other}"),
    *("${OWN_VALUE}", "${NOT_THERE:-${OWN_VALUE:-x}}", "true", "1.50", "010", "~", "[x]", "{y}", "*z", "a: b"),
)


@dataclass
class Made:
    """One generated project: files by path, symlinks, services by name, and the changes in its override."""

    secret: str
    files: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    services: dict[str, Any] = field(default_factory=dict)
    override: tuple[str, str] = ("", "")


@st.composite
def projects(draw: st.DrawFn, base: str, *, templates: bool = True) -> Made:
    """Generate a project with one to four services. `templates`: add values that the newest compose mishandles."""
    made = Made(secret="secret file,1" if templates else "secret file")  # compose 2.40 does not quote the comma
    _context(draw, made, "ctx")
    _context(draw, made, "a dir")
    made.links["link"] = "ctx"
    lower = {"context": "ctx", "args": {"A": "of the base", "C": "c"}, "labels": ["b=1"]}
    made.files["base.yaml"] = json.dumps({"services": {"lower": {"build": lower}}})
    made.files["own.env"] = "OWN_VALUE='own $value'\n"
    made.files[made.secret] = "from a file\n"
    for name in draw(st.lists(_NAME, min_size=1, max_size=4, unique_by=lambda n: n.replace(".", "_"))):
        made.services[name] = _service(draw, made, base, templates=templates)
    changed = draw(st.sampled_from(sorted(made.services)))
    made.override = _override(draw, changed, made.services[changed])
    return made


def _context(draw: st.DrawFn, made: Made, place: str) -> None:
    for name in draw(st.lists(_WORD, min_size=1, max_size=4, unique=True)):
        path = draw(st.sampled_from([f"f{name}", f"sub/{name}", f"sub/{name}.d/x.rs", f".{name}", f"{name} é"]))
        made.files[f"{place}/{path}"] = draw(st.sampled_from(["", "x\n", "line\r\nline", "ü"]))
        if draw(st.integers(0, 4)) == 0:
            made.modes[f"{place}/{path}"] = draw(st.sampled_from([0o755, 0o600, 0o4711]))
    made.files[f"{place}/always"] = place
    made.links[f"{place}/points"] = draw(st.sampled_from(["always", "sub", "nowhere"]))
    rules = st.sampled_from(
        ["*", "!always", "sub", "**/*.rs", "!sub/*.d", "# no rule", ".*", "s?b/*", "/always/../x", ""]
    )
    if draw(st.booleans()):
        made.files[f"{place}/.dockerignore"] = "\n".join([*draw(st.lists(rules, max_size=4)), "!always", ""])


def _service(draw: st.DrawFn, made: Made, base: str, *, templates: bool) -> dict[str, Any]:
    number = len(made.services)
    context = draw(st.sampled_from(["./ctx", "ctx/", "a dir", "link", "ctx/../ctx"]))
    folder = {"link": "ctx"}.get(context, context.strip("./").removesuffix("/../ctx"))
    text, stages, plain = _dockerfile(draw, base)
    how = draw(st.sampled_from(["named", "named", "inline", "outside", "short", "extends"]))
    build: dict[str, Any] = {"context": context}
    if how == "inline":
        build["dockerfile_inline"] = text.replace("$", "$$")
    elif how == "outside":
        made.files[f"files/Dockerfile.{number}"] = text
        build["dockerfile"] = f"../files/Dockerfile.{number}"
    elif how == "named":
        name = draw(st.sampled_from([f"Dockerfile.{number}", f"sub/df {number}"]))
        made.files[f"{folder}/{name}"] = text
        build["dockerfile"] = name
        if draw(st.integers(0, 3)) == 0:
            made.files[f"{folder}/{name}.dockerignore"] = draw(st.sampled_from(["", "sub\n", "*\n!always\n"]))
    else:
        name = draw(st.sampled_from(["Dockerfile", "dockerfile"]))
        made.files.setdefault(f"ctx/{name}", "FROM scratch\nCOPY always /\n")
        build["context"] = "ctx"
    if how == "short":
        return _around(draw, made, {"build": "./ctx"})
    # compose 2.40 passes some values to bake as templates, and fails or changes them
    values = st.sampled_from([v for v in _VALUES if templates or "%{" not in v])
    labels = st.sampled_from([v for v in _VALUES if templates or not {"%{", "$${"} & {v[:2], v[:3]}])
    optional: dict[str, st.SearchStrategy[Any]] = {
        "args": st.one_of(
            st.dictionaries(st.sampled_from("ABCD"), st.one_of(values, st.integers(0, 99), st.none()), max_size=3),
            st.lists(st.sampled_from(["A=of a list", "B", "GEN_ENV", "C=", "D=x=y"]), max_size=3, unique=True),
        ),
        "labels": st.dictionaries(_WORD.map(lambda w: f"org.{w}"), labels, max_size=2),
        "tags": st.lists(_WORD.map(lambda t: f"@project@/more-{number}:{t}"), max_size=2, unique=True),
        "no_cache": st.just(False),
        "network": st.sampled_from(["default", "default", "default", "none"]),
        "x-anything": st.just({"a": [1]}),
        "additional_contexts": st.just({"more": "./a dir"}),
        "secrets": st.sampled_from([["@file@"], [{"source": "@env@", "target": "file"}]]),
    }
    for key, strategy in optional.items():
        if draw(st.integers(0, 3)) == 0:
            build[key] = draw(strategy)
    if how != "extends" and stages and draw(st.booleans()):
        build["target"] = draw(st.sampled_from(stages))
    if plain and how != "extends" and draw(st.integers(0, 3)) == 0:
        build["platforms"] = draw(st.sampled_from([["linux/arm64"], ["linux/amd64"]]))
    service = {"build": build}
    if how == "extends":
        build.pop("context")
        service["extends"] = {"file": "base.yaml", "service": "lower"}
    return _around(draw, made, service)


def _around(draw: st.DrawFn, made: Made, service: dict[str, Any]) -> dict[str, Any]:
    if draw(st.integers(0, 2)) == 0:
        tag = draw(st.sampled_from(["", ":v1", ":${GEN_EMPTY:-t}"]))
        service["image"] = f"@project@/{draw(_WORD)}{len(made.services)}{tag}"
    if draw(st.integers(0, 4)) == 0:
        service["profiles"] = draw(st.sampled_from([["on"], ["off"], ["off", "on"]]))
    if draw(st.integers(0, 3)) == 0:
        service["environment"] = {"PASSWORD": "hunter2"}
    if draw(st.integers(0, 5)) == 0:
        service |= {"deploy": {"replicas": 2}, "x-more": 1}
    return service


def _dockerfile(draw: st.DrawFn, base: str) -> tuple[str, list[str], bool]:
    """Return a Dockerfile, the names of its stages, and whether it has no RUN."""
    names = draw(st.lists(_WORD.map(lambda w: f"st{w}"), max_size=2, unique=True))
    runs = draw(st.integers(0, 2)) == 0
    lines = ["ARG FIRST=one", f"ARG BASE={base}", "ARG IMAGE=${BASE}"]
    for at, name in enumerate(names):
        lines.append(f"FROM {'${IMAGE}' if runs else 'scratch'} {draw(st.sampled_from(['AS', 'as']))} {name}")
        lines += draw(st.lists(_instructions(runs=runs), max_size=3))
        lines.append(f"COPY always /stage-{at}")
    lines.append(f"FROM {draw(st.sampled_from(['scratch', *names]))}")
    lines += draw(st.lists(st.one_of(_instructions(runs=False), st.just("USER 1000:1000")), max_size=3))
    lines += [f"COPY --from={draw(st.sampled_from([str(at), n]))} /stage-{at} /from-{at}" for at, n in enumerate(names)]
    lines.append("COPY always /always")
    end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    return draw(st.sampled_from(["", "", "# a comment\n", "\ufeff"])) + end.join([*lines, ""]), names, not runs


def _instructions(*, runs: bool) -> st.SearchStrategy[str]:
    plain = st.sampled_from(
        [
            *("ENV E=1 F='two words'", "LABEL l=${A:-none}", "WORKDIR /w", "EXPOSE 80/udp", "ONBUILD LABEL o=1"),
            *('ENTRYPOINT ["/x", "$A"]', "CMD echo $A", "STOPSIGNAL 9", "VOLUME /v", "ARG A=default"),
            *("ARG B\nENV B=$B", "COPY . /all/", "COPY --chmod=640 always /mode", 'SHELL ["/bin/sh", "-ec"]'),
            *("COPY --chown=7:8 --link always /owner/", "ADD always /added", 'COPY ["always", "/json name"]'),
            *("COPY <<EOF /here\nFROM $A\nEOF", "COPY <<'ONE' <<TWO /two/\nraw $A\nONE\nfilled ${A}\nTWO"),
            *("COPY \\\n  # between\n  always \\\n  /split", "HEALTHCHECK --interval=9s CMD true"),
        ]
    )
    steps = st.sampled_from(
        [
            'ARG A\nRUN echo "A=$A" > /ran',
            "ARG C=c\nRUN <<EOF\necho $C > /heredoc\nEOF",
            "RUN --mount=type=bind,target=/m cat /m/always > /bound",
            "RUN --mount=type=secret,id=file cat /run/secrets/file > /secret || true",
            "RUN --mount=type=tmpfs,target=/t touch /t/x && echo tmpfs > /tmpfs",
            'ARG B=b C=c D\nENV X=$B$C\nRUN echo "$X $D" | tr a-z A-Z > /upper; rm -f /etc/motd',
        ]
    )
    return st.one_of(plain, steps) if runs else plain


def _override(draw: st.DrawFn, name: str, service: dict[str, Any]) -> tuple[str, str]:
    """Change the `build:` of one service in a second file, using compose's own tags; usually return nothing."""
    if not isinstance(service.get("build"), dict) or draw(st.booleans()):
        return "", ""
    changes = [
        *('"args": {"A": "overridden"}', '"args": !override {"B": "only this"}', '"args": !reset null'),
        *('"labels": {"org.over": "1"}', '"tags": !reset []', '"labels": !reset null, "network": !reset null'),
    ]
    return name, draw(st.sampled_from(changes))


def write(root: Path, project: str, every: Sequence[Made]) -> None:
    """Write the projects below a root directory, with a file that includes all of them."""
    includes = []
    for number, made in enumerate(every):
        folder = root / f"p{number}"
        for name, text in made.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, "utf-8", newline="")
        for name, mode in made.modes.items():
            (folder / name).chmod(mode)
        for name, to in made.links.items():
            (folder / name).symlink_to(to)
        services = {f"p{number}{name}": service for name, service in made.services.items()}
        secrets = {"@file@": {"file": f"./{made.secret}"}, "@env@": {"environment": "GEN_SECRET"}}
        text = json.dumps({"services": services, "secrets": secrets}).replace("@project@", f"{project}/p{number}")
        text = text.replace("@file@", f"file{number}").replace("@env@", f"env{number}")
        (folder / "compose.yaml").write_text(text, "utf-8")
        paths = [f"p{number}/compose.yaml"]
        name, changes = made.override
        if name:
            over = f'{{"services": {{{json.dumps(f"p{number}{name}")}: {{"build": {{{changes}}}}}}}}}\n'
            (folder / "override.yaml").write_text(over, "utf-8")
            paths.append(f"p{number}/override.yaml")
        includes.append({"path": paths, "project_directory": f"p{number}", "env_file": f"p{number}/own.env"})
    (root / "compose.yaml").write_text(json.dumps({"name": project, "include": includes}), "utf-8")
    (root / "tasks.py").write_text("from buildkit_tasks import namespace\n__all__ = ['namespace']\n", "utf-8")
