"""The rules as data: code, severity, reason, sources, fix. docs/reference/lint.md has a section for each."""

from __future__ import annotations

from dataclasses import dataclass

#: Findings with these severities fail `invoke lint`; notes do not.
FAILING = ("error", "warning")


@dataclass(frozen=True)
class Rule:
    """One rule. `name`: the second half of its heading; `sources`: issues or pages that describe what goes wrong."""

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
        "A suppression without a reason or a matching finding may hide a future finding on that line.",
        (),
        "write `# buildkit-tasks: ignore=CODE reason` above the instruction, or remove the comment",
    ),
    Rule(
        "BT001",
        "mount-without-id",
        "warning",
        "BuildKit identifies a mount without an id by its path. All projects on this engine that use the same path "
        "share the mount, and building one of them with --no-cache clears the mount for all of them.",
        ("moby/buildkit#4250", "0xMiden/node#2314", "docker/buildx#1922"),
        "add id=PROJECT-PURPOSE to the mount, for example id=shop-cargo-registry",
    ),
    Rule(
        "BT002",
        "target-id-without-architecture",
        "warning",
        "Ids are independent of the platform, so builds for amd64 and arm64 write to the same target directory. Each "
        "build then runs build scripts and proc macros that the other build compiled.",
        ("moby/buildkit#2598", "docker/buildx#549"),
        "declare ARG TARGETARCH in the stage and end the id with -${TARGETARCH}",
    ),
    Rule(
        "BT003",
        "shared-target",
        "error",
        "With sharing=shared, the default, two builds can compile into the same directory at the same time. cargo "
        "releases its lock when it exits, so a later `cp` may copy the other build's binary.",
        ("lambdaclass/ethrex#6789", "0xMiden/node#2365", _NEVER_STALE),
        "add sharing=locked to the mount",
    ),
    Rule(
        "BT004",
        "one-id-several-toolchains",
        "error",
        "cargo does not detect changes to glibc or other system libraries, so objects compiled in one image may be "
        "linked in another.",
        ("bottlerocket-os/bottlerocket#3361", _NEVER_STALE),
        "use a separate id for each toolchain image, for example by including its version",
    ),
    Rule(
        "BT005",
        "read-out-of-mount",
        "error",
        "A cache mount exists only during its RUN and is never part of the image. Afterwards, the path is empty.",
        ("docker/buildx#788", "mobilecoinofficial/full-service#914"),
        "copy the file to a path outside the mount in the same RUN and read it from there",
    ),
    Rule(
        "BT006",
        "mount-owner",
        "error",
        "A cache mount without uid= is owned by root (mode 0755), even if it covers a directory that "
        "another user owns. "
        "The build user cannot write to it.",
        ("moby/buildkit#1237", "moby/buildkit#724"),
        "add the build user's uid= and gid= to the mount",
    ),
    Rule(
        "BT007",
        "argument-splits-compile",
        "warning",
        "The values of all arguments declared before a RUN are part of its cache key. Services with different values "
        "do not share the compile step, so N services are compiled N times.",
        ("moby/moby#20136",),
        "compile all binaries in one RUN and declare the argument after it, in the last stage",
    ),
    Rule(
        "BT008",
        "mtimes-trusted",
        "error",
        "cargo compares modification times, but COPY and bind mounts keep the times from the host or an old layer. A "
        "changed file that is older than the cached object is not recompiled, and the image contains the old binary.",
        ("0xMiden/node#2314", "tensorzero/tensorzero#1860", "rust-lang/cargo#9312", _NEVER_STALE),
        "copy only sources whose content changed (rsync -c into the mount), or touch all sources in the same RUN",
    ),
    Rule(
        "BT009",
        "stub-without-guard",
        "error",
        "The stub's objects are newer than the real sources copied over it, so cargo considers the program up to "
        "date, and the image contains the stub (`fn main() {}`). `cargo clean -p` does not reliably help.",
        ("valnesfjord/tg-ws-proxy-rs#118", "MystenLabs/hashi#444", "rust-lang/cargo#7181"),
        "touch the real sources before the second cargo build or, better, use a cache mount instead of the stub",
    ),
    Rule(
        "BT010",
        "target-in-context",
        "warning",
        "Every build sends the host's target directory (gigabytes) to the engine and copies it. The .git directory "
        "changes with every commit, which invalidates the layer.",
        ("InterCooperative-Network/icn#2492", "LukeMathWalker/zero-to-production#226"),
        "add **/target and .git to .dockerignore, after the last line that starts with !",
    ),
    Rule(
        "BT011",
        "wide-context",
        "warning",
        "Everything in the context is part of the compile step's cache key, so editing the README or the compose "
        "file triggers a recompile.",
        ("LukeMathWalker/cargo-chef#225",),
        "make .dockerignore an allowlist of what the build needs: first *, then !Cargo.toml, !Cargo.lock, !src",
    ),
    Rule(
        "BT012",
        "registry-locked",
        "warning",
        "Builds that share this id run one at a time for the whole compile step, not only while cargo downloads.",
        ("paradigmxyz/reth#21451", "tensorzero/tensorzero#4826"),
        "use sharing=shared, and hold a lock inside the mount (BT014) only while cargo fetches crates",
    ),
    Rule(
        "BT013",
        "empty-rustflags",
        "warning",
        "An empty RUSTFLAGS counts as a value, so it overrides the rustflags in .cargo/config.toml.",
        ("influxdata/influxdb_iox#8052", "cachix/devenv#1496"),
        "declare RUSTFLAGS without a value: ARG RUSTFLAGS",
    ),
    Rule(
        "BT014",
        "registry-race",
        "error",
        "cargo's lock is in CARGO_HOME, outside the mount, so compile steps that run at the same time unpack "
        "to the same registry and fail with `File exists (os error 17)`.",
        ("rust-lang/cargo#11376", "netflector/netflector#41", "base/base#851", "docker/docs#25597"),
        "hold a lock inside the mount while cargo fetches: use flock, or make $CARGO_HOME/.package-cache a symlink "
        "into the mount",
    ),
    Rule(
        "BT015",
        "cargo-home-mounted",
        "error",
        "The mount hides the image's own files, such as bin/cargo and bin/rustup. Credentials and settings "
        "written to CARGO_HOME stay in the mount for all later builds.",
        ("clux/muslrust#56", "rust-lang/docker-rust#17", "docker/docs#25616"),
        "mount CARGO_HOME/registry and CARGO_HOME/git instead, or set CARGO_HOME to a separate directory",
    ),
    Rule(
        "BT016",
        "registry-secret",
        "error",
        "Anyone with the image or the build cache can read build arguments, environment variables and copied files.",
        ("ever-co/ever-gauzy#9995", "buggregator/server#313"),
        "use RUN --mount=type=secret,id=NAME,env=CARGO_REGISTRIES_NAME_TOKEN (or a mounted credentials.toml); revoke "
        "the leaked secret",
    ),
    Rule(
        "BT017",
        "mount-never-used",
        "warning",
        "cargo writes to a different directory, so this mount silently caches nothing.",
        ("softprops/serverless-rust#101",),
        "mount the directory that cargo uses: $CARGO_HOME/registry, $CARGO_HOME/git, $CARGO_TARGET_DIR or target "
        "next to the workspace's Cargo.toml",
    ),
    Rule(
        "BT018",
        "copied-in-another-run",
        "error",
        "BuildKit releases the mount's lock when the RUN ends, so another build may replace the binary before a later "
        "RUN copies it.",
        ("0xMiden/node#2365", _NEVER_STALE),
        "copy the binary in the same RUN that compiles it",
    ),
)

#: All rules by code.
RULES = {rule.code: rule for rule in _ALL}
