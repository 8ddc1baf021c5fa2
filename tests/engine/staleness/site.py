"""The environment of a case: its trees on the host, its mounts in the engine, its builds, and the oracle for them.

All builds are real `docker buildx build`s, because layers and the context transfer can go stale too. They use the
product's own Dockerfile and compile program, plus two arguments and a stage that exports the programs.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import platform
import re
import secrets
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from buildkit_tasks.builds import transfer
from buildkit_tasks.core.progress import Decoder, Progress
from buildkit_tasks.dockerfiles import compile_step
from buildkit_tasks.packs import pack as packs
from buildkit_tasks.packs import steps
from tests.engine.staleness import tree

PROJECT = Path(__file__).parents[3]
HERE = Path(__file__).parent
SCRIPT = (PROJECT / "docker/compile.rs").read_text()
DOCKERFILE = (PROJECT / "docker/Dockerfile").read_text()
CROSS = (PROJECT / "docker/cross.sh").read_text()
SESSION = f"bt-stale-{secrets.token_hex(4)}"  # part of every mount id, so that they can be found and removed
BINS = "api worker"
MANIFEST = "share/buildkit-tasks/manifest.json"  # next to each program's bin/
ARCH = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
CA = Path("/etc/ssl/certs/ca-certificates.crt")


def dockerfile(*, spoilt: bool) -> str:
    """Return the product's Dockerfile. The toolchain stage uses docker/key.rs, which is always the original program.

    If docker/compile.rs differs, the compile stage runs it, and the identity of the toolchain does not change.
    """
    text = DOCKERFILE.replace("source=docker/compile.rs,", "source=docker/key.rs,")
    again = re.search(r"(rustc .* -o /compile \S+) &&", text)
    assert text != DOCKERFILE
    assert again is not None
    if spoilt:
        mount = "--mount=type=bind,source=docker/compile.rs,target=/docker/compile.rs"
        text = text.replace("FROM toolchain AS compile\n", f"FROM toolchain AS compile\nRUN {mount} {again[1]}\n")
    return text


def docker(
    *argv: str | Path, stdin: bytes | None = None, check: bool = True, cwd: Path = HERE
) -> subprocess.CompletedProcess[bytes]:
    """Run a docker command to the end; fail with its output.

    It gets a TMPDIR of its own: buildx 0.13 leaves a directory there for each Dockerfile that it reads from stdin.
    """
    words = ["docker", *map(str, argv)]
    with tempfile.TemporaryDirectory() as place:
        env = {**os.environ, "TMPDIR": place}
        done = subprocess.run(words, input=stdin, capture_output=True, cwd=cwd, env=env, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"docker {argv[0]} ended with {done.returncode}\n{done.stderr.decode(errors='replace')}")
    return done


# ---------------------------------------------------------------------------------------------------------- toolchains

_RUSTC = """#!/bin/sh
# what rustup does: the compiler depends on a file in the sources
dir=$PWD
while [ -n "$dir" ] && [ ! -e "$dir/rust-toolchain" ]; do dir=${dir%/*}; done
flavor=FLAVOR
if [ -n "$dir" ]; then read -r flavor < "$dir/rust-toolchain"; fi
case " $* " in *" -vV "*) /usr/bin/rustc "$@"; if [ -n "$dir" ]; then echo "flavor: $flavor"; fi; exit ;; esac
case " $* " in *" --crate-name "*) exec /usr/bin/rustc "$@" --cfg "flavor=\\"$flavor\\"" ;; esac
exec /usr/bin/rustc "$@"
"""

#: `rustc` and `library` only differ from `plain` in their bytes: same size, same time, same version text.
_IMAGES = {
    "plain": ("a", 1, ""),
    "rustc": ("b", 1, ""),
    "library": ("a", 2, ""),
    "busybox": (
        "a",
        1,
        "RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends busybox-static && mkdir /busybox && "
        "for a in $(/bin/busybox --list); do ln -s /bin/busybox /busybox/$a; done && ln -sf /bin/busybox /bin/sh\n"
        "ENV PATH=/busybox:$PATH\n",
    ),
}


class Images:
    """The toolchain images of the cases, built on first use."""

    def __init__(self, scratch: Path, rust: str) -> None:
        self._scratch = scratch
        self._rust = rust
        self._locks = {name: threading.Lock() for name in _IMAGES}
        self._made: set[str] = set()

    def __getitem__(self, name: str) -> str:
        tag = f"localhost/buildkit-tasks-stale/{name}:latest"
        with self._locks[name]:
            if name not in self._made:
                self._make(name, tag)
                self._made.add(name)
        return tag

    def _make(self, name: str, tag: str) -> None:
        flavor, value, more = _IMAGES[name]
        context = self._scratch / f"image-{name}"
        tree.put(context, "rustc", _RUSTC.replace("FLAVOR", flavor), tree.OLD)
        (context / "rustc").chmod(0o755)
        tree.put(context, "sys.c", f"int sys_value(void) {{ return {value}; }}\n", tree.OLD)
        dockerfile = (
            f"FROM {self._rust}\nCOPY rustc /usr/local/bin/rustc\nCOPY sys.c /tmp/sys.c\n"
            "RUN cd /tmp && gcc -c sys.c && ar rcs /usr/local/lib/libsys.a sys.o && rm sys.* && "
            f"touch -d @{tree.OLD} /usr/local/lib/libsys.a /usr/local/bin/rustc\n{more}"
        )
        link = transfer.guard(context, self._scratch / "state")
        docker("buildx", "build", "-q", "-f", "-", "-t", tag, link, stdin=dockerfile.encode())


# -------------------------------------------------------------------------------------------------------------- oracle


class Oracle:
    """Build the same tree from scratch: no mounts, no layers, no transfer; plain cargo in an empty directory."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._containers: dict[str, str] = {}
        self._known: dict[str, dict[str, str] | None] = {}
        self._lock = threading.Lock()

    def programs(self, context: Path, build: Build) -> dict[str, str] | None:
        """Return what the programs print, or None if the tree does not compile."""
        packed = _pack(context)  # SOURCE is below services
        key = hashlib.sha256(packed + repr((build.bins, build.args, build.image)).encode()).hexdigest()
        if key not in self._known:
            self._known[key] = self._build(packed, build)
        return self._known[key]

    def _container(self, image: str) -> str:
        with self._lock:
            if image not in self._containers:
                done = docker("run", "-d", "--init", "--rm", self._images[image], "sleep", "infinity")
                self._containers[image] = done.stdout.decode().strip()
            return self._containers[image]

    def _build(self, packed: bytes, build: Build) -> dict[str, str] | None:
        args = dict(build.args)
        profile = args.pop("PROFILE", "release")
        source = args.pop("SOURCE", "services")
        bins = " ".join(f"--bin {name}" for name in build.bins.split())
        work = f"/work/{secrets.token_hex(6)}"
        script = (
            f"mkdir -p {work} && cd {work} && tar -xf - && cd {source} && "
            f"cargo build -q --locked --workspace --profile {profile} {bins} || exit 9\n"
            f'for b in {build.bins}; do echo "=== $b"; target/*/$b || exit 8; done; rm -rf {work}'
        )
        environment = [f"--env={name}={value}" for name, value in args.items()]
        done = docker(
            "exec", "-i", *environment, self._container(build.image), "sh", "-c", script, stdin=packed, check=False
        )
        if done.returncode == 9:
            return None
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        parts = re.split(r"^=== (\S+)\n", done.stdout.decode(), flags=re.MULTILINE)[1:]
        return dict(zip(parts[::2], parts[1::2], strict=True))

    def close(self) -> None:
        """Remove the containers."""
        for container in self._containers.values():
            docker("rm", "-f", container)


