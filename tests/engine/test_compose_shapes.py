"""Forms of compose files and Dockerfiles from public bug reports: our image of each is the same as compose's.

All are services of one project, which compose and we each build once. `SHAPES` describes each form.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import built_images, newer_plugins, process

pytestmark = [pytest.mark.engine]

TASKS = "from buildkit_tasks import namespace\n__all__ = ['namespace']\n"

#: Name of the service: its subject and its section; @P@ is the project, @B@ a Debian image.
SHAPES: dict[str, tuple[str, str]] = {
    "short": ("`build:` as a path; the Dockerfile's name in lower case (buildx takes it)", "build: ./lower"),
    "up-and-down": ("a path through `..`", "build: {context: lower/../app}"),
    "outside": (
        "a Dockerfile outside of the context (compose#12799)",
        "build: {context: app, dockerfile: ../files/Out}",
    ),
    "blank": ("blanks, commas, `#` and non-ASCII in paths", "build: {context: 'a, b=c é', dockerfile: 'D #1'}"),
    "linked": ("a context behind a link, with links in it", "build: link"),
    "ignored": (
        "Dockerfile.dockerignore, `!`, `**`, patterns that meet",
        "build: {context: ignoring, dockerfile: Own}",
    ),
    "ignored-all": (
        ".dockerignore of the context for a Dockerfile from elsewhere",
        "build: {context: ignoring, dockerfile: ../files/Out}",
    ),
    "inline": (
        "`dockerfile_inline` with `$` and `%{` (podman-compose#864)",
        'build: {dockerfile_inline: "FROM scratch\\nENV A=$${A:-x} B=$$B\\nCOPY app/f /f\\n"}',
    ),
    "list": (
        "arguments as a list; without a value, empty, with `=`",
        "build: {context: arguments, args: [A=x=y, FROM_ENV, NOT_SET, 'B=a b', EMPTY=]}",
    ),
    "map": (
        "arguments as a map: numbers, booleans, null, octal",
        "build: {context: arguments, args: {A: 1.50, B: true, NOT_SET: null, FROM_ENV: , EMPTY: 010}}",
    ),
    "filled": (
        "every form of interpolation (compose#13258, #12662)",
        "build: {context: arguments, args: {A: "
        '"${FROM_ENV:+alt}-${EMPTY_ENV-d}-${EMPTY_ENV:-d}-${NO-d}-$$X-$${X}-${N:-${FROM_ENV:-z}}"}}',
    ),
    "anchored": ("YAML anchors and merge keys", "build: {<<: *common, args: {<<: *args, A: merged}}"),
    "extending": (
        "`extends` of another file, below it",
        "{extends: {file: files/base.yaml, service: base}, build: {args: {A: over}}}",
    ),
    "reset": (
        "`!reset` and `!override` in a second file",
        "build: {context: arguments, target: never, args: {A: 1, B: 2}, tags: ['@P@/reset:gone']}",
    ),
    "heredoc": ("here-documents with FROM lines in them, quoted and not", "build: {context: app, dockerfile: Heredoc}"),
    "escape": ("`# escape=` and CRLF", "build: {context: app, dockerfile: Escape}"),
    "mark": ("a byte order mark, CRLF, comments between continued lines", "build: {context: app, dockerfile: Mark}"),
    "first-args": (
        "ARG before FROM, with defaults out of others",
        "build: {context: app, dockerfile: Args, args: {PART: bookworm-slim}}",
    ),
    "stage": (
        "a target; what it does not reach is not built",
        "build: {context: app, dockerfile: Stages, target: MID}",
    ),
    "numbered": ("`--from=0`, `--link`, `--chmod`, `--chown`, links", "build: {context: app, dockerfile: Stages}"),
    "contexts": (
        "named contexts: a directory, an image, one that hides an image's name (compose#12579)",
        "build: {context: app, dockerfile: Contexts, additional_contexts: {dir: ./more, base: "
        "'docker-image://@B@', alpine: 'docker-image://@B@'}}",
    ),
    "secret": (
        "secrets by file and environment, one out of .env",
        "build: {context: app, dockerfile: Secrets, secrets: [from-file, {source: from-env, target: "
        "other}, {source: from-dotenv, mode: 0440}]}",
    ),
    "labels": ("labels as a list", "build: {context: app, labels: [a=b, c, 'd=x=y', 'e.f/g=h i', 'g=']}"),
    "tagged": (
        "`image` among `tags`, one image twice",
        "{image: '@P@/tagged:1', build: {context: app, tags: ['@P@/tagged:1', '@P@/tagged', '@P@/tagged:2']}}",
    ),
    "two-platforms": (
        "`platforms` of several",
        "build: {context: app, dockerfile: Platform, platforms: [linux/amd64, linux/arm64]}",
    ),
    "one-platform": (
        "the service's `platform`",
        "{platform: linux/arm64/v8, build: {context: app, dockerfile: Platform}}",
    ),
    "around": (
        "scale, deploy, develop, configs, x-…, depends_on that is not required",
        "{scale: 2, deploy: {replicas: 2}, develop: {watch: [{path: ., action: sync, target: /x}]}, "
        "configs: [inline], x-a: 1, depends_on: {later: {condition: service_started, required: false}}, "
        "build: {context: app, x-b: 2}}",
    ),
    "dotted.name": ("a dot in the name, beside another that bake would take for it (compose#12919)", "build: app"),
    "dotted_name": ("the other", "build: {context: app, labels: [other=1]}"),
    "default": ("a name that means something to bake", "build: app"),
    "1234": ("a number as a name", "build: app"),
    "active": ("a profile that is active", "{profiles: [p, q], build: app}"),
    "onbuild": ("ONBUILD", "{image: '@P@/onbuild:dev', build: {context: app, dockerfile: Onbuild}}"),
    "child": (
        "FROM the image of another service, which has ONBUILD",
        "{depends_on: [onbuild], build: {context: app, dockerfile: Child, args: {OF: '@P@/onbuild:dev'}}}",
    ),
    "env-file": (
        "an `env_file` that is not there, and need not be",
        "{env_file: [{path: gone.env, required: false}], build: app}",
    ),
    "documents": (
        "here-documents with odd names and ends, of ONBUILD, and a `<<` in quotes",
        "build: {context: app, dockerfile: Documents}",
    ),
    "trimmed": ("`${X%y}` in FROM", "build: {context: app, dockerfile: Trimmed, args: {OF: '@B@-old'}}"),
    "no-limit": (
        "limits of 0, which compose's JSON omits",
        "build: {context: app, ulimits: {core: {soft: 0, hard: -1}}}",
    ),
    "ignore-directory": (".dockerignore is a directory", "build: outer"),
    "of-include": ("`include` with project_directory and env_file", ""),
}

FILES = {
    "tasks.py": TASKS,
    ".env": "DOT_SECRET='dot $value'\nWORD=top\n",
    "compose.override.yaml": """\
