"""A generated repository of fifty services, and a brute-force check of which images an edit affects.

The oracle uses what it generated and reads no manifest: it hashes everything that goes into each image, before and
after an edit.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DOCKERFILE = """\
FROM rust AS compile
ARG CACHE_SCOPE
ARG PROGRAMS
ARG BINS
ARG SOURCE
RUN --mount=type=bind,source=docker/compile.rs,target=/compile.rs rustc /compile.rs
RUN --mount=type=bind,target=/context --mount=type=cache,id=${CACHE_SCOPE}-target,target=/build /compile build
FROM debian
ARG BIN
COPY --from=compile /out/${BIN} /usr/local/bin/service
COPY etc/${BIN}.conf /etc/
"""
WEB = "FROM node\nCOPY . /app\nRUN npm ci\n"
#: Files that the root context's ignore file excludes.
IGNORED = "docs\nweb\n*.md\n**/*.md\n.git\n"


@dataclass
class Crate:
    """A crate of a workspace. `needs`: the crates that its builds use; `tests`: the crates that only its tests use."""

    name: str
    workspace: str
    needs: list[str] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)
    program: bool = False

    @property
    def directory(self) -> str:
        return f"{self.workspace}/crates/{self.name}"


@dataclass
class Site:
    """The repository. `packages` maps `name version` to the keys of its dependencies; all workspaces share it."""

    root: Path
    seed: int
    crates: dict[str, Crate] = field(default_factory=dict)
    packages: dict[str, list[str]] = field(default_factory=dict)
    sums: dict[str, dict[str, str]] = field(default_factory=dict)
    webs: tuple[str, ...] = ()
    _closures: dict[str, set[str]] = field(default_factory=dict)

    def make(self) -> Site:
        """Generate and write the repository."""
        chance = random.Random(self.seed)
        names = [f"p{n} {v}" for n in range(40) for v in (("1.0.0", "2.0.0") if n % 9 == 0 else ("1.0.0",))]
        for at, key in enumerate(names):
            below = [k for k in names[:at] if k.split(" ")[0] != key.split(" ")[0]]
            self.packages[key] = chance.sample(below, min(len(below), chance.randrange(3)))
        for workspace, libraries, programs in (("rust", 30, 42), ("tools", 4, 4)):
            self.sums[workspace] = {key: f"{workspace}-{key}" for key in names}
            made: list[str] = []
            for at in range(libraries + programs):
                program = at >= libraries
                crate = Crate(f"{workspace[0]}{at:02}", workspace, program=program)
                inner = made[:libraries]
                crate.needs = chance.sample(inner, min(len(inner), chance.randrange(4)))
                crate.tests = [n for n in chance.sample(inner, min(len(inner), 2)) if n not in crate.needs]
                crate.packages = _one_of_each(chance.sample(names, chance.randrange(4)))
                self.crates[crate.name] = crate
                made.append(crate.name)
        self.webs = tuple(f"web{n}" for n in range(4))
        self.write()
        return self

    @property
    def services(self) -> list[str]:
        return [c.name for c in self.crates.values() if c.program] + list(self.webs)

    def put(self, path: str, text: str) -> None:
        """Write a file."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def write(self) -> None:
        """Write all files of the repository."""
        for path, text in {
            "docker/Dockerfile": DOCKERFILE,
            "docker/compile.rs": "// compile",
            ".dockerignore": IGNORED,
            "README.md": "# Many",
            "docs/guide.txt": "guide",
            "assets/logo.svg": "<svg/>",
            "compose.yaml": "name: many\n",
        }.items():
            self.put(path, text)
        for web in self.webs:
            self.put(f"web/{web}/Dockerfile", WEB)
            self.put(f"web/{web}/.dockerignore", "node_modules\n")
            self.put(f"web/{web}/index.js", web)
            self.put(f"web/{web}/node_modules/x.js", web)
        for workspace in self.sums:
            inherited = "".join(f'{c.name} = {{ path = "crates/{c.name}" }}\n' for c in self.inside(workspace))
            head = f'[workspace]\nmembers = ["crates/*"]\n[workspace.dependencies]\n{inherited}'
            self.put(f"{workspace}/Cargo.toml", head)
            self.put(f"{workspace}/rust-toolchain.toml", '[toolchain]\nchannel = "1.90"\n')
            self.put(f"{workspace}/Cargo.lock", self.lock(workspace))
        for crate in self.crates.values():
            self.put(f"{crate.directory}/Cargo.toml", self.manifest(crate))
            self.put(f"{crate.directory}/src/{'main' if crate.program else 'lib'}.rs", f"// {crate.name}")
            self.put(f"{crate.directory}/README.md", crate.name)
            if crate.program:
                self.put(f"etc/{crate.name}.conf", crate.name)

    def inside(self, workspace: str) -> list[Crate]:
        """Return the crates of a workspace."""
        return [c for c in self.crates.values() if c.workspace == workspace]

    def manifest(self, crate: Crate) -> str:
        """Declare dependencies in all forms of cargo: path, inherited, renamed, for one target, for build scripts."""
        lines = [f'[package]\nname = "{crate.name}"\nversion = "0.1.0"\nedition = "2021"\n']
        for at, need in enumerate(crate.needs):
            path = f'path = "../{need}"'
            lines += [
                (f"[dependencies.{need}]\n{path}\n", f'[dependencies.x{need}]\n{path}\npackage = "{need}"\n')[at % 2]
                if at < 2
                else f"[build-dependencies]\n{need}.workspace = true\n"
            ]
        lines += [f'[dev-dependencies.{test}]\npath = "../{test}"\n' for test in crate.tests]
        for key in crate.packages:
            name, version = key.split(" ")
            lines.append(f'[target."cfg(unix)".dependencies.{name}]\nversion = "{version}"\n')
        return "\n".join(lines)

    def lock(self, workspace: str) -> str:
        """Return the lock file of a workspace."""
        known = self.sums[workspace]
        lines = ["version = 4\n"]
        for crate in self.inside(workspace):
            lines.append(_package(crate.name, "0.1.0", [*crate.needs, *crate.tests, *map(self._ref, crate.packages)]))
        for key, checksum in known.items():
            name, version = key.split(" ")
            needs = [self._ref(k) for k in self.packages[key]]
            lines.append(_package(name, version, needs, checksum))
        return "\n".join(lines)

    def _ref(self, key: str) -> str:
        """Return the reference as cargo writes it: with the version only if there are several."""
        name = key.split(" ")[0]
        return key if sum(other.split(" ")[0] == name for other in self.packages) > 1 else name

    def config(self) -> dict[str, Any]:
        """Return compose's resolved model."""
        services: dict[str, Any] = {}
        for crate in self.crates.values():
            if crate.program:
                args = {"BIN": crate.name, "CACHE_SCOPE": "many", "SOURCE": crate.workspace}
                build = {"context": str(self.root), "dockerfile": "docker/Dockerfile", "args": args}
                services[crate.name] = {"build": build}
        for web in self.webs:
            services[web] = {"build": {"context": str(self.root / "web" / web), "dockerfile": "Dockerfile"}}
        return {"name": "many", "services": services}

    # ---- the oracle

    def closure(self, name: str) -> set[str]:
        """Return the crates of a program."""
        if name not in self._closures:
            self._closures[name] = {name}.union(*(self.closure(need) for need in self.crates[name].needs))
        return self._closures[name]

    def locked(self, names: set[str]) -> set[str]:
        """Return the packages of these crates."""
        found: set[str] = set()
        todo = [key for name in names for key in self.crates[name].packages]
        while todo:
            key = todo.pop()
            if key not in found:
                found.add(key)
                todo += self.packages[key]
        return found

    def fingerprints(self) -> dict[str, str]:
        """Return one digest per service of everything that goes into its image."""
        every = [p.relative_to(self.root).as_posix() for p in sorted(self.root.rglob("*")) if p.is_file()]
        texts = {p: (self.root / p).read_text() for p in every if not p.startswith(".git/")}
        return {service: self._fingerprint(service, texts) for service in self.services}

    def _fingerprint(self, service: str, texts: dict[str, str]) -> str:
        used = {p: t for p, t in texts.items() if self._goes_into(service, p)}
        words = [f"{p}\0{t}" for p, t in sorted(used.items())]
        if service in self.crates:
            sums = self.sums[self.crates[service].workspace]
            words += sorted(f"{key} {sums[key]}" for key in self.locked(self.closure(service)))
        return hashlib.sha256("\0".join(words).encode()).hexdigest()

    def _goes_into(self, service: str, path: str) -> bool:
        if service in self.webs:
            return path.startswith(f"web/{service}/") and "/node_modules/" not in path
        if path in ("docker/Dockerfile", ".dockerignore"):
            return True
        if path.startswith(("docs/", "web/")) or path.endswith((".md", "Cargo.lock")):
            return False
        owner = next((c for c in self.crates.values() if path.startswith(f"{c.directory}/")), None)
        if owner:
            return owner.name in self.closure(service)
        workspace = next((w for w in self.sums if path in (f"{w}/Cargo.toml", f"{w}/rust-toolchain.toml")), None)
        return workspace in (None, self.crates[service].workspace)