def _pack(context: Path) -> bytes:
    """Return the sources as a tar that only depends on names, contents, links and modes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted((context / "services").rglob("*")):
            info = tar.gettarinfo(path, str(path.relative_to(context)))
            info.mtime, info.uid, info.gid, info.uname, info.gname = tree.OLD, 0, 0, "", ""
            if info.isreg():
                with path.open("rb") as file:
                    tar.addfile(info, file)
            else:
                tar.addfile(info)
    return buffer.getvalue()


# -------------------------------------------------------------------------------------------------------------- builds


@dataclass(frozen=True)
class Build:
    """One build: its programs, build arguments and toolchain image. `script` replaces the compile program."""

    bins: str = BINS
    args: tuple[tuple[str, str], ...] = ()
    image: str = "plain"
    script: str | None = None


@dataclass
class Result:
    """What a build did. `programs` maps each binary to its output, or is None if the build failed."""

    programs: dict[str, str] | None
    compiled: list[str]
    marked: list[str]
    fresh: int | None
    log: str
    manifests: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Design:
    """A way to build: our Dockerfile or the classic one, with or without the transfer guard."""

    name: str
    classic: bool = False
    guarded: bool = True
    image: str = "plain"


OURS = Design("ours")
BUSYBOX = Design("ours with busybox", image="busybox")
UNGUARDED = Design("ours, plain docker build", guarded=False)
CLASSIC = Design("classic", classic=True, guarded=False)


@dataclass
class Site:
    """The directory, mounts and builds of a case."""

    root: Path
    design: Design
    images: Images
    oracle: Oracle
    scope: str = field(default_factory=lambda: f"{SESSION}-{secrets.token_hex(4)}")
    checkout: str = "one/app"
    _script: str = SCRIPT

    def __post_init__(self) -> None:
        self.worktree(self.checkout)

    @property
    def context(self) -> Path:
        """Return the tree to build. The suffix keeps cases apart: without the guard, BuildKit uses the last name."""
        return self.root / f"{self.checkout}-{self.scope[-8:]}"

    def worktree(self, name: str, time: float | None = tree.BASE_TIME) -> None:
        """Create a checkout of the base tree and switch to it."""
        self.checkout = name
        tree.make(self.context, time=time)
        shutil.copy(PROJECT / ".dockerignore", self.context)
        self._write_docker(self._script)

    def use_script(self, text: str) -> None:
        """Build with another compile program from now on; the identity of the toolchain does not change."""
        self._script = text
        self._write_docker(text)

    def _write_docker(self, script: str) -> None:
        place = self.context / "docker"
        place.mkdir(exist_ok=True)
        if self.design.classic:
            _write_changed(place / "Dockerfile", (HERE / "classic.Dockerfile").read_text())
            # COPY is cached by content: another case's layer would bring its times along
            _write_changed(place / "compile.rs", f"// {self.scope}\n")
            return
        _write_changed(place / "compile.rs", script)
        _write_changed(place / "key.rs", SCRIPT)
        _write_changed(place / "cross.sh", CROSS)
        text = dockerfile(spoilt=script != SCRIPT)
        text = text.replace("ARG RUSTFLAGS\n", "ARG RUSTFLAGS\nARG GREETING\nARG UNTRACKED\n")
        assert text.count("UNTRACKED") == 1
        text += "\nFROM scratch AS programs\nARG CACHE_SCOPE\nCOPY --from=compile /out/${CACHE_SCOPE} /\n"
        _write_changed(place / "Dockerfile", text)
        ignore = (PROJECT / ".dockerignore").read_text()
        _write_changed(self.context / ".dockerignore", f"{ignore}!docker/key.rs\n")

    def command(self, build: Build, out: Path) -> list[str]:
        """Return the argv of a build of the current tree."""
        context = self.context
        if self.design.guarded:
            context = transfer.guard(context, self.root / "state", [context / "docker/Dockerfile"])
        image = self.design.image if build.image == "plain" else build.image
        incremental = () if self.design.classic else ("--build-arg=CARGO_INCREMENTAL=1",)
        return [
            *("docker", "buildx", "build", "--progress=rawjson", "--provenance=false"),
            *(f"--file={context}/docker/Dockerfile", "--target=programs", f"--output=type=local,dest={out}"),
            f"--build-context=rust:1-bookworm=docker-image://{self.images[image]}",
            f"--build-context=debian:bookworm-slim=docker-image://{self.images['plain']}",
            *(f"--build-arg=CACHE_SCOPE={self.scope}", f"--build-arg=BINS={build.bins}", *incremental),
            *(f"--build-arg={name}={value}" for name, value in build.args),
            *([f"--secret=id=ca,src={CA}"] if CA.is_file() else []),
            str(context),
        ]

    def build(self, build: Build, until: Callable[[Progress], bool] | None = None) -> Result:
        """Build and run the programs. When `until` returns True, kill the client during the build (SIGKILL)."""
        if build.script is not None:
            self._write_docker(build.script)
        try:
            result = self._build(build, until)
            # BuildKit fails so if another build ends at the wrong moment (buildkit#2303); it says nothing about caches
            return self._build(build, until) if "inconsistent graph state" in result.log else result
        finally:
            if build.script is not None:
                self._write_docker(self._script)

    def _build(self, build: Build, until: Callable[[Progress], bool] | None) -> Result:
        out = self.root / f"out-{secrets.token_hex(4)}"
        progress, decoder = Progress(), Decoder()
        with subprocess.Popen(
            self.command(build, out), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=self.root
        ) as process:
            assert process.stderr is not None
            while chunk := process.stderr.read1(65536):  # type: ignore[attr-defined]
                for status in decoder.feed(chunk):
                    progress.update(status)
                if until is not None and until(progress):
                    process.kill()
                    until = None
        log = "\n".join(line for vertex in progress.vertexes.values() for line in vertex.log)
        programs, manifests = None, {}
        if process.returncode == 0:
            programs = {
                name: _run(out / name / "bin" / ("service" if self.design.classic else name))
                for name in build.bins.split()
            }
            written = {name: out / name / MANIFEST for name in programs}
            manifests = {
                name: path.read_text("utf-8", "surrogateescape") for name, path in written.items() if path.exists()
            }
        shutil.rmtree(out, ignore_errors=True)
        return Result(programs, progress.compiled, progress.marked, progress.fresh, log + decoder.close(), manifests)

    def in_mount(self, script: str, mount: str = f"target-{ARCH}") -> None:
        """Run a shell script in the directory of a mount, to simulate a wrong clock, a user with rm or a bad disk."""
        dockerfile = (
            f"FROM {self.images['plain']}\nRUN --mount=type=cache,id={self.scope}-{mount},target=/mnt "
            f"cd /mnt && {script} # {secrets.token_hex(4)}\n"
        )
        empty = self.root / "empty"
        empty.mkdir(exist_ok=True)
        docker("buildx", "build", "-q", "--output=type=cacheonly", "-f", "-", empty, stdin=dockerfile.encode())

    def travel(self, *words: str, pack: Path | None = None, out: Path | None = None) -> bool:
        """Run travel.sh on the mounts as push and pull do; return False if it refuses. `out` gets its output files."""
        text = (self.context / "docker/Dockerfile").read_text()
        step = compile_step.without_secrets(compile_step.find(text, {"CACHE_SCOPE": self.scope}))
        text = steps.dockerfile(text, step, words, secrets.token_hex(4), pack=pack is not None)
        argv = self.command(Build(), out or self.root)
        argv = [a for a in argv if not a.startswith(("--file", "--target", "--output", "--build-arg=BINS"))]
        target = packs.LEFT_STAGE if out else step.stage
        extra = [f"--target={target}", f"--output=type=local,dest={out}" if out else "--output=type=cacheonly"]
        named = [f"--build-context={packs.SCRIPTS}={PROJECT / 'src/buildkit_tasks/data/cache'}"]
        if pack:
            named.append(f"--build-context={packs.PACK}={pack}")
        done = docker(*argv[1:-1], "--file=-", *extra, *named, argv[-1], stdin=text.encode(), check=False)
        return done.returncode == 0

    def judge(self, build: Build, result: Result) -> str:
        """Return R (right), S (stale), F (fails as it must) or W (wrongly fails or succeeds), and the crate count."""
        wanted = self.oracle.programs(self.context, build)
        if result.programs is None:
            return "F" if wanted is None else "W"
        verdict = "W" if wanted is None else "R" if result.programs == wanted else "S"
        return f"{verdict}{len(set(result.compiled))}"


def _write_changed(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


def _run(program: Path) -> str:
    return subprocess.run([program], capture_output=True, check=True, text=True).stdout


def remove_mounts() -> None:
    """Remove the mounts of this session from the engine, and nothing else."""
    usage = docker("buildx", "du", "--verbose").stdout.decode()
    ours = []
    for record in usage.split("\n\n"):
        found = re.search(r"^ID:\s*(\S+)", record, re.MULTILINE)
        if found and SESSION in record and "exec.cachemount" in record:
            ours.append(re.escape(found[1]))
    for start in range(0, len(ours), 100):
        docker("buildx", "prune", "-f", "--filter", f"id=^({'|'.join(ours[start : start + 100])})$")


@contextlib.contextmanager
def together(sites: Sequence[tuple[Site, Build]]) -> Iterator[list[Result]]:
    """Run several builds at the same time; yield their results in the given order."""
    results: list[Result | None] = [None] * len(sites)

    def one(index: int, site: Site, build: Build) -> None:
        results[index] = site.build(build)

    threads = [threading.Thread(target=one, args=(i, site, build)) for i, (site, build) in enumerate(sites)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert None not in results
    yield [r for r in results if r is not None]
