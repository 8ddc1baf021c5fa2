"""The cargo command of each task: its arguments, where it runs, and the tool it needs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from buildkit_tasks.core.errors import Problem


@dataclass(frozen=True)
class Tool:
    """A program that is not part of every toolchain.

    `program`: its name on PATH once installed; `crate`: the crate to `cargo install`; `component`: its name as a
    toolchain component, in which case it has no crate.
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
    """A single run of cargo.

    `in_place`: run on the project's own tree, either to write to it or because nothing is compiled; otherwise on the
    synced copy. `locked`: cargo must not change Cargo.lock. `copy`: the part of the target directory to copy out
    afterwards. `runs_on`: a program that may run for hours, so it must not block other tasks.
    """

    argv: tuple[str, ...]
    in_place: bool = False
    tool: Tool | None = None
    copy: str = ""
    runs_on: bool = False

    @property
    def locked(self) -> bool:
        """Whether cargo must not change Cargo.lock."""
        return "--locked" in self.argv


@dataclass(frozen=True)
class Request:
    """The arguments that a user passes to a task, besides those common to all tasks.

    `crates`: packages; empty = cargo's default. `extra`: the arguments after `--`, unchanged.
    """

    crates: tuple[str, ...] = ()
    release: bool = False
    extra: tuple[str, ...] = ()

    @property
    def selected(self) -> tuple[str, ...]:
        """The flags that select packages and profile."""
        named = (part for crate in self.crates for part in ("--package", crate))
        return (*named, *(("--release",) if self.release else ()))

    @property
    def all_or_selected(self) -> tuple[str, ...]:
        """The same flags, or `--workspace` if no package is named."""
        return (*(() if self.crates else ("--workspace",)), *self.selected)


#: The path of nextest's report below the target directory, and the nextest config that enables it.
JUNIT = "nextest/default/junit.xml"
JUNIT_CONFIG = '[profile.default.junit]\npath = "junit.xml"\n'


def run_tests(request: Request, *, ignored: bool = False, junit: bool = False) -> Work:
    """Run `cargo test`, or `cargo nextest run` for a JUnit report. `ignored`: also run tests marked `#[ignore]`."""
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
    """Run `cargo check` on all targets, including tests and benches."""
    return Work(("check", "--locked", *request.all_or_selected, "--all-targets", *request.extra))


def clippy(request: Request, *, fix: bool = False) -> Work:
    """Run clippy with warnings as errors. `fix`: apply its suggestions to the project's own tree."""
    argv = ("clippy", "--locked", *request.all_or_selected, "--all-targets")
    repair = ("--fix", "--allow-dirty", "--allow-staged") if fix else ()
    at = request.extra.index("--") if "--" in request.extra else len(request.extra)
    lints = request.extra[at + 1 :]
    return Work((*argv, *repair, *request.extra[:at], "--", "-D", "warnings", *lints), in_place=fix, tool=CLIPPY)


def fmt(request: Request, *, check_only: bool = False) -> Work:
    """Format the workspace with rustfmt, or only check the formatting."""
    named = request.crates and tuple(part for crate in request.crates for part in ("--package", crate))
    how = ("--check",) if check_only else ()
    return Work(("fmt", *(named or ("--all",)), *how, *request.extra), in_place=True, tool=RUSTFMT)


def doc(request: Request, *, dependencies: bool = False) -> Work:
    """Run `cargo doc` for the workspace's crates."""
    how = () if dependencies else ("--no-deps",)
    return Work(("doc", "--locked", *request.selected, *how, *request.extra), copy="doc")


def bench(request: Request) -> Work:
    """Run `cargo bench`."""
    return Work(("bench", "--locked", *request.selected, *request.extra))


def run(request: Request, binary: str) -> Work:
    """Run one of the workspace's programs with the extra arguments."""
    program = ("--", *request.extra) if request.extra else ()
    return Work(("run", "--locked", *request.selected, "--bin", binary, *program), runs_on=True)


def tree(request: Request) -> Work:
    """Run `cargo tree`."""
    return Work(("tree", "--locked", *request.selected, *request.extra), in_place=True)


def update(request: Request) -> Work:
    """Update all dependencies in Cargo.lock, or only those named."""
    return Work(("update", *(part for crate in request.crates for part in ("--package", crate)), *request.extra), True)


def lock(request: Request) -> Work:
    """Update Cargo.lock to match the manifests, without any other change."""
    return Work(("update", "--workspace", *request.extra), in_place=True)


def tool(name: str, request: Request) -> Work:
    """Run a separate cargo tool: audit, deny, coverage or licenses."""
    if name == "deny":
        return Work(("deny", *(request.extra or ("check",))), in_place=True, tool=TOOLS[name])
    if name == "coverage":
        argv = ("llvm-cov", "--locked", *request.selected, *request.extra)
        return Work(argv, tool=TOOLS[name])
    word = {"audit": "audit", "licenses": "license"}[name]
    return Work((word, *request.extra), in_place=True, tool=TOOLS[name])


def clean(request: Request) -> Work:
    """Run `cargo clean` for some packages, in the target directory of the synced copy."""
    return Work(("clean", "--locked", *request.selected, *request.extra))


def install(wanted: Tool) -> Work:
    """Install a tool from crates.io into the tools volume."""
    return Work(("install", "--locked", "--root", "/tools", wanted.crate), in_place=True)


def missing(wanted: Tool, task: str, image: str) -> Problem:
    """Return the problem for a missing tool, with the command that installs it."""
    where = f"cargo install --locked {wanted.crate}" if wanted.crate else f"rustup component add {wanted.component}"
    return Problem(
        "cargo-tool-missing",
        f"{wanted.program} is not in the toolchain image.",
        causes=[f"neither {image} nor the tools volume contains {wanted.program}"],
        hint=f"run `invoke {task} --install`, which asks before running `{where}`",
    )