services:
  reset:
    build: {target: !reset null, args: !override {A: 9}, tags: !reset []}
""",
    "part/compose.yaml": "services: {of-include: {build: {context: ./arguments, args: {A: '${WORD}'}}}}\n",
    "part/own.env": "WORD=of its own\n",
    "files/base.yaml": "services: {base: {build: {context: ../arguments, args: {A: base, B: 2}, labels: [x=1]}}}\n",
    "files/Out": "FROM scratch\nCOPY . /all/\n",
    "lower/dockerfile": "FROM scratch\nCOPY . /all/\n",
    "a, b=c é/D #1": "FROM scratch\nCOPY . /all/\n",
    "app/Dockerfile": "FROM scratch\nCOPY f /f\n",
    "app/f": "f\n",
    "app/Heredoc": 'FROM scratch\nARG N=7\nCOPY <<"EOF" <<TWO /d/\nraw $N\nFROM none\nEOF\nfilled $N\nTWO\n',
    "app/Documents": (
        "FROM scratch\nCOPY <<END-OF <<'two words' /x/\nFROM none.example/a\n END-OF\nEND-OF\n"
        "FROM none.example/b\ntwo words\nONBUILD COPY <<Z /z\nFROM none.example/c\nZ\n"
        'LABEL q="a <<EOF b"\nLABEL b=c\\\\\nFROM scratch\nCOPY f /f\n'
    ),
    "app/Trimmed": "ARG OF\nFROM ${OF%-old}\nRUN true\n",
    "outer/Dockerfile": "FROM scratch\nCOPY . /all/\n",
    "outer/.dockerignore/x": "*\n",
    "app/Escape": "# escape=`\r\nFROM scratch `\r\n  AS x\r\nLABEL a=b\\c `\r\n  d=e\r\nCOPY f /f\r\n",
    "app/Mark": "\ufeffFROM scratch\r\nCOPY \\\r\n # no\r\n\r\n f \\\r\n /f\r\n",
    "app/Args": (
        "ARG REG=localhost/buildkit-tasks\nARG PART=none\nARG BASE=@B@\nARG LAST=one\n"
        "FROM ${BASE:-${REG}/debian:${PART}} AS base\n"
        "FROM base AS one\nARG PART\nLABEL part=$PART\nFROM base as two\nRUN false\nFROM ${LAST}\nLABEL l=$PART\n"
    ),
    "app/Stages": (
        "FROM scratch AS first\nCOPY f /f\nFROM never.example/none AS unused\nRUN false\n"
        "FROM first AS mid\nLABEL mid=1\nFROM scratch\n"
        "COPY --link --from=0 --chmod=640 --chown=1:2 /f /g\nCOPY --from=mid /f /h\nADD --chmod=755 f /i\n"
    ),
    "app/Contexts": (
        "FROM alpine:latest AS q\nFROM base\nCOPY --from=dir m /m\nCOPY --from=q /etc/debian_version /v\n"
        "RUN --mount=from=dir,target=/x cat /x/m > /m2\n"
    ),
    "app/Secrets": (
        "FROM @B@ AS x\nRUN --mount=type=secret,id=from-file --mount=type=secret,id=other,target=/q "
        "--mount=type=secret,id=from-dotenv --mount=type=secret,id=none "
        "cat /run/secrets/* /q > /o\nFROM scratch\nCOPY --from=x /o /o\n"
    ),
    "app/Platform": "FROM scratch\nARG TARGETARCH\nARG TARGETVARIANT\nLABEL p=$TARGETARCH$TARGETVARIANT\nCOPY f /f\n",
    "app/Onbuild": "FROM @B@\nRUN echo base > /base\nONBUILD COPY f /on\n",
    "app/Child": "ARG OF\nFROM ${OF}\nRUN cat /base /on > /child\n",
    "arguments/Dockerfile": (
        "FROM scratch\nARG A=dA\nARG B=dB\nARG FROM_ENV=dF\nARG NOT_SET=dN\nARG EMPTY=dE\n"
        'LABEL l="$A|$B|$FROM_ENV|$NOT_SET|$EMPTY"\n'
    ),
    "more/m": "m\n",
    "secret file": "of a file\n",
    "real/Dockerfile": "FROM scratch\nCOPY . /all/\n",
    "real/f": "1",
    "ignoring/Own": "FROM scratch\nCOPY . /all/\n",
    "ignoring/Own.dockerignore": "*\n!keep/**\nkeep/**/no*\n!a?b\n!**/*.rs\n",
    "ignoring/.dockerignore": "**/x\r\n# comment\r\n!s/x\r\n/../ignoring\r\n",
    **dict.fromkeys([f"ignoring/{n}" for n in ("keep/1/nope", "keep/1/yes", "a1b", "x", "s/x", "s/q.rs", "t/x")], "1"),
}

LINKS = {"link": "real", "real/in": "../real/f", "real/dangling": "nowhere"}


def write(root: Path, project: str, base: str) -> None:
    def filled(text: str) -> str:
        return text.replace("@P@", project).replace("@B@", base)

    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(filled(text).encode())
    for name, to in LINKS.items():
        (root / name).symlink_to(to)
    lines = [
        f"name: {project}",
        "x-common: &common {context: arguments, args: &args {A: anchored, B: kept}}",
        "include: [{path: part/compose.yaml, project_directory: ., env_file: part/own.env}]",
        "secrets:\n  from-file: {file: './secret file'}\n  from-env: {environment: SECRET_ENV}",
        "  from-dotenv: {environment: DOT_SECRET}",
        "configs: {inline: {content: 'x'}}",
        "services:",
        "  later: {profiles: [off], build: {dockerfile_inline: 'FROM none'}}",
    ]
    for name, (_, section) in SHAPES.items():
        if section:
            text = section if section.startswith("{") else f"{{{section}}}"
            lines.append(f'  "{name}": {filled(text)}')
    (root / "compose.yaml").write_text("\n".join(lines) + "\n", "utf-8")


@pytest.fixture(scope="module", params=["installed", "newest"])
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, base_images: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Build the project with compose and with our tasks; yield the images of both by service."""
    project = f"shapes{secrets.token_hex(3)}"
    root = tmp_path_factory.mktemp("shapes") / "tree"
    write(root, project, base_images.get("debian:bookworm-slim", "debian:bookworm-slim"))
    env: dict[str, str | None] = {"CI": None, "XDG_STATE_HOME": str(root.parent / "state"), "COMPOSE_PROFILES": "p"}
    env |= {"FROM_ENV": "of the environment", "EMPTY_ENV": "", "SECRET_ENV": "of the environment"}
    if request.param == "newest":
        env["DOCKER_CONFIG"] = str(newer_plugins.config())
        # compose 2.40 builds everything at once, regardless of dependencies: the image has to exist before
        process.ok(["docker", "compose", "build", "onbuild"], root, env)
    model = json.loads(process.ok(["docker", "compose", "config", "--format", "json"], root, env).out)
    names = {n: s.get("image", f"{project}-{n}") for n, s in model["services"].items()}
    images = [*names.values(), *(t for s in model["services"].values() for t in s["build"].get("tags", ()))]
    assert sorted(names) == sorted(SHAPES)
    try:
        process.ok(["docker", "compose", "build"], root, env)
        theirs = built_images.facts(images, root, env)
        process.run(["docker", "image", "rm", "-f", *images], root)
        process.ok([process.BIN / "invoke", "build"], root, env)
        ours = built_images.facts(images, root, env)
        yield {"names": names, "ours": ours, "theirs": theirs, "newest": request.param == "newest"}
    finally:
        process.run(["docker", "image", "rm", "-f", *images], root)


