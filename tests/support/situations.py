"""Broken environments, and a project with something to do for every task.

A situation prepares a project and defines how a command is started in it. In every situation, the command ends within a
time limit, with a documented exit code and at most one error, and never with a traceback
(tests/cli/test_every_task.py).
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import process
from tests.support.fork_server import NOBODY

PASSWORD = "it-is-4711"

#: The project's files. Each one is replaced with invalid content that readers must survive, one at a time.
FILES: Mapping[str, str] = {
    "docker/Dockerfile": """\
ARG RUST_IMAGE=rust:1-bookworm
FROM ${RUST_IMAGE} AS toolchain
RUN --mount=type=bind,source=docker/compile.rs,target=/c rustc /c
FROM toolchain AS compile
ARG CACHE_SCOPE
ARG PROGRAMS
ARG BINS
ARG SOURCE=.
ARG PROFILE=release
ARG CARGO_INCREMENTAL=0
ARG REBUILD
ARG TARGETARCH
RUN --mount=type=secret,id=ca --mount=type=cache,id=${CACHE_SCOPE}-target-${TARGETARCH},target=/target,sharing=locked \\
    /compile build
FROM debian:bookworm-slim
ARG BIN
COPY --from=compile /out/${BIN} /usr/local/bin/service
""",
    ".dockerignore": "target\n.git\n.env*\n",
    "docker/Dockerfile.dockerignore": "target\n.git\n.env*\n",
    "docker/compile.rs": "fn main() {}\n",
    "compose.yaml": "name: shop\nservices: {}\n",
    ".env": f"DB_PASSWORD='{PASSWORD}'\nPLAIN=1\n",
    ".env.example": "DB_PASSWORD=\nPLAIN=1\n",
    "Cargo.toml": '[package]\nname = "api"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\nsqlx = "0.8"\n',
    "Cargo.lock": 'version = 3\n\n[[package]]\nname = "api"\nversion = "0.1.0"\n',
    "src/main.rs": "fn main() {}\n",
    "rust-toolchain.toml": '[toolchain]\nchannel = "1.90"\n',
    ".cargo/config.toml": "[build]\njobs = 2\n",
    "pyproject.toml": '[tool.buildkit-tasks.stack]\nsmoke_command = ["true"]\n',
    "migrations/1_a.sql": "select 1;\n",
    "seeds.sql": "select 1;\n",
    "dump.sql": "select 1;\n",
    ".github/workflows/buildkit-tasks.yml": "on: push\njobs: {}\n",
    ".gitignore": "target\n",
}

#: Files in the user's home directory.
HOME: Mapping[str, str] = {
    ".bashrc": "# mine\n",
    ".profile": ". ~/.bashrc\n",
    ".docker/config.json": '{"auths": {}}\n',
    ".docker/buildx/current": '{"Key": "unix:///var/run/docker.sock", "Name": "farm"}\n',
    ".docker/buildx/instances/farm": '{"Name": "farm", "Driver": "remote", "Nodes": []}\n',
    ".cargo/credentials.toml": "[registry]\n",
}

#: Arguments for each task, so that it does not stop at missing arguments. New tasks run without arguments.
WORDS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "audit": ((), ("--json",), ("--image", "shop/api:dev", "--sbom", "out")),
    "build": ((), ("--plan",), ("--plan", "--json"), ("--platform", "linux/arm64"), ("--service", "api", "--json")),
    "builder.certificates": (("--host", "builder.example"),),
    "builder.create": (("farm2", "--driver", "remote", "--endpoint", "tcp://127.0.0.1:1", "--plan"),),
    "builder.inspect": (("farm",), ("farm", "--json")),
    "builder.remove": (("farm", "--yes"),),
    "builder.use": (("farm",),),
    "cache.clear": (("--yes",), ("--everything", "--confirm", "everything")),
    "cache.expire": (("--ref", "127.0.0.1:1/x/y"),),
    "cache.list": (("--ref", "127.0.0.1:1/x/y", "--json"),),
    "cache.pull": (("--ref", "127.0.0.1:1/x/y"),),
    "cache.push": (("--ref", "127.0.0.1:1/x/y"),),
    "cache.trim": (("--yes", "--keep", "1GB"),),
    "cache.view": ((), ("--inside", "--json"), ("--advice",), ("--gc",)),
    "cargo.run": (("--service", "api"),),
    "cargo.test": ((), ("--integration",)),
    "ci.changed": (("--base", "HEAD"), ("--base", "HEAD", "--json")),
    "ci.init": (("--provider", "github", "--dry-run"), ("--provider", "gitlab", "--yes")),
    "clean": (("--dry-run",), ("--yes",)),
    "completion": (("bash",), ("bash", "--install"), ("bash", "--values", "service")),
    "db.drop": (("--yes", "--name", "shop"),),
    "db.dump": (("--to", "new.sql"),),
    "db.migrate": ((), ("--status", "--json")),
    "db.reset": (("--yes", "--name", "shop"),),
    "db.restore": (("dump.sql", "--yes", "--name", "shop"),),
    "doctor": ((), ("--json",), ("--fix", "--yes")),
    "down": ((), ("--volumes", "--yes")),
    "enable-buildkit": (("--shell", "bash", "--dry-run"), ("--shell", "bash", "--yes"), ("--undo", "--yes"), ()),
    "engine.gc": ((), ("--keep", "5GB")),
    "engine.install": ((), ("--undo",)),
    "extract": (("--service", "api", "--to", "taken"),),
    "hooks.install": ((), ("--undo",)),
    "images.check": (("--no-start",),),
    "images.pull": (("--ref", "127.0.0.1:1/x/y"),),
    "images.push": (("--ref", "127.0.0.1:1/x/y"),),
    "images.show": ((), ("--json",)),
    "init": (("--dry-run",), ("--yes",), ("--check",), ("--undo",), ("--upgrade", "--yes")),
    "lint": ((), ("--json",), ("--file", "docker/Dockerfile")),
    "prune": (("--dry-run",), ("--yes",)),
    "quickstart": (("--yes",),),
    "run": (("api", "--no-build"),),
    "settings": ((), ("--json",)),
    "shell": (("api", "--command", "true"),),
    "up": ((), ("--no-build",)),
}

#: Programs that change the machine, or take long. They fail immediately, so no task reaches the real ones.
HARMFUL = (
    *("dockerd", "apt-get", "apt-cache", "systemctl", "service", "sudo", "debootstrap", "mount", "unshare", "chroot"),
    *("taskset", "setsid", "cosign", "install", "rm", "modprobe", "usermod"),
)


@dataclass
class Place:
    """A prepared run: the project, the home directory, and how to start commands."""

    root: Path
    fake: Path
    home: Path
    env: dict[str, str]
    user: int = 0
    known: dict[str, str] = field(default_factory=dict)


def _service(root: Path, name: str) -> dict[str, object]:
    args = {"BIN": name, "CACHE_SCOPE": "shop"}
    return {
        "build": {"context": str(root), "dockerfile": "docker/Dockerfile", "args": args},
        "image": f"shop/{name}:dev",
    }


INFO: dict[str, Any] = {
    "ID": "engine-1",
    "ServerVersion": "28.5.2",
    "OSType": "linux",
    "Architecture": "x86_64",
    "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
    "ClientInfo": {
        "Context": "default",
        "Plugins": [{"Name": "buildx", "Version": "v0.29.1"}, {"Name": "compose", "Version": "2.40.3"}],
    },
}


def answers(root: Path) -> list[tuple[str, str]]:
    """Return docker's answers by a shell pattern for the arguments; the first match is used."""
    database = {"image": "postgres:15-bookworm", "environment": {"POSTGRES_PASSWORD": PASSWORD, "POSTGRES_DB": "shop"}}
    config = {
        "name": "shop",
        "services": {"api": _service(root, "api"), "worker": _service(root, "worker"), "db": database},
    }
    mount = {
        "ID": "r1",
        "Description": 'cached mount /x from exec /bin/sh -c cargo build with id "/shop-target-amd64"',
        "LastUsedAt": "2 days ago",
        "Parents": None,
        "Reclaimable": True,
        "Shared": False,
        "Size": "300MB",
        "UsageCount": 7,
    }
    images = "".join(
        f'["{ref}"] sha256:{n * 64} linux/amd64\n'
        for n, ref in zip(
            "12345",
            ("rust:1-bookworm", "debian:bookworm-slim", "postgres:15-bookworm", "shop/api:dev", "shop/worker:dev"),
            strict=True,
        )
    )
    running = [
        {
            "Service": name,
            "Name": f"shop-{name}-1",
            "ID": n * 12,
            "State": "running",
            "Health": "healthy",
            "ExitCode": 0,
        }
        for n, name in zip("abc", ("api", "worker", "db"), strict=True)
    ]
    return [
        ("*RegistryConfig*", "null\n"),
        ("info *", json.dumps(INFO)),
        ("*context inspect*TLSPath*", '""\n'),
        ("*context inspect*", "unix:///nonexistent/docker.sock\n"),
        ("*config --format json*", json.dumps(config)),
        ("*config --services*", "api\nworker\ndb\n"),
        ("*config --environment*", "PLAIN=1\n"),
        ("*image inspect*{{json .Id}}*", '["sha256:1",["PATH=/bin","CARGO_HOME=/usr/local/cargo"]]\n'),
        ("image inspect*", images),
        ("container create*", "c0ffee\n"),
        ("container inspect*", "/bin/service\n"),
        ("*ps --all --format json*", "".join(json.dumps(r) + "\n" for r in running)),
        ("buildx du*", json.dumps(mount) + "\n"),
        ("buildx ls*", json.dumps({"Name": "farm", "Driver": "remote", "Nodes": []}) + "\n"),
        (
            "buildx inspect*",
            "Name:   farm\nDriver: remote\n\nNodes:\nName:      farm0\nEndpoint:  tcp://10.0.0.1:1\n"
            "Status:    running\nPlatforms: linux/amd64*\n",
        ),
        ("system df*", '{"Type":"Images","Size":"1.5GB"}\n'),
        ("version*Client*", "28.5.2\n"),
        ("version*", "[]\n"),
        ("*exec*pg_isready*", "admin\nshop\npsql (PostgreSQL) 15.9\n"),
        ("*", ""),
    ]


