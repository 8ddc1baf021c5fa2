"""Lines shared by runtime and toolchain stages, and a runtime stage as a value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from buildkit_tasks.dockerfiles.syntax import Instruction
from buildkit_tasks.survey.finding import Note

#: Directory of the compile step's programs.
BUILT = "/out/${CACHE_SCOPE}"
#: Mounts the host's CA bundle, if there is one, for commands that use the network.
CA = "--mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt,mode=0444"


@dataclass(frozen=True)
class Runtime:
    """A runtime stage: the base `image` and its platform, the lines below FROM, the context paths that they copy, the
    other programs that they add, and notes for the user. `ran`: commands of a compile stage that it runs, as
    `Dockerfile:LINE`."""

    image: str
    platform: str
    lines: tuple[str, ...]
    context: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    tools: bool = False
    notes: tuple[Note, ...] = ()
    ran: frozenset[str] = frozenset()


def packages_step(names: Sequence[str], *, argument: str, alpine: bool, recommends: bool = False) -> tuple[str, ...]:
    """Return an ARG with the packages, possibly none yet, and the command that installs them."""
    head = f'ARG {argument}="{" ".join(names)}"'
    if alpine:
        return (head, f"RUN {CA} \\", f'    [ -z "${argument}" ] || apk add --no-cache ${argument}')
    bare = "" if recommends else " --no-install-recommends"
    return (
        head,
        "RUN --mount=type=secret,id=ca,mode=0444 \\",
        "    if [ -s /run/secrets/ca ]; then set -- -o Acquire::https::CAInfo=/run/secrets/ca; fi; \\",
        f'    [ -z "${argument}" ] || {{ apt-get "$@" update -qq && \\',
        f'    DEBIAN_FRONTEND=noninteractive apt-get "$@" install -qq -y{bare} ${argument} && \\',
        "    rm -rf /var/lib/apt/lists/*; }",
    )


def short(item: Instruction) -> str:
    """Return an instruction on one line of at most 100 characters, without mounts."""
    text = f"{item.keyword} {' '.join(word for word in item.rest.split() if not word.startswith('--mount='))}"
    return text if len(text) <= 100 else f"{text[:97]}..."


def is_alpine(image: str) -> bool:
    """Return whether an image is based on Alpine, judging by its name."""
    return "alpine" in image


def plain(image: str, packages: Sequence[str]) -> Runtime:
    """Return the stage of a service that had no Dockerfile: only the program."""
    lines = [*packages_step(packages, argument="RUNTIME_PACKAGES", alpine=is_alpine(image))] if packages else []
    lines += ["ARG CACHE_SCOPE", "ARG BIN", *labels(), f"COPY --from=compile {BUILT}/${{BIN}}/ /usr/local/"]
    lines += ["USER 65532:65532", 'ENTRYPOINT ["/usr/local/bin/service"]']
    return Runtime(image, "", tuple(lines))


def labels() -> tuple[str, ...]:
    """Return the labels that `verify` uses to find out what an image was built from."""
    manifest = "/usr/local/share/buildkit-tasks/manifest.json"
    return (f"LABEL buildkit-tasks.binary=${{BIN}} buildkit-tasks.manifest={manifest}",)


def with_ca(line: str) -> str:
    """Pass the host's CA bundle, if there is one, to a command that uses the network."""
    if (
        re.match(r"RUN\b", line)
        and "id=ca" not in line
        and re.search(r"\b(?:curl|wget|apk|rustup|cargo|git|npm|pip3?)\s", line)
    ):
        return re.sub(r"^RUN\s+", f"RUN {CA} \\\\\n    ", line, count=1)
    return line


def in_their_directories(lines: Sequence[str]) -> list[str]:
    """Return the lines of a stage that starts and ends in `/`. Each may begin with its own `WORKDIR DIRECTORY` line."""
    found: list[str] = []
    now = "/"
    for line in lines:
        own = re.match(r"WORKDIR (.+)\n(?=.)", line)
        wanted = own[1] if own else "/"
        if wanted != now and not re.match(r"(?:ARG|ENV)\b", line):
            found.append(f"WORKDIR {wanted}")
            now = wanted
        found.append(with_ca(line[own.end() :] if own else line))
    return [*found, *(["WORKDIR /"] if now != "/" else [])]


def with_registry(line: str) -> str:
    """Return a command that installs programs with cargo, with a cache mount for the registry."""
    mount = "--mount=type=cache,id=${CACHE_SCOPE}-cargo-registry,target=${CARGO_HOME}/registry,sharing=shared"
    return re.sub(r"^RUN ", rf"RUN {mount} \\\n    {CA} \\\n    ", line, count=1)