def lost(built: dict[str, Any]) -> str | None:
    """Return the image that compose 2.40 does not create: it treats both names as `dotted_name` and builds one."""
    if not built["newest"]:
        return None
    dotted = {built["names"][name] for name in ("dotted.name", "dotted_name")}
    (missing,) = dotted - built["theirs"].keys()
    return str(missing)


@pytest.mark.parametrize("service", SHAPES)
def test_an_image_is_the_one_that_compose_makes(built: dict[str, Any], service: str) -> None:
    image = built["names"][service]
    if image == lost(built):
        return
    assert image in built["theirs"], "compose made none"
    assert built_images.difference(built["ours"][image], built["theirs"][image]) == []


def test_all_names_are_those_that_compose_gives(built: dict[str, Any]) -> None:
    assert built["ours"].keys() - {lost(built)} == built["theirs"].keys()


#: Errors of compose: the service's section, the exit code, and words of the message.
REFUSED: dict[str, tuple[str, int, str]] = {
    "context-missing": ("build: ./gone", 9, "The build context of the service 'a' cannot be read"),
    "context-file": ("build: ./more/m", 9, "the path is not a directory"),
    "utf-16": ("build: {context: app, dockerfile: Wide}", 9, "The Dockerfile of the service 'a' is in UTF-16"),
    "context-loop": ("build: ./loop", 9, "Too many levels of symbolic links"),
    "dockerfile-loop": ("build: {context: app, dockerfile: ../loop}", 9, "Too many levels of symbolic links"),
    "context-nul": ('build: "a\\0b"', 9, "a path cannot contain a NUL"),
    "dockerfile-nul": ('build: {context: app, dockerfile: "a\\0b"}', 9, "a path cannot contain a NUL"),
    "dockerfile-directory": ("build: {context: ., dockerfile: more}", 9, "the path is not a file"),
    "target": ("build: {context: app, target: nope}", 21, 'first step: target stage "nope" could not be found'),
    "empty": ("build: {context: app, dockerfile: Empty}", 21, "first step: the Dockerfile cannot be empty"),
    "words": ("build: {context: app, dockerfile: Fails}", 21, "The step failed: [2/2] RUN echo 'error: odd'"),
    "no-program": ("build: {context: app, dockerfile: NoNpm}", 21, "The step failed: [2/2] RUN npm ci"),
    "no-tag": (
        "build: {context: app, dockerfile_inline: 'FROM debian:$${TAG}'}",
        21,
        'first step: failed to parse stage name "debian:": invalid reference format',
    ),
    "words-of-from": (
        "build: {context: app, dockerfile_inline: 'FROM $${TAG:?set it}'}",
        21,
        "first step: dockerfile parse error on line 1: FROM requires either one or three arguments",
    ),
    "upper-case": ("{image: App, build: app}", 21, "repository name must be lowercase"),
    "no-key": ("build: {context: app, ssh: [k=./more/m]}", 21, "ssh: no key found"),
    "unknown": ("build: {context: app, dockerfil: x}", 6, "Additional property dockerfil is not allowed"),
    "entitled": ("build: {context: app, privileged: true}", 21, "security.insecure is not allowed"),
}


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory, base_images: Mapping[str, str]) -> Path:
    root = tmp_path_factory.mktemp("refused") / "tree"
    base = base_images.get("debian:bookworm-slim", "debian:bookworm-slim")
    write(root, f"refused{secrets.token_hex(3)}", base)
    (root / "app/Empty").touch()
    (root / "loop").symlink_to("loop")
    (root / "app/Wide").write_text("FROM scratch\nCOPY f /f\n", "utf-16")
    (root / "app/Fails").write_text(f"FROM {base}\nRUN echo 'error: odd' >&2; exit 3\n")
    (root / "app/NoNpm").write_text(f"FROM {base}\nRUN npm ci\n")
    return root