def fake_docker(place: Place, given: list[tuple[str, str]], *, tail: str = "") -> None:
    """Write a docker in sh, which starts ten times faster than one in Python. `tail` replaces the last answers."""
    lines = [
        "#!/bin/sh",
        f'for word; do printf "%s\\0" "$word"; done >> {place.fake}/argv',
        f"echo >> {place.fake}/argv",
    ]
    lines += ['case "$*" in *"--file -"*|*" -f - "*) cat >/dev/null;; esac', 'case "$*" in']
    for number, (pattern, text) in enumerate(given):
        (place.fake / f"answer{number}").write_bytes(text.encode("utf-8", "surrogateescape"))
        quoted = "*".join(f'"{part}"' if part else "" for part in pattern.split("*"))
        lines.append(f"{quoted}) cat {place.fake}/answer{number}; exit 0;;")
    lines += ["esac", tail]
    docker = place.fake / "bin/docker"
    docker.write_text("\n".join(lines) + "\n")
    docker.chmod(0o755)


def make(folder: Path, name: str = "shop") -> Place:
    """Create the project in a new directory, in a healthy state."""
    root, fake = folder / name, folder / "fake"
    home = fake / "home"
    for base, texts in ((root, FILES), (home, HOME)):
        for path, text in texts.items():
            (base / path).parent.mkdir(parents=True, exist_ok=True)
            (base / path).write_text(text)
    (root / "tasks.py").write_text("from buildkit_tasks import namespace\n")
    (root / ".git").mkdir()
    (root / ".git/HEAD").write_text("ref: refs/heads/main\n")
    for inner in ("objects", "refs"):
        (root / ".git" / inner).mkdir()
    (fake / "bin").mkdir()
    for program in HARMFUL:
        (fake / "bin" / program).write_text("#!/bin/sh\necho this must not run here >&2\nexit 99\n")
        (fake / "bin" / program).chmod(0o755)
    env = {
        "PATH": f"{fake}/bin:{process.BIN}:/usr/bin:/bin",
        "HOME": str(home),
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "BUILDKIT_TASKS_PACKS_WAIT": "1s",
        "TMPDIR": str(folder),
    }
    place = Place(root, fake, home, env)
    fake_docker(place, answers(root))
    return place


