"""Map cargo commands to tasks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .calls import Call, Facts, Stays, Unfit, Words, is_local, raws
from .words import Word

#: Flags that select a toolchain, processor, directory or configuration that the tasks do not use.
_ELSEWHERE = {
    "--target": "compiles for a different target",
    "--manifest-path": "uses a different manifest",
    "--target-dir": "uses a different target directory",
    "--config": "changes cargo's configuration",
    "-C": "runs in a different directory",
    "-Z": "uses unstable cargo features",
    "--artifact-dir": "copies the compiled artifacts",
    "--out-dir": "copies the compiled artifacts",
}
#: Variables that the cargo tasks pass on by default, and variables for other programs.
_PASSED = ("RUST_LOG", "RUST_BACKTRACE", "CARGO_TERM_", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
_FOREIGN = ("DOCKER", "COMPOSE", "BUILDKIT", "BUILDX", "SHELL", "PATH", "MAKEFLAGS", "INVOKE")
_WITH_ENV = ("cargo.test", "cargo.check", "cargo.clippy", "cargo.doc", "cargo.bench", "cargo.run")


@dataclass
class _Given:
    """cargo's arguments. `extra`: arguments that the task passes on; `after`: arguments after `--`."""

    crates: list[str] = field(default_factory=list)
    release: bool = False
    workspace: bool = False
    extra: list[Word] = field(default_factory=list)
    after: list[Word] = field(default_factory=list)

    def has(self, *flags: str) -> bool:
        """Return whether one of these flags was given, and remove it."""
        kept = [w for w in self.extra if w.value not in flags]
        found = len(kept) < len(self.extra)
        self.extra = kept
        return found


def call(env: Sequence[Word], words: Sequence[Word], facts: Facts) -> Call | Stays:
    """Return the task for `cargo …`; `words` start after `cargo`."""
    if not words:
        return Stays("the recipe runs cargo without a subcommand")
    name = words[0].value or ""
    if name.startswith("+"):
        return Stays(f"the command uses the toolchain {name[1:]}, but the tasks use the project's toolchain")
    if facts.elsewhere:
        return Stays(f"the command runs in {facts.elsewhere}, but the tasks run in the project's workspace")
    made = _COMMANDS.get(name)
    if made is None:
        return Stays(f"no task replaces `cargo {words[0].raw}`")
    given = _given(words[1:])
    return _with_environment(made(given), env, facts)


def _given(words: Sequence[Word]) -> _Given:
    found, left = _Given(), Words(list(words))
    while left:
        word = left.take()
        if word.value == "--":
            found.after = left.left
            break
        for flag, why in _ELSEWHERE.items():
            if word.value == flag or (word.value or word.raw).startswith(f"{flag}="):
                raise Unfit(f"the command {why} ({flag})")
        crate = left.value(word, "--package", "-p")
        if crate is not None:
            found.crates.append(crate.raw)
        elif word.value in ("--release", "-r"):
            found.release = True
        elif word.value in ("--workspace", "--all"):
            found.workspace = True
        elif word.value not in ("--locked", "--frozen"):
            found.extra.append(word)
    return found


def _call(task: str, given: _Given, *flags: str, note: str = "", workspace: bool = True) -> Call:
    """Return a call to the task with the given arguments. `workspace`: whether it covers all members by default."""
    words = list(flags)
    for crate in given.crates:
        words += ["--crate", crate]
    if given.release:
        words.append("--release")
    extra = [*(["--workspace"] if given.workspace and not workspace else []), *raws(given.extra)]
    if extra or given.after:
        words += ["--", *extra]
    if given.after:
        words += ["--", *raws(given.after)]
    return Call(task, tuple(words), note=note)


def _test(given: _Given) -> Call | Stays:
    return _call("cargo.test", given, workspace=False)


def _check(given: _Given) -> Call | Stays:
    whole = given.has("--all-targets") and given.workspace
    note = "" if whole or given.crates else "the task checks the whole workspace, including tests and benches"
    return _call("cargo.check", given, note=note)


def _clippy(given: _Given) -> Call | Stays:
    fix = given.has("--fix")
    given.has("--allow-dirty", "--allow-staged", "--allow-no-vcs")
    given.has("--all-targets")
    lints, denied, i = [], False, 0
    values = [w.value for w in given.after]
    while i < len(values):
        if values[i] in ("-D", "--deny") and values[i + 1 : i + 2] == ["warnings"]:
            denied, i = True, i + 2
        elif values[i] in ("-Dwarnings", "--deny=warnings"):
            denied, i = True, i + 1
        else:
            lints.append(given.after[i])
            i += 1
    given.after = lints
    if given.release:
        return Stays("cargo.clippy has no --release")
    note = "" if denied or fix else "warnings are errors"
    return _call("cargo.clippy", given, *(["--fix"] if fix else []), note=note)


def _fmt(given: _Given) -> Call | Stays:
    check = given.has("--check")
    kept = [w for w in given.after if w.value != "--check"]
    check, given.after = check or len(kept) < len(given.after), kept
    return _call("cargo.fmt", given, *(["--check"] if check else []))


