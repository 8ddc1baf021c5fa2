"""What each task asks cargo for: arguments, where it works, which tool it needs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from buildkit_tasks.core.errors import Problem


@dataclass(frozen=True)
class Tool:
    """A program that is not part of every toolchain.

    `program` is on PATH where it is installed; `crate` what `cargo install` gets it from; `component` its name as a
    part of a toolchain, and then it has no crate.
    """

    program: str
    crate: str = ""
    component: str = ""


CLIPPY = Tool("cargo-clippy", component="clippy")
RUSTFMT = Tool("cargo-fmt", component="rustfmt")
NEXTEST = Tool("cargo-nextest", crate="cargo-nextest")
TOOLS = {
    "audit": Tool("cargo-audit", crate="cargo-audit"),
    "deny": Tool("cargo-deny", crate="cargo-deny"),
    "coverage": Tool("cargo-llvm-cov", crate="cargo-llvm-cov"),
    "licenses": Tool("cargo-license", crate="cargo-license"),
}


@dataclass(frozen=True)
class Work:
    """One run of cargo.

    `in_place`: on the project's own tree, to write into it or because nothing is compiled; else on the synced copy.
    `locked`: cargo may not change Cargo.lock. `copy`: what of the target directory is copied out afterwards. `runs_on`:
    a program that may run for hours, and keeps no other task waiting.
    """

    argv: tuple[str, ...]
    in_place: bool = False
    tool: Tool | None = None
    copy: str = ""
    runs_on: bool = False

    @property
    def locked(self) -> bool:
        """Whether cargo is kept from changing Cargo.lock."""
        return "--locked" in self.argv


@dataclass(frozen=True)
class Request:
    """What the user asked of a task, beside what every task has.

    `crates`: packages, none = as cargo chooses. `extra`: the words after `--`, as they are.
    """

    crates: tuple[str, ...] = ()
    release: bool = False
    extra: tuple[str, ...] = ()

    @property
    def selected(self) -> tuple[str, ...]:
        """Flags for packages and profile."""
        named = (part for crate in self.crates for part in ("--package", crate))
        return (*named, *(("--release",) if self.release else ()))

    @property
    def all_or_selected(self) -> tuple[str, ...]:
        """The same, and every member of the workspace where no package is named."""
        return (*(() if self.crates else ("--workspace",)), *self.selected)


#: Where nextest leaves its report, below the target directory, and the profile that makes it.
JUNIT = "nextest/default/junit.xml"
JUNIT_CONFIG = '[profile.default.junit]\npath = "junit.xml"\n'


def run_tests(request: Request, *, ignored: bool = False, junit: bool = False) -> Work:
    """`cargo test`, or `cargo nextest run` for a JUnit report. `ignored`: tests marked `#[ignore]` as well."""
    if junit:
        more = ("--run-ignored", "all") if ignored else ()
        argv = ("nextest", "run", "--locked", *request.selected, "--no-fail-fast", *more)
        config = ("--tool-config-file", "buildkit-tasks:/task/nextest.toml")
        return Work((*argv, *config, *request.extra), tool=NEXTEST, copy=JUNIT)
    argv = ("test", "--locked", *request.selected)
    return Work((*argv, *(_with_ignored(request.extra) if ignored else request.extra)))


def _with_ignored(extra: Sequence[str]) -> tuple[str, ...]:
    at = extra.index("--") if "--" in extra else len(extra)
    return (*extra[:at], "--", "--include-ignored", *extra[at + 1 :])


def check(request: Request) -> Work:
    """`cargo check` of every target, tests and benches too."""
    return Work(("check", "--locked", *request.all_or_selected, "--all-targets", *request.extra))


def clippy(request: Request, *, fix: bool = False) -> Work:
    """clippy with warnings as errors. `fix`: apply what it suggests, in the project's own tree."""
    argv = ("clippy", "--locked", *request.all_or_selected, "--all-targets")
    repair = ("--fix", "--allow-dirty", "--allow-staged") if fix else ()
    at = request.extra.index("--") if "--" in request.extra else len(request.extra)
    lints = request.extra[at + 1 :]
    return Work((*argv, *repair, *request.extra[:at], "--", "-D", "warnings", *lints), in_place=fix, tool=CLIPPY)


def fmt(request: Request, *, check_only: bool = False) -> Work:
    """rustfmt over the workspace, written back; or only a check."""
    named = request.crates and tuple(part for crate in request.crates for part in ("--package", crate))
    how = ("--check",) if check_only else ()
    return Work(("fmt", *(named or ("--all",)), *how, *request.extra), in_place=True, tool=RUSTFMT)


def doc(request: Request, *, dependencies: bool = False) -> Work:
    """The documentation of the workspace's crates."""
    how = () if dependencies else ("--no-deps",)
    return Work(("doc", "--locked", *request.selected, *how, *request.extra), copy="doc")


def bench(request: Request) -> Work:
    """The crates' own benchmarks."""
    return Work(("bench", "--locked", *request.selected, *request.extra))


def run(request: Request, binary: str) -> Work:
    """One of the workspace's programs; extra words are the program's."""
    program = ("--", *request.extra) if request.extra else ()
    return Work(("run", "--locked", *request.selected, "--bin", binary, *program), runs_on=True)


def tree(request: Request) -> Work:
    """The tree of dependencies."""
    return Work(("tree", "--locked", *request.selected, *request.extra), in_place=True)


def update(request: Request) -> Work:
    """Newer versions in Cargo.lock: of all dependencies, or of those named."""
    return Work(("update", *(part for crate in request.crates for part in ("--package", crate)), *request.extra), True)


def lock(request: Request) -> Work:
    """Cargo.lock made to fit the manifests, and nothing else in it changed."""
    return Work(("update", "--workspace", *request.extra), in_place=True)


def tool(name: str, request: Request) -> Work:
    """A task that is a program of its own: audit, deny, coverage, licenses."""
    if name == "deny":
        return Work(("deny", *(request.extra or ("check",))), in_place=True, tool=TOOLS[name])
    if name == "coverage":
        argv = ("llvm-cov", "--locked", *request.selected, *request.extra)
        return Work(argv, tool=TOOLS[name])
    word = {"audit": "audit", "licenses": "license"}[name]
    return Work((word, *request.extra), in_place=True, tool=TOOLS[name])


def clean(request: Request) -> Work:
    """`cargo clean` of some packages, in the copy's target directory."""
    return Work(("clean", "--locked", *request.selected, *request.extra))


def install(wanted: Tool) -> Work:
    """Get a tool from crates.io into the volume for tools."""
    return Work(("install", "--locked", "--root", "/tools", wanted.crate), in_place=True)


def missing(wanted: Tool, task: str, image: str) -> Problem:
    """The problem of a tool that is not there, with the command that gets it."""
    where = f"cargo install --locked {wanted.crate}" if wanted.crate else f"rustup component add {wanted.component}"
    return Problem(
        "cargo-tool-missing",
        f"{wanted.program} is not in the toolchain image.",
        causes=[f"neither {image} nor the volume for tools has it"],
        hint=f"invoke {task} --install    (asks first, then gets it: {where})",
    )
