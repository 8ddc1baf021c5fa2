"""The rules as data: code, severity, reason, sources, fix. docs/reference/lint.md has a heading for each."""

from __future__ import annotations

from dataclasses import dataclass

#: Findings of these severities fail `invoke lint`; a note does not.
FAILING = ("error", "warning")


@dataclass(frozen=True)
class Rule:
    """One rule. `name` is its heading's second half; `sources` are issues or pages that describe the damage."""

    code: str
    name: str
    severity: str
    why: str
    sources: tuple[str, ...]
    remedy: str

    @property
    def heading(self) -> str:
        """Its heading in docs/reference/lint.md."""
        return f"{self.code} {self.name}"

    @property
    def docs(self) -> str:
        """Where it is documented."""
        return f"docs/reference/lint.md#{self.heading.lower().replace(' ', '-')}"


@dataclass(frozen=True)
class Finding:
    """One mistake. `reason` is set if a comment in the Dockerfile suppresses it."""

    code: str
    severity: str
    file: str
    line: int
    message: str
    why: str = ""
    sources: tuple[str, ...] = ()
    remedy: str = ""
    docs: str = ""
    reason: str | None = None

    @property
    def failing(self) -> bool:
        """True if it makes `invoke lint` fail."""
        return self.severity in FAILING and self.reason is None


_NEVER_STALE = "docs/explanation/never-stale.md"