def _doc(given: _Given) -> Call | Stays:
    if given.has("--open"):
        return Stays("the command opens a browser", _call("cargo.doc", given, workspace=False))
    alone = given.has("--no-deps")
    note = "the task writes the pages outside the source tree (to choose a directory, use --to)"
    return _call("cargo.doc", given, *([] if alone else ["--dependencies"]), note=note, workspace=False)


def _simple(task: str, note: str = "") -> Callable[[_Given], Call | Stays]:
    def made(given: _Given) -> Call | Stays:
        return _call(task, given, note=note, workspace=False)

    return made


def _update(given: _Given) -> Call | Stays:
    if given.workspace or given.has("-w"):
        given.workspace = False
        return _call("cargo.update", given, "--lock")
    return _call("cargo.update", given)


def _clean(given: _Given) -> Call | Stays:
    if given.release:
        return Stays("the command removes only some of the compiled artifacts", Call("cargo.clean"))
    return _call("cargo.clean", given, note="the host's target directory is kept")


def _deny(given: _Given) -> Call | Stays:
    values = [w.value for w in given.extra]
    if values == ["check"]:
        given.extra = []
    return _call("cargo.deny", given, workspace=False)


def _llvm_cov(given: _Given) -> Call | Stays:
    if any(not (w.value or "").startswith("--") or "output" in w.raw or w.value == "--open" for w in given.extra):
        return Stays("the command writes its report to a file", Call("cargo.coverage"))
    return _call("cargo.coverage", given, workspace=False)


def _coverage(given: _Given) -> Call | Stays:
    if given.extra or given.after or given.crates:
        return Stays("cargo.coverage uses cargo-llvm-cov, which has different flags", Call("cargo.coverage"))
    return Call("cargo.coverage", note="the task uses cargo-llvm-cov instead of tarpaulin")


def _run(given: _Given) -> Call | Stays:
    left, binary, rest = Words(given.extra), "", []
    while left:
        word = left.take()
        named = left.value(word, "--bin")
        if named is not None:
            binary = named.raw
        else:
            rest.append(word)
    if not binary or rest:
        return Stays("cargo.run accepts only a program (--bin or --service) and its arguments")
    release = ["--release"] if given.release else []
    after = ["--", *raws(given.after)] if given.after else []
    near = Call("cargo.run", ("--bin", binary, *release, *after))
    return Stays(
        "in a container, the program cannot reach ports on the host, and the host cannot reach the program's ports",
        near,
    )


def _build(given: _Given) -> Call | Stays:
    return Stays(
        "no task compiles on the host; `build` builds images, and `extract` copies programs out of them", Call("build")
    )


def _stays(why: str, *perhaps: str) -> Callable[[_Given], Call | Stays]:
    near = Call(perhaps[0], perhaps[1:]) if perhaps else None
    return lambda _given: Stays(why, near)


_COMMANDS: dict[str, Callable[[_Given], Call | Stays]] = {
    **dict.fromkeys(("test", "t"), _test),
    **dict.fromkeys(("check", "c"), _check),
    "clippy": _clippy,
    "fmt": _fmt,
    **dict.fromkeys(("doc", "d"), _doc),
    "bench": _simple("cargo.bench"),
    "tree": _simple("cargo.tree"),
    "update": _update,
    "audit": _simple("cargo.audit"),
    "deny": _deny,
    "license": _simple("cargo.licenses"),
    "llvm-cov": _llvm_cov,
    "tarpaulin": _coverage,
    "clean": _clean,
    **dict.fromkeys(("run", "r"), _run),
    **dict.fromkeys(("build", "b"), _build),
    "nextest": _stays("cargo.test uses nextest only to write JUnit reports", "cargo.test"),
    "watch": _stays("no task reruns a cargo command when a source file changes"),
    "install": _stays(
        "the command installs a program on the host; the cargo tasks install the tools that they need (--install)"
    ),
}


def _with_environment(made: Call | Stays, env: Sequence[Word], facts: Facts) -> Call | Stays:
    """Add `--env` for the command's variables; keep the command if one contains a localhost address."""
    if isinstance(made, Stays):
        return made
    names = []
    for word in env:
        name, _, value = (word.raw if word.value is None else word.value).partition("=")
        if is_local(value):
            return Stays(
                f"{name} contains a localhost address, which the container cannot reach",
                Call("cargo.test", ("--integration",)) if made.task == "cargo.test" else None,
            )
        names.append(name)
    for name in facts.exported:
        if name.startswith((*_PASSED, *_FOREIGN)):
            continue
        if is_local(facts.values.get(name, "")):
            return Stays(
                f"the exported variable {name} contains a localhost address, which the container cannot reach",
                Call("cargo.test", ("--integration",)) if made.task == "cargo.test" else None,
            )
        names.append(name)
    wanted = [name for name in dict.fromkeys(names) if not name.startswith(_PASSED)]
    if made.task not in _WITH_ENV:
        if env and wanted:
            return Stays(f"{made.task} does not accept environment variables ({', '.join(wanted)})", made)
        return Call(made.task, made.words, raws(env), made.note)
    flags = [part for name in wanted for part in ("--env", name)]
    return Call(made.task, (*flags, *made.words), raws(env), made.note)