# ---- situations

Prepare = Callable[[Place], None]


def _nothing(_: Place) -> None: ...


def _env(**more: str | None) -> Prepare:
    def prepare(place: Place) -> None:
        for name, value in more.items():
            if value is None:
                place.env.pop(name, None)
            else:
                place.env[name] = value.format(place=place)

    return prepare


def _nobody(place: Place) -> None:
    """Run as a user without an entry in the user database and without a home directory; this user owns the project."""
    place.user = NOBODY
    place.env.pop("HOME")
    place.env.pop("SHELL")
    give(place.root.parent, NOBODY)


def _nobody_may_write(place: Place) -> None:
    place.user = NOBODY
    for folder in (place.root, place.home, *(p for p in place.root.rglob("*") if p.is_dir())):
        folder.chmod(0o555)


def give(folder: Path, user: int) -> None:
    """Make this user the owner of everything below a directory."""
    for place in (folder, *folder.rglob("*")):
        os.chown(place, user, user, follow_symlinks=False)


def _replaced(path: Path, how: Callable[[Path], None]) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    how(path)


def _unreadable(path: Path) -> None:
    path.write_text("")
    path.chmod(0)


def _text(content: bytes) -> Callable[[Path], None]:
    return lambda path: void(path.write_bytes(content))


def void(_: object) -> None: ...