@pytest.mark.parametrize("name", REFUSED)
def test_what_compose_fails_at_fails_with_its_cause(refusing: Path, name: str) -> None:
    section, code, words = REFUSED[name]
    text = section if section.startswith("{") else f"{{{section}}}"
    (refusing / "refused.yaml").write_text(f"name: shapes-refused\nservices:\n  a: {text}\n")
    env: dict[str, str | None] = {"CI": None, "XDG_STATE_HOME": str(refusing.parent / "state")}
    env["BUILDKIT_TASKS_PROJECT_COMPOSE_FILE"] = "refused.yaml"
    assert process.run(["docker", "compose", "-f", "refused.yaml", "build"], refusing, env).code != 0
    done = process.run([process.BIN / "invoke", "build"], refusing, env)
    assert done.code == code, done.err
    assert words in done.err
    for wrong in ("does not compile", "toolchain image", "This is a bug"):
        assert wrong not in done.err
    if code == 9:
        assert process.run([process.BIN / "invoke", "lint"], refusing, env).code in (0, 33)


#: Env files that compose cannot read: the entry, the file's content, and words of the warning.
ENV_FILES: dict[str, tuple[str, bytes | None, str]] = {
    "missing": ("own.env", None, "own.env is missing: builds do not need it, but the stack cannot start without it"),
    "a blank in a name": ("own.env", b"A B=hunter2\n", "line 1: key cannot contain a space ***"),
    "an open quote": ("own.env", b"A='hunter2\n", "line 2: unterminated quoted value ***"),
    "an open brace": ("own.env", b"A=${hunter2\n", "***"),
    "a variable": ("own.env", b"A=${NOT_THERE:?}\n", "required variable NOT_THERE is missing a value"),
    "UTF-16": ("own.env", "A=1".encode("utf-16"), "line 1: unexpected character"),
    "a directory": ("app", None, "app: is a directory"),
    "a format": ("{path: own.env, format: odd}", b"A=1\n", 'unsupported env_file format "odd"'),
}