def _one_of_each(keys: list[str]) -> list[str]:
    return list({key.split(" ")[0]: key for key in keys}.values())


def _package(name: str, version: str, needs: list[str], checksum: str = "") -> str:
    more = f'source = "registry+https://example.org"\nchecksum = "{checksum}"\n' if checksum else ""
    listed = "".join(f' "{need}",\n' for need in sorted(needs))
    return f'[[package]]\nname = "{name}"\nversion = "{version}"\n{more}dependencies = [\n{listed}]\n'


def edit(site: Site, chance: random.Random) -> str:
    """Make an edit, and return its description."""
    crate = chance.choice(list(site.crates.values()))
    workspace = chance.choice(list(site.sums))
    web = chance.choice(site.webs)
    word = f"{chance.random()}"
    source = f"{crate.directory}/src/{'main' if crate.program else 'lib'}.rs"
    kind = chance.choice(
        ("source", "source", "new", "gone", "manifest", "lock", "lock", "ignored", "shared", "web", "rule", "own")
    )
    if kind == "source":
        site.put(source, word)
    elif kind == "new":
        site.put(f"{crate.directory}/src/{chance.choice(('a', 'b'))}.rs", word)
    elif kind == "gone":
        (site.root / source).unlink(missing_ok=True)
    elif kind == "manifest":
        site.put(f"{crate.directory}/Cargo.toml", f"{site.manifest(crate)}\n# {word}\n")
    elif kind == "lock":
        key = chance.choice(list(site.packages))
        site.sums[workspace] = {**site.sums[workspace], key: word}
        site.put(f"{workspace}/Cargo.lock", site.lock(workspace))
    elif kind == "ignored":
        site.put(
            chance.choice(
                (f"{crate.directory}/README.md", "docs/guide.txt", "README.md", f"web/{web}/node_modules/x.js")
            ),
            word,
        )
    elif kind == "shared":
        site.put(chance.choice(("assets/logo.svg", "rust/notes.txt", "etc/s.conf")), word)
    elif kind == "web":
        site.put(f"web/{web}/index.js", word)
    elif kind == "rule":
        site.put(f"{workspace}/rust-toolchain.toml", f'[toolchain]\nchannel = "1.90"\n# {word}\n')
    elif kind == "own":
        site.put(chance.choice(("docker/compile.rs", f"web/{web}/Dockerfile")), f"{WEB}# {word}\n")
    return f"{kind} {crate.name} {workspace} {web}"