_ALL = (
    Rule(
        "BT000",
        "suppression",
        "note",
        "A suppression without a reason, or of something that is not there, hides the next finding on that line.",
        (),
        "write `# buildkit-tasks: ignore=CODE reason` above the instruction, or remove the comment",
    ),
    Rule(
        "BT001",
        "mount-without-id",
        "warning",
        "BuildKit names such a mount by its path, so every project of this engine that mounts the same path shares it, "
        "and a build with --no-cache empties it for all of them.",
        ("moby/buildkit#4250", "0xMiden/node#2314", "docker/buildx#1922"),
        "add id=PROJECT-PURPOSE to the mount, for example id=shop-cargo-registry",
    ),
    Rule(
        "BT002",
        "target-id-without-architecture",
        "warning",
        "An id does not know the platform: builds for amd64 and arm64 write into one target directory, and build "
        "scripts and proc macros of one are run by the other.",
        ("moby/buildkit#2598", "docker/buildx#549"),
        "declare ARG TARGETARCH in the stage and end the id in -${TARGETARCH}",
    ),
    Rule(
        "BT003",
        "shared-target",
        "error",
        "Shared is the default: two builds compile into one directory at once. cargo's lock ends with cargo, so the "
        "copy after it may take the binary of the other build.",
        ("lambdaclass/ethrex#6789", "0xMiden/node#2365", _NEVER_STALE),
        "add sharing=locked to the mount",
    ),
    Rule(
        "BT004",
        "one-id-several-toolchains",
        "error",
        "cargo does not see that glibc or another system library changed under its objects: what one image compiled "
        "is linked in the other.",
        ("bottlerocket-os/bottlerocket#3361", _NEVER_STALE),
        "give each toolchain image its own id, for example with the version in it",
    ),
    Rule(
        "BT005",
        "read-out-of-mount",
        "error",
        "A cache mount is there only while its RUN runs and is never part of the image: the path is empty afterwards.",
        ("docker/buildx#788", "mobilecoinofficial/full-service#914"),
        "copy the file to a path outside of the mount in the same RUN, and read it there",
    ),
    Rule(
        "BT006",
        "mount-owner",
        "error",
        "A cache mount belongs to root (mode 0755) unless uid= says otherwise, also where the directory below it "
        "belongs to somebody else: the build user may not write.",
        ("moby/buildkit#1237", "moby/buildkit#724"),
        "add uid= and gid= of the build user to the mount",
    ),
    Rule(
        "BT007",
        "argument-splits-compile",
        "warning",
        "The value of every argument declared before a RUN is part of its cache key: services that differ in one do "
        "not share the compile step, and N services compile N times.",
        ("moby/moby#20136",),
        "compile all binaries in one RUN and declare the argument after it, in the last stage",
    ),
    Rule(
        "BT008",
        "mtimes-trusted",
        "error",
        "cargo compares modification times. Those of COPY and bind mounts come from the host or an old layer: a "
        "changed file that is older than the cached object is not compiled, and the image holds the old binary.",
        ("0xMiden/node#2314", "tensorzero/tensorzero#1860", "rust-lang/cargo#9312", _NEVER_STALE),
        "compare by content: rsync -c into a tree inside the mount; at least touch all sources in the same RUN",
    ),
    Rule(
        "BT009",
        "stub-without-guard",
        "error",
        "The stub's objects are newer than the real sources that are copied over it, so cargo takes the program as "
        "built: an image with `fn main() {}` is shipped. `cargo clean -p` did not help either.",
        ("valnesfjord/tg-ws-proxy-rs#118", "MystenLabs/hashi#444", "rust-lang/cargo#7181"),
        "touch the real sources before the second cargo build; better: a cache mount instead of the stub",
    ),
    Rule(
        "BT010",
        "target-in-context",
        "warning",
        "The build directory of the host (gigabytes) is sent to the engine and copied over by every build; .git "
        "changes with every commit, and with it the layer.",
        ("InterCooperative-Network/icn#2492", "LukeMathWalker/zero-to-production#226"),
        "add **/target and .git to .dockerignore, after the last line that begins with !",
    ),
    Rule(
        "BT011",
        "wide-context",
        "warning",
        "Everything in the context is part of the compile step's key: an edit of the README or of the compose file "
        "compiles again.",
        ("LukeMathWalker/cargo-chef#225",),
        "make .dockerignore a list of what the build needs: first *, then !Cargo.toml, !Cargo.lock, !src",
    ),
    Rule(
        "BT012",
        "registry-locked",
        "warning",
        "All builds that use the id wait for each other during the whole compile step, not only while cargo downloads.",
        ("paradigmxyz/reth#21451", "tensorzero/tensorzero#4826"),
        "use sharing=shared with a lock inside the mount (BT014), taken only while crates are fetched",
    ),
    Rule(
        "BT013",
        "empty-rustflags",
        "warning",
        "An empty RUSTFLAGS is a value to cargo: it switches off the rustflags of .cargo/config.toml.",
        ("influxdata/influxdb_iox#8052", "cachix/devenv#1496"),
        "declare it without a value: ARG RUSTFLAGS",
    ),
    Rule(
        "BT014",
        "registry-race",
        "error",
        "cargo's lock lies in CARGO_HOME, outside of the mount: compile steps that run at the same time unpack into "
        "one registry and fail with `File exists (os error 17)`.",
        ("rust-lang/cargo#11376", "netflector/netflector#41", "base/base#851", "docker/docs#25597"),
        "take a lock inside the mount (flock, or $CARGO_HOME/.package-cache as a link into it) while cargo fetches",
    ),
    Rule(
        "BT015",
        "cargo-home-mounted",
        "error",
        "The mount hides what the image has there: bin/cargo and bin/rustup. Credentials and settings that are "
        "written there stay in the mount for every later build.",
        ("clux/muslrust#56", "rust-lang/docker-rust#17", "docker/docs#25616"),
        "mount CARGO_HOME/registry and CARGO_HOME/git instead, or set CARGO_HOME to a directory of its own",
    ),
    Rule(
        "BT016",
        "registry-secret",
        "error",
        "Arguments, variables and copied files stay readable in the image's history and in the build cache.",
        ("ever-co/ever-gauzy#9995", "buggregator/server#313"),
        "RUN --mount=type=secret,id=NAME,env=CARGO_REGISTRIES_NAME_TOKEN (or a mounted credentials.toml), and revoke "
        "what was built in",
    ),
    Rule(
        "BT017",
        "mount-never-used",
        "warning",
        "cargo writes somewhere else: nothing is ever cached here, without any warning.",
        ("softprops/serverless-rust#101",),
        "mount the directory that cargo uses: $CARGO_HOME/registry, $CARGO_HOME/git, $CARGO_TARGET_DIR or target "
        "beside the workspace's Cargo.toml",
    ),
    Rule(
        "BT018",
        "copied-in-another-run",
        "error",
        "A lock on the mount ends with its RUN: between the RUN that compiles and the one that copies, another build "
        "may put its own binary there.",
        ("0xMiden/node#2365", _NEVER_STALE),
        "copy the binary in the RUN that compiles it",
    ),
)

#: All rules by code.
RULES = {rule.code: rule for rule in _ALL}