@pytest.mark.parametrize("newest", [False, True], ids=["installed", "newest"])
@pytest.mark.parametrize("name", ENV_FILES)
def test_an_env_file_that_compose_cannot_read_stops_the_stack_and_not_the_build(
    name: str, newest: bool, tmp_path: Path
) -> None:
    entry, content, words = ENV_FILES[name]
    root = tmp_path / "shapes-env"
    (root / "app").mkdir(parents=True)
    (root / "tasks.py").write_text(TASKS)
    if content is not None:
        (root / "own.env").write_bytes(content)
    image = f"shapes-env/{secrets.token_hex(3)}"
    services = [f"  {n}: {{env_file: [{entry}], {m}}}\n" for n, m in (("a", f"image: {image}"), ("b", "profiles: [p]"))]
    services = [s.replace("}\n", ", build: {dockerfile_inline: FROM scratch}}\n") for s in services]
    (root / "compose.yaml").write_text(f"name: shapes-env\nservices:\n{''.join(services)}")
    env: dict[str, str | None] = {"CI": None, "XDG_STATE_HOME": str(tmp_path / "state")}
    if newest:
        env["DOCKER_CONFIG"] = str(newer_plugins.config())
    try:
        process.ok(["docker", "compose", "build"], root, env)
        done = process.ok([process.BIN / "invoke", "build"], root, env)
        assert words in done.err
        assert "hunter2" not in done.all
        up = process.run([process.BIN / "invoke", "up"], root, env)
        assert up.code != 0
        assert "hunter2" not in up.all
        planned = process.ok([process.BIN / "invoke", "build", "--plan", "--service", "b"], root, env).out
        assert planned.splitlines()[2].split() == ["services", "b"]
    finally:
        process.run(["docker", "image", "rm", "-f", image], root)