def _endless(path: Path) -> None:
    """Create a link to a device like /dev/zero. The device is our own, because a bug could replace the real one."""
    device = path.with_name(f"{path.name}.device")
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    except PermissionError:
        os.mkfifo(device)
    path.symlink_to(device.name)


#: What a file can be replaced with.
KINDS: Mapping[str, Callable[[Path], None]] = {
    "a directory": lambda path: path.mkdir(),
    "unreadable": _unreadable,
    "not UTF-8": _text(b"\xff\xfe\x00\xc3(\n[\x80]\n"),
    "empty": _text(b""),
    "null": _text(b"null\n"),
    "a list": _text(b"[]\n"),
    "a number": _text(b"7\n"),
    "an object": _text(b'{"a": 1}\n'),
    "an object of objects": _text(b'{"a": {"b": [null]}, "version": "x", "schema": 1}\n'),
    "deep": _text(b"[" * 100_000),
    "deep objects": _text(b'{"a":' * 100_000),
    "long": _text(b"x" * 3_000_000),
    "zeros": _text(bytes(4096)),
    "escapes": _text("\x1b[2J\x1b]0;owned\x07 \u202e\u2028\r\r\n= ' \" ` $( ${ } \\\n".encode()),
    "a FIFO": lambda path: os.mkfifo(path),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "endless": _endless,
}


def _file(name: str, kind: str, *, home: bool = False) -> Prepare:
    def prepare(place: Place) -> None:
        _replaced((place.home if home else place.root) / name, KINDS[kind])
        if kind == "unreadable":
            give(place.root.parent, NOBODY)
            place.user = NOBODY

    return prepare


def _all_state(kind: str) -> Prepare:
    """Replace every file that earlier runs left."""

    def prepare(place: Place) -> None:
        base = place.home / ".local/state/buildkit-tasks"
        for path in sorted(base.rglob("*")):
            if path.is_file():
                _replaced(path, KINDS[kind])
        if kind == "unreadable":
            give(place.root.parent, NOBODY)
            place.user = NOBODY

    return prepare


#: Answers of a broken engine, or of something that is not docker.
NONSENSE: Mapping[str, str] = {
    "nothing": "",
    "null": "null\n",
    "a list": "[]\n",
    "a number": "7\n",
    "an object": '{"a": {"b": [null]}}\n',
    "an object of the wrong things": '{"name": 7, "services": [1], "ID": [], "ServerVersion": {}, "ClientInfo": 3}\n',
    "services of the wrong things": '{"name": "shop", "services": {"api": null, "x": 7, "y": {"build": []}}}\n',
    "a list of objects": '[{"a": 1}]\n{"b": null}\n',
    "not UTF-8": "\udcff\udcfe\udc80\n{\udcff",
    "deep": "[" * 100_000,
    "words": 'Name: x\nNodes:\n\n\n:\n: :\n "" {{\n',
    "escapes": "\x1b[2J\x1b]0;owned\x07\n",
}


def _answers(text: str, known: int) -> Prepare:
    """Answer everything with this text, except what `known` allows: 0 nothing, 1 docker's facts, 2 also the model."""

    def prepare(place: Place) -> None:
        sound = answers(place.root)[: (0, 4, 7)[known]]
        fake_docker(place, [*sound, ("*", text)])

    return prepare


def _fails(known: int, code: int = 1, words: str = "") -> Prepare:
    def prepare(place: Place) -> None:
        fake_docker(place, answers(place.root)[: (0, 4, 7)[known]], tail=f"printf %s '{words}' >&2; exit {code}")

    return prepare


def hangs(place: Place) -> None:
    """An engine that accepts connections and never answers; docker still answers what it can without the engine."""
    alone = ("*context inspect*", "*config --", "version*Client*")
    known = [(pattern, text) for pattern, text in answers(place.root) if pattern.startswith(alone)]
    fake_docker(place, known, tail="exec sleep 600")


def _no_docker(place: Place) -> None:
    (place.fake / "bin/docker").unlink()
    place.env["PATH"] = f"{place.fake}/bin"


def _empty(place: Place) -> None:
    place.env = {"PATH": f"{place.fake}/bin", "HOME": str(place.home)}


def _gone(place: Place) -> None:
    shutil.rmtree(place.root / "src")
    (place.root / "src").mkdir()


@dataclass(frozen=True)
class Situation:
    """`name`: the project's directory; `seconds`: the time limit."""

    prepare: Prepare
    name: str = "shop"
    seconds: float = 20
    words: tuple[str, ...] = ()


def _named(*names: str) -> Iterator[tuple[str, Situation]]:
    for name in names:
        yield f"in a folder called {name!r}", Situation(_nothing, name)


def situations() -> dict[str, Situation]:
    """Return all situations by their description."""
    found = {
        "nothing": Situation(_nothing),
        "a home that cannot be written": Situation(_env(HOME="/proc")),
        "a home with odd characters": Situation(_env(HOME="{place.root}/a home 'of' \"${{x}}\"\n\u00e9")),
        "a relative home": Situation(_env(HOME="home")),
        "a user without a name or home": Situation(_nobody),
        "another user's files": Situation(_nobody_may_write),
        "state in a file": Situation(_env(XDG_STATE_HOME="{place.root}/Cargo.toml")),
        "no temporary directory": Situation(_env(TMPDIR="/nonexistent")),
        "no PATH": Situation(_env(PATH=None)),
        "no docker": Situation(_no_docker),
        "an empty environment": Situation(_empty),
        "a DOCKER_HOST of nonsense": Situation(_env(DOCKER_HOST="\x1b[2J://[::1")),
        "settings of nonsense": Situation(_env(BUILDKIT_TASKS_PACKS_WAIT="\x1b[2J", BUILDKIT_TASKS_BUILD_PROFILE="")),
        "proxies of nonsense": Situation(_env(https_proxy="http://[", HTTP_PROXY="::", NO_PROXY="\n,*,")),
    }
    found |= dict(
        _named(
            "a b",
            "$HOME",
            "it's",
            'a "b"',
            "line\nline",
            "\u00fc\u4e2d\u202e",
            "-rf",
            "{{x}}",
            "a,b=c",
            "\udcff",
            "x" * 250,
            "%{x}",
            "a:b",
            'it\'s $HOME "x"\n\u00fc',
        )
    )
    for file in FILES:
        kinds = KINDS.keys() - ({"a FIFO"} if file == ".gitignore" else set())  # git blocks on it, and we wait for git
        found |= {f"{file} is {kind}": Situation(_file(file, kind)) for kind in KINDS if kind in kinds}
    for file in HOME:
        found |= {f"~/{file} is {kind}": Situation(_file(file, kind, home=True)) for kind in KINDS}
    found |= {f"state is {kind}": Situation(_all_state(kind)) for kind in KINDS}
    for known in range(3):
        what = ("everything", "all but its facts", "all but facts and model")[known]
        found |= {
            f"docker answers {kind} to {what}": Situation(_answers(text, known)) for kind, text in NONSENSE.items()
        }
        found |= {f"docker fails {what}": Situation(_fails(known))}
        found |= {
            f"docker fails {what} with words": Situation(
                _fails(known, 125, "Error: \x1b[2J $HOME `x` no space left on device")
            )
        }
    return found
