//! compile.rs: one `cargo build` in a RUN step, with the target directory in a cache mount. Builds are never stale.
//!
//!     compile key      prepares the toolchain's layer and prints the toolchain's key (cached in a layer)
//!     compile build    syncs the context into the tree in the mount, compiles, and writes programs and manifests
//!     compile place    prints the location of the tree in the mount, for scripts that pack or unpack it
//!
//! This is a single file that only uses `std`: edition 2021, rustc 1.63 or newer. The toolchain stage of the Dockerfile
//! compiles it with the image's own rustc. The tests run without Docker:
//!
//!     rustc --edition 2021 --test compile.rs && ./compile
//!
//! # Motivation
//!
//! cargo recompiles files with an *mtime* newer than its last output. In an image build, mtimes mean nothing:
//! checkouts, archives, `COPY`, other worktrees and clocks set them arbitrarily. If the mtime of an edited file is
//! older, cargo does not compile it, and the image contains the old program. In addition, cargo does not know what a
//! build script or proc macro reads without declaring it: directory listings, links, modes, environment variables.
//!
//! This program therefore never uses the mtimes of the context. It keeps a copy of the sources in the mount and
//! compares **content**. Only files that differ are copied. The copies get the current time as their mtime, which cargo
//! notices. If cargo cannot trace a change to a crate, the package is *marked*: its `.rs` files are touched, so cargo
//! compiles it.
//!
//! # Steps of a build
//!
//! 1. [`Step::open`] chooses `/build/FORMAT-KEY`. KEY is a digest of the compiler, libraries and tools ([`key`]), so
//!    objects of two toolchain images never mix. This directory contains `src` (the copy), `target` (cargo's target
//!    directory) and `state` (described below). They are in one mount, so they are kept or lost together.
//! 2. [`Step::sync`] reads every file of the context and of `src` in parallel and compares the bytes. It also compares
//!    them with `state/tree`, the *record* of what the last sync left in `src`. If `src` differs from the record, the
//!    build itself wrote to `src`. An entry differs unless all three are equal ([`Entry::differs`]).
//! 3. [`Plan::new`] applies the rules: it turns the differences into a plan and does not modify any files. In code
//!    order:
//!      - A plain edit of a `.rs` file is copied. cargo does the rest. The exception is a file that is not code: cargo
//!        has not compiled it, and it does not look like a test or a module ([`Marks::plain_edit`]).
//!      - Any other change (an edit of another file, an addition, a deletion, a retargeted link, an executable bit)
//!        marks the package that contains the file and every package that may read outside its own directory. These are
//!        the packages that contain links, whose code mentions `../`, `parent()` and similar ([`looks_outside`]), or
//!        whose Cargo.toml sets the path of a target outside the package.
//!        cargo follows links, but only checks the *mtime* of the link's target. After a link is retargeted, this mtime
//!        may be older than cargo's last output. A marked package that contains links, no `.rs` files, or such a path
//!        therefore also loses cargo's fingerprints: touching its own files would not recompile it. The same holds if
//!        everything is marked.
//!      - A file outside all packages (migrations next to the crates, `.cargo/config.toml`) marks everything.
//!      - A file of a package that contains other packages also marks those ([`Marks::mark_nested`]).
//!      - `Cargo.lock` and a workspace's `Cargo.toml` mark the packages with build scripts, and the package that
//!        contains the file. If values of `[workspace.package]` change, the packages that inherit from it are marked.
//!        cargo handles the rest.
//!      - Files that a build wrote to `src` are restored or deleted. The packages that may have written them are
//!        marked, because only a build can write them again.
//!      - A vendored crate that differs loses cargo's fingerprint: cargo assumes that vendored sources never change. So
//!        do crates behind a link that differs, and crates with a link to something that differs.
//!      - If cargo will run a build script again, its `OUT_DIR` is emptied ([`Marks::scripts_that_run_again`]).
//!    "Marks everything" means every package of the workspace. Registry crates stay compiled. Everything is also marked
//!    if the environment or SOURCE changed, if a sync was interrupted (`state/pending` is created first and deleted
//!    last), or if a file in the mount has an mtime in the future, because it was written while the clock was ahead.
//! 4. [`Plan::apply`] deletes, copies and touches files, and deletes fingerprints.
//! 5. [`Step::run_cargo`] builds the packages of the requested programs and parses cargo's JSON messages. If a killed
//!    build left damaged downloads in the registry mount, it removes them and runs cargo again.
//! 6. [`Step::write_out`] writes these files to the working directory for every program that cargo reports:
//!    `NAME/bin/service`, a link `NAME/bin/NAME` to it, and `NAME/share/buildkit-tasks/manifest.json`, which lists the
//!    sources of the program. The step has no other output.
//!
//! All file names that are valid on Linux are supported. I/O errors include the path, and every error fails the step.
//!
//! # Changing this file
//!
//! Lines `// step: NAME {` … `// step: NAME }` enclose code that can be removed. The project's tests remove each step
//! in turn and check that a specific test case fails without it, so every rule is needed.
//! docs/explanation/never-stale.md describes the cases, the proof and the limitations.

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::raw::{c_char, c_int, c_long};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{symlink, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{exit, Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// The format of the mount's content. Trees in another format are ignored, and the build starts from scratch.
const FORMAT: u32 = 2;
/// The number of toolchains to keep trees for in the mount.
const KEEP: usize = 3;

fn main() {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let places = Places::in_the_step();
    let outcome = match words.first().and_then(|word| word.to_str()).filter(|_| words.len() == 1) {
        Some("key") => places.and_then(|_| key(&Environment::of_the_step())).map(|text| print!("{}", text)),
        Some("place") => {
            places.and_then(|places| Step::open(places, Environment::of_the_step())).map(|step| step.print_place())
        }
        Some("build") => places.and_then(build),
        _ => Err(failure("usage: compile key|build|place")),
    };
    if let Err(failure) = outcome {
        if !failure.text.is_empty() {
            say(&format!("error: {}", failure.text));
        }
        exit(failure.code);
    }
}

fn build(places: Places) -> Outcome<()> {
    let mut step = Step::open(places, Environment::of_the_step())?;
    step.check_source()?;
    step.obey_the_configuration()?;
    step.choose_base()?;
    let workspace = step.ask_for_the_workspace()?;
    let tree = step.sync()?;
    let selection = Selection::new(&step.wanted, &step.members(workspace)?)?;
    let messages = step.run_cargo(&selection)?;
    step.write_out(&tree, &messages)
}

// ------------------------------------------------------------------------------ paths, environment and build arguments

/// Paths in the step's container.
#[derive(Clone)]
struct Places {
    context: PathBuf,
    mount: PathBuf,
    /// The output of `compile key`.
    toolchain: PathBuf,
    /// Variables for cargo when cross-compiling, one `NAME=VALUE` per line (written by cross.sh); may be missing.
    cross: PathBuf,
    out: PathBuf,
}

impl Places {
    fn in_the_step() -> Outcome<Places> {
        let out = std::env::current_dir().doing("find", Path::new("the working directory"))?;
        let [context, mount, toolchain, cross] =
            ["/context", "/build", "/toolchain.key", "/cross.env"].map(PathBuf::from);
        Ok(Places { context, mount, toolchain, cross, out })
    }

    /// The path of this file in the context, which is not one of the sources. The Dockerfile compiles it from the same
    /// path below `/`.
    fn own_name() -> Name {
        Name(file!().trim_start_matches('/').as_bytes().to_vec())
    }
}

/// The environment variables of a process.
#[derive(Clone)]
struct Environment(Vec<(OsString, OsString)>);

impl Environment {
    fn of_the_step() -> Environment {
        Environment(std::env::vars_os().collect())
    }

    fn raw(&self, name: &str) -> Option<&OsStr> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_os_str())
    }

    fn get(&self, name: &str) -> Option<String> {
        self.raw(name).map(|value| value.to_string_lossy().into_owned())
    }

    /// Returns the value, or the default if the variable is unset or empty.
    fn or(&self, name: &str, default: &str) -> String {
        self.get(name).filter(|value| !value.is_empty()).unwrap_or_else(|| default.into())
    }

    fn words(&self, name: &str) -> Vec<String> {
        self.or(name, "").split_whitespace().map(String::from).collect()
    }

    fn set(&mut self, name: &str, value: &str) {
        self.0.retain(|(other, _)| other != name);
        self.0.push((name.into(), value.into()));
    }

    fn seen_by_cargo(&self) -> impl Iterator<Item = &(OsString, OsString)> {
        self.0.iter().filter(|(name, _)| !HIDDEN.iter().any(|hidden| name == hidden))
    }

    /// Returns CARGO_HOME, or cargo's default for it.
    fn cargo_home(&self) -> PathBuf {
        self.raw("CARGO_HOME").map_or_else(|| Path::new(&self.or("HOME", "/root")).join(".cargo"), PathBuf::from)
    }
}

/// Variables that are not passed to cargo and are excluded from the comparison of environments, except for SOURCE. Some
/// are build arguments of the Dockerfile. The last ones are set by a standalone BuildKit daemon, with a different value
/// in every build.
const HIDDEN: &[&str] = &[
    "BINS",
    "PROGRAMS",
    "FEATURES",
    "NO_DEFAULT_FEATURES",
    "PROFILE",
    "SOURCE",
    "CACHE_SCOPE",
    "REBUILD",
    "STRICT_TOOLCHAIN",
    "HOSTNAME",
    "OLDPWD",
    "CARGO_INCREMENTAL",
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETARCH",
    "TARGETVARIANT",
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDARCH",
    "BUILDVARIANT",
    "TRACEPARENT",
    "TRACESTATE",
    "OTEL_TRACE_PARENT",
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
];
/// Variables that are passed to cargo but do not affect the result, as in BuildKit.
const PROXIES: &[&str] = &["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// The request, as set by the build arguments.
struct Wanted {
    bins: Vec<String>,
    programs: Vec<String>,
    features: Vec<String>,
    default_features: bool,
    profile: String,
    incremental: String,
    /// The directory of the workspace in the context; empty for the context itself.
    source: Name,
}

impl Wanted {
    fn from(environment: &Environment) -> Outcome<Wanted> {
        let default_features = match environment.or("NO_DEFAULT_FEATURES", "0").as_str() {
            "0" | "false" => true,
            "1" | "true" => false,
            other => return Err(failure(&format!("NO_DEFAULT_FEATURES must be 0 or 1, not '{}'", other))),
        };
        let source = environment.or("SOURCE", ".");
        let parts: Vec<&str> = source.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        if parts.contains(&"..") {
            return Err(failure(&format!("SOURCE must be a directory in the build context, not '{}'", source)));
        }
        Ok(Wanted {
            bins: environment.words("BINS"),
            programs: environment.words("PROGRAMS"),
            features: environment.words("FEATURES"),
            default_features,
            profile: environment.or("PROFILE", "release"),
            incremental: environment.or("CARGO_INCREMENTAL", "0"),
            source: Name(parts.join("/").into_bytes()),
        })
    }
}

/// One run of the compile step: the request and the paths.
struct Step {
    places: Places,
    wanted: Wanted,
    toolchain: Toolchain,
    /// `/build/FORMAT-KEY`
    base: PathBuf,
    /// The environment passed to cargo.
    environment: Environment,
    cargo_home: PathBuf,
}

impl Step {
    fn open(places: Places, mut environment: Environment) -> Outcome<Step> {
        let wanted = Wanted::from(&environment)?;
        let mut toolchain = Toolchain::read(&places.toolchain)?;
        toolchain.obey_the_sources(&places.context, &wanted.source, &mut environment)?;
        let mut name = FORMAT.to_string();
        // step: toolchain-key {
        name = format!("{}-{}", name, toolchain.key);
        // step: toolchain-key }
        Ok(Step {
            base: places.mount.join(name),
            cargo_home: environment.cargo_home(),
            places,
            wanted,
            toolchain,
            environment,
        })
    }

    fn src(&self) -> PathBuf {
        self.base.join("src")
    }

    fn target(&self) -> PathBuf {
        self.base.join("target")
    }

    fn state(&self, name: &str) -> PathBuf {
        self.base.join("state").join(name)
    }

    fn print_place(&self) {
        let Toolchain { key, rustc, host } = &self.toolchain;
        let source = if self.wanted.source.0.is_empty() { ".".into() } else { self.wanted.source.to_string() };
        println!("{}\n{}\n{}\n{}\n{}\n{}", self.base.display(), key, rustc, host, self.wanted.profile, source);
    }
}

// ------------------------------------------------------------------------------------------------------- the toolchain

/// The three lines printed by `compile key`.
struct Toolchain {
    key: String,
    rustc: String,
    host: String,
}

impl Toolchain {
    fn read(path: &Path) -> Outcome<Toolchain> {
        let text = fs::read_to_string(path).doing("read", path)?;
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        match lines[..] {
            [key, rustc, host, ..] if text.ends_with('\n') => {
                Ok(Toolchain { key: key.into(), rustc: rustc.into(), host: host.into() })
            }
            _ => Err(failure(&format!("{} is truncated: rebuild the toolchain stage", path.display()))),
        }
    }

    /// Handles toolchain files in the sources, which rustup applies. In that case, only rustc itself can report its
    /// version, and cargo's cache of rustc's output is disabled because its key is the path and mtime. Without rustup,
    /// the file has no effect, so this prints a warning or fails.
    fn obey_the_sources(&mut self, context: &Path, source: &Name, environment: &mut Environment) -> Outcome<()> {
        let mut directory = Some(source.clone());
        while let Some(name) = directory {
            for file in ["rust-toolchain", "rust-toolchain.toml"].map(|file| name.join(file)) {
                let place = file.below(context);
                let text = match fs::metadata(&place) {
                    Ok(found) if found.is_file() => fs::read(&place).doing("read", &place)?,
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).doing("stat", &place),
                    _ => continue,
                };
                let version = output(
                    Command::new("rustc")
                        .arg("-vV")
                        .current_dir(name.below(context))
                        .env_clear()
                        .envs(environment.0.clone()),
                )?;
                let version = version.trim_end_matches('\n');
                self.rustc = version.lines().next().unwrap_or_default().into();
                self.key = format!("{}-{}", self.key, &hex(&sha256(format!("{}\n", version).as_bytes()))[..8]);
                environment.set("CARGO_CACHE_RUSTC_INFO", "0");
                return self.check_the_choice(&file, &String::from_utf8_lossy(&text), environment);
            }
            directory = name.parent();
        }
        Ok(())
    }

    fn check_the_choice(&self, file: &Name, text: &str, environment: &Environment) -> Outcome<()> {
        let path = environment.raw("PATH").unwrap_or_default();
        let rustup = std::env::split_paths(path).any(|directory| directory.join("rustup").exists());
        let asked = chosen_toolchain(text);
        if rustup || self.is(&asked) {
            return Ok(());
        }
        let text = format!("{} requires {}, but the toolchain image has no rustup, only {}", file, asked, self.rustc);
        match environment.or("STRICT_TOOLCHAIN", "0").as_str() {
            "0" | "false" => say(&format!("warning: {}", text)),
            _ => return Err(failure(&format!("{}: set RUST_IMAGE to an image with that toolchain", text))),
        }
        Ok(())
    }

    /// Returns whether the version matches the requested toolchain.
    fn is(&self, asked: &str) -> bool {
        let version = self.rustc.split(' ').nth(1).unwrap_or_default();
        let asked = asked.strip_suffix(&format!("-{}", self.host)).unwrap_or(asked);
        match asked {
            "" => true,
            "stable" => !version.is_empty() && !version.contains('-'),
            _ => version == asked || version.starts_with(&format!("{}.", asked)),
        }
    }
}

/// Returns the toolchain in a `rust-toolchain` file: the whole text, or `channel` or `path` if the file is TOML.
fn chosen_toolchain(text: &str) -> String {
    if !text.contains('[') {
        return text.trim().into();
    }
    let value = |line: &str| line.split(|c| c == '"' || c == '\'').nth(1).unwrap_or_default().to_string();
    let key = |line: &&str| matches!(line.split('=').next().map(str::trim), Some("channel" | "path"));
    text.lines().find(key).map(value).unwrap_or_default()
}

/// Returns the lines of `/toolchain.key`. The key is a digest of all files that can affect a compilation (compiler,
/// standard library, system libraries, headers, tools), not of package lists or mtimes. A manually installed library
/// changes the key; rebuilding an image with identical content does not.
fn key(environment: &Environment) -> Outcome<String> {
    let cargo_home = environment.cargo_home();
    share_cargo_lock(&cargo_home)?;
    let version = output(Command::new("rustc").arg("-vV"))?;
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let home = environment.or("HOME", "/root");
    let mut roots: Vec<PathBuf> = Vec::new();
    for root in ["/usr", "/opt", "/bin", "/sbin", "/lib", "/lib64", "/etc/alternatives", &home, sysroot.trim_end()] {
        // with a merged /usr, /bin and similar directories are links
        let real = matches!(fs::symlink_metadata(root), Ok(found) if found.is_dir());
        if real && !roots.iter().any(|other| Path::new(root).starts_with(other)) {
            roots.push(root.into());
        }
    }
    let left_out = ["/usr/share/doc", "/usr/share/man", "/usr/share/locale"].map(PathBuf::from);
    let in_cargo_home = ["registry", "git"].map(|name| cargo_home.join(name));
    let mut found = Vec::new();
    for root in roots {
        walk(&root, &mut |entry, kind, _| {
            let path = entry.path();
            let wanted =
                !left_out.contains(&path) && !in_cargo_home.contains(&path) && entry.file_name() != "__pycache__";
            if wanted && matches!(kind, Kind::File | Kind::Link) {
                found.push((path.into_os_string().into_vec(), kind));
            }
            Ok(wanted)
        })?;
    }
    found.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    let digests: Vec<Mutex<Digest>> = found.iter().map(|_| Mutex::new([0; 32])).collect();
    parallel(found.len(), &|at, scratch| {
        let (path, kind) = &found[at];
        *lock(&digests[at]) = look(Path::new(OsStr::from_bytes(path)), *kind, scratch)?.digest;
        Ok(())
    })?;
    let mut all = Sha256::new();
    for ((path, kind), digest) in found.iter().zip(&digests) {
        all.update(&[&[kind.letter()], &lock(digest)[..], path, b"\0"].concat());
    }
    all.update(
        format!("{}\n{}{}", std::env::consts::ARCH, version, output(Command::new("cargo").arg("-V"))?).as_bytes(),
    );
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or_else(|| failure("rustc -vV printed no host"))?;
    Ok(format!("{}\n{}\n{}\n", &hex(&all.finish())[..16], version.lines().next().unwrap_or_default(), host))
}

/// Moves cargo's package cache locks into the mount, using links. The lock files are in CARGO_HOME, outside the mounts,
/// so builds in different containers would unpack into the same registry concurrently ("File exists (os error 17)").
fn share_cargo_lock(cargo_home: &Path) -> Outcome<()> {
    for name in ["registry", "git"] {
        create_directory(&cargo_home.join(name))?;
    }
    // step: cargo-lock {
    for name in [".package-cache", ".package-cache-mutate"] {
        let link = cargo_home.join(name);
        remove(&link)?;
        symlink(Path::new("registry").join(name), &link).doing("create", &link)?;
    }
    // step: cargo-lock }
    Ok(())
}

// ----------------------------------------------------------------------------------------------- cargo's configuration

impl Step {
    fn check_source(&self) -> Outcome<()> {
        let manifest = self.wanted.source.join("Cargo.toml");
        if exists(&manifest.below(&self.places.context))? {
            return Ok(());
        }
        let why = "set SOURCE to the directory of the cargo workspace, and do not exclude it in .dockerignore";
        Err(failure(&format!("no {} in the build context: {}", manifest, why)))
    }

    /// Sets cargo's variables unless the user's cargo configuration has a value. In cargo, environment variables
    /// silently override the configuration files, so this reads the configuration before it sets any.
    fn obey_the_configuration(&mut self) -> Outcome<()> {
        let cross = String::from_utf8_lossy(&read_if_there(&self.places.cross)?.unwrap_or_default()).into_owned();
        let matters = !cross.is_empty() || !self.environment.or("STATIC", "").is_empty();
        let config = Config(self.cargo_config(matters)?);
        self.prefer_mold(&config);
        self.cross_compile(&cross, &config);
        self.link_statically(&config)?;
        let asked = matches!(self.wanted.incremental.as_str(), "1" | "true");
        if asked && config.at(&["build", "incremental"]) == Some(&Json::False) {
            say("not incremental: cargo's configuration sets build.incremental = false");
            self.wanted.incremental = "0".into();
        }
        Ok(())
    }

    /// Returns cargo's configuration as merged by cargo itself, from all directories and includes. Does not run cargo
    /// if there are no configuration files or none of them can matter.
    fn cargo_config(&self, matters: bool) -> Outcome<Json> {
        let mut places = vec![PathBuf::from("/.cargo"), self.cargo_home.clone()];
        let mut above = Some(self.wanted.source.clone());
        while let Some(directory) = above {
            places.push(directory.join(".cargo").below(&self.places.context));
            above = directory.parent();
        }
        let mut text = Vec::new();
        for file in places.iter().flat_map(|place| [place.join("config.toml"), place.join("config")]) {
            text.extend(read_if_there(&file)?.unwrap_or_default());
        }
        let text = String::from_utf8_lossy(&text);
        let words = ["include", "incremental", "COMPILER_PATH"];
        if text.is_empty() || !(matters || words.iter().any(|word| text.contains(word))) {
            return Ok(Json::Other);
        }
        // this command requires nightly cargo or RUSTC_BOOTSTRAP; its output has not changed since 1.52
        let words = ["-Zunstable-options", "config", "get", "--format", "json-value"];
        let mut command = self.cargo(&self.wanted.source.below(&self.places.context), &words);
        let done = command.env("RUSTC_BOOTSTRAP", "1").output().doing("start", Path::new("cargo"))?;
        if !done.status.success() {
            let _ = io::stderr().write_all(&done.stderr);
            return Err(ended(done.status));
        }
        Json::parse(&done.stdout).ok_or_else(|| failure("cargo config printed invalid JSON"))
    }

    /// Uses mold if the image has it, but only to replace `ld`: a linker or flag configured by the user takes
    /// precedence.
    fn prefer_mold(&mut self, config: &Config) {
        for directory in ["/usr/libexec/mold", "/usr/local/libexec/mold"] {
            if Path::new(directory).join("ld").exists() && config.at(&["env", "COMPILER_PATH"]).is_none() {
                let before = self.environment.get("COMPILER_PATH").map_or(String::new(), |path| format!(":{}", path));
                self.environment.set("COMPILER_PATH", &format!("{}{}", directory, before));
                return;
            }
        }
    }

    /// Sets the variables that cross.sh wrote for another platform. The image's variables and the user's configuration
    /// take precedence, except for a `build.target` of another architecture, which would produce an image for the wrong
    /// platform.
    fn cross_compile(&mut self, cross: &str, config: &Config) {
        let lines = || cross.lines().filter_map(|line| line.split_once('='));
        let target = lines().find(|(name, _)| *name == "CARGO_BUILD_TARGET").map_or("", |(_, value)| value);
        let architecture = |triple: &str| triple.split('-').next().map(String::from);
        for (name, value) in lines() {
            let linker = name.starts_with("CARGO_TARGET_") && name.ends_with("_LINKER");
            let configured = match config.at(&["build", "target"]) {
                Some(named) if name == "CARGO_BUILD_TARGET" => {
                    let same = architecture(named.text()) == architecture(target);
                    if !same {
                        say(&format!(
                            "compiling for {}: build.target in cargo's configuration is for another platform",
                            target
                        ));
                    }
                    same
                }
                _ if linker => config.target_has(target, "linker") || config.any_cfg_has("linker"),
                _ => config.at(&["env", name]).is_some(),
            };
            if configured && linker {
                say(&format!("linking for {} with the linker from cargo's configuration", target));
            }
            if !configured && self.environment.raw(name).is_none() {
                self.environment.set(name, value);
            }
        }
    }

    /// Applies STATIC: links programs statically with glibc (gnu) or musl. Build scripts and proc macros are not
    /// affected. cargo reads flags from a single source, so the flag is added to the source that cargo would use.
    fn link_statically(&mut self, config: &Config) -> Outcome<()> {
        let kind = self.environment.or("STATIC", "");
        let named = config.at(&["build", "target"]).filter(|_| self.environment.raw("CARGO_BUILD_TARGET").is_none());
        let target = match (self.environment.get("CARGO_BUILD_TARGET"), named) {
            (Some(target), _) => target,
            (None, Some(named)) => named.text().to_string(),
            (None, None) => self.toolchain.host.clone(),
        };
        let (front, library) = target.rsplit_once('-').unwrap_or((&target, ""));
        let triple = match kind.as_str() {
            "" => return Ok(()),
            _ if named.is_some() && !library.starts_with(&kind) => {
                let names = "build.target in cargo's configuration is for another C library";
                return Err(failure(&format!("STATIC={} cannot be used because {}: remove one of them", kind, names)));
            }
            "gnu" => target.clone(),
            "musl" => format!("{}-musl", front),
            other => return Err(failure(&format!("STATIC must be gnu or musl, not '{}'", other))),
        };
        let instead = "unset STATIC and add -C target-feature=+crt-static to these flags";
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
            if self.environment.raw(name).is_some() {
                return Err(failure(&format!("STATIC has no effect if {} is set: {}", name, instead)));
            }
        }
        if kind == "musl" {
            let mut rustc = Command::new("rustc");
            rustc.args(["--print", "target-libdir", "--target", &triple]).env_clear().envs(self.environment.0.clone());
            let library = output(&mut rustc)?;
            let there = fs::read_dir(library.trim_end()).into_iter().flatten().flatten();
            if !there.map(|entry| entry.file_name()).any(|name| name.as_bytes().starts_with(b"libstd-")) {
                let remedy = format!("run `rustup target add {}` in the toolchain stage, or set STATIC=gnu", triple);
                return Err(failure(&format!(
                    "the toolchain image has no standard library for {}: {}",
                    triple, remedy
                )));
            }
        }
        let of_target = format!("CARGO_TARGET_{}_RUSTFLAGS", triple.to_uppercase().replace('-', "_"));
        let has = |name: &str| !self.environment.or(name, "").trim().is_empty();
        let in_target = has(&of_target) || config.target_has(&triple, "rustflags");
        let in_build = has("CARGO_BUILD_RUSTFLAGS") || config.at(&["build", "rustflags"]).map_or(false, Json::says);
        if in_build && !in_target && config.any_cfg_has("rustflags") {
            return Err(failure(&format!(
                "STATIC conflicts with build.rustflags and target.'cfg(…)'.rustflags in cargo's configuration: {}",
                instead
            )));
        }
        let name = if in_build && !in_target { "CARGO_BUILD_RUSTFLAGS" } else { of_target.as_str() };
        let before = self.environment.or(name, "");
        if before.contains("-crt-static") || config.mentions("-crt-static") {
            return Err(failure(&format!(
                "STATIC={} conflicts with the flag -crt-static in cargo's configuration",
                kind
            )));
        }
        self.environment.set(name, format!("{} -C target-feature=+crt-static", before).trim_start());
        self.environment.set("CARGO_BUILD_TARGET", &triple);
        Ok(())
    }
}

/// cargo's configuration files, without the environment.
struct Config(Json);

impl Config {
    fn at(&self, path: &[&str]) -> Option<&Json> {
        path.iter().try_fold(&self.0, |table, key| table.get(key))
    }

    fn target_has(&self, triple: &str, key: &str) -> bool {
        self.at(&["target", triple, key]).map_or(false, Json::says)
    }

    /// Returns whether any `[target.'cfg(…)']` contains the key. Only cargo can determine which of them apply.
    fn any_cfg_has(&self, key: &str) -> bool {
        match self.at(&["target"]) {
            Some(Json::Object(tables)) => {
                tables.iter().any(|(name, table)| name.starts_with("cfg(") && table.get(key).map_or(false, Json::says))
            }
            _ => false,
        }
    }

    /// Returns whether any flags that may apply contain the word.
    fn mentions(&self, word: &str) -> bool {
        let mut tables = vec![self.at(&["build"])];
        if let Some(Json::Object(targets)) = self.at(&["target"]) {
            tables.extend(targets.iter().map(|(_, table)| Some(table)));
        }
        tables.into_iter().flatten().any(|table| {
            table.field("rustflags").contains(word)
                || table.list("rustflags").iter().any(|flag| flag.text().contains(word))
        })
    }
}

// ----------------------------------------------------------------------------------------------------- comparing trees

/// A path relative to the top of a tree, as arbitrary bytes. Empty for the top itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name(Vec<u8>);

impl Name {
    fn below(&self, root: &Path) -> PathBuf {
        if self.0.is_empty() {
            root.to_path_buf()
        } else {
            root.join(OsStr::from_bytes(&self.0))
        }
    }

    fn parent(&self) -> Option<Name> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        Some(Name(self.0[..end].to_vec()))
    }

    fn base(&self) -> &[u8] {
        self.0.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }

    fn join(&self, name: &str) -> Name {
        let between: &[u8] = if self.0.is_empty() { b"" } else { b"/" };
        Name([&self.0, between, name.as_bytes()].concat())
    }

    fn is_rust(&self) -> bool {
        self.0.ends_with(b".rs")
    }

    /// Returns whether the name is the directory itself or below it.
    fn is_below(&self, directory: &Name) -> bool {
        let rest = self.0.strip_prefix(&directory.0[..]);
        rest.map_or(false, |rest| directory.0.is_empty() || rest.is_empty() || rest.starts_with(b"/"))
    }
}

impl fmt::Display for Name {
    /// Escapes control characters, because messages are parsed line by line.
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        for character in String::from_utf8_lossy(if self.0.is_empty() { b"." } else { &self.0 }).chars() {
            if character.is_control() {
                write!(to, "{}", character.escape_default())?;
            } else {
                write!(to, "{}", character)?;
            }
        }
        Ok(())
    }
}

/// The type of an entry in a tree. The only relevant permission is the owner's executable bit: set for a `Program`, not
/// set for a `File`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Directory,
    File,
    Program,
    Link,
    Other,
}

impl Kind {
    fn letter(self) -> u8 {
        match self {
            Kind::Directory => b'd',
            Kind::File => b'f',
            Kind::Program => b'x',
            Kind::Link => b'l',
            Kind::Other => b'?',
        }
    }

    fn is_file(self) -> bool {
        matches!(self, Kind::File | Kind::Program)
    }
}

/// The relevant properties of an entry. Two entries are the same if their looks are equal.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Look {
    kind: Kind,
    /// SHA-256 of a file's content, or of a link's target and a newline; zeros for a directory.
    digest: Digest,
}

impl Look {
    const DIRECTORY: Look = Look { kind: Kind::Directory, digest: [0; 32] };

    /// Appends the format used in manifests and the record: a letter, then the digest (not for directories).
    fn append(&self, to: &mut Vec<u8>) {
        to.push(self.kind.letter());
        if self.kind != Kind::Directory {
            append_hex(&self.digest, to);
        }
    }

    fn parse(text: &[u8]) -> Option<Look> {
        let kinds = [Kind::Directory, Kind::File, Kind::Program, Kind::Link];
        let kind = *kinds.iter().find(|kind| Some(&kind.letter()) == text.first())?;
        if kind == Kind::Directory {
            return Some(Look::DIRECTORY).filter(|_| text.len() == 1);
        }
        Some(Look { kind, digest: unhex(&text[1..])? })
    }
}

/// One name in the context, in the mount's copy and in the record of the last sync.
#[derive(Clone)]
struct Entry {
    name: Name,
    context: Option<Look>,
    copied: Option<Look>,
    recorded: Option<Look>,
}

impl Entry {
    fn differs(&self) -> bool {
        self.context != self.copied || self.copied != self.recorded
    }
}

/// All entries, sorted by name.
struct Tree(Vec<Entry>);

impl Tree {
    fn get(&self, name: &Name) -> Option<&Entry> {
        self.0.binary_search_by(|entry| entry.name.cmp(name)).ok().map(|at| &self.0[at])
    }

    fn in_context(&self, name: &Name) -> Option<Look> {
        self.get(name).and_then(|entry| entry.context)
    }

    /// Returns the entries that exist in the context.
    fn context(&self) -> impl Iterator<Item = (&Name, Look)> {
        self.0.iter().filter_map(|entry| entry.context.map(|look| (&entry.name, look)))
    }
}

/// Calls `visit` for every entry below a directory. For a directory, its return value decides whether to descend.
fn walk(root: &Path, visit: &mut dyn FnMut(&fs::DirEntry, Kind, &Name) -> Outcome<bool>) -> Outcome<()> {
    let mut waiting = vec![Name(Vec::new())];
    while let Some(directory) = waiting.pop() {
        let place = directory.below(root);
        for entry in fs::read_dir(&place).doing("list", &place)? {
            let entry = entry.doing("list", &place)?;
            let file_type = entry.file_type().doing("stat", &entry.path())?;
            let kind = match file_type {
                of if of.is_dir() => Kind::Directory,
                of if of.is_symlink() => Kind::Link,
                of if of.is_file() => Kind::File,
                _ => Kind::Other,
            };
            let between: &[u8] = if directory.0.is_empty() { b"" } else { b"/" };
            let name = Name([&directory.0, between, entry.file_name().as_bytes()].concat());
            if visit(&entry, kind, &name)? && kind == Kind::Directory {
                waiting.push(name);
            }
        }
    }
    Ok(())
}

/// An mtime: seconds and nanoseconds.
type Time = (i64, i64);

/// Returns the sorted names of a tree, and the paths in it that are newer than `now` (except links).
fn list(root: &Path, left_out: &[Name], now: Option<Time>) -> Outcome<(Vec<(Name, Kind)>, Vec<PathBuf>)> {
    let (mut names, mut ahead) = (Vec::new(), Vec::new());
    walk(root, &mut |entry, kind, name| {
        if left_out.contains(name) {
            return Ok(false);
        }
        if let (Some(now), true) = (now, kind != Kind::Link) {
            if time_of(&entry.metadata().doing("stat", &entry.path())?) > now {
                ahead.push(entry.path());
            }
        }
        names.push((name.clone(), kind));
        Ok(true)
    })?;
    names.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    Ok((names, ahead))
}

/// Returns the files in target that are newer than `now`. Skips `incremental`, which contains most of the files: rustc
/// does not check mtimes in it.
fn newer_in_target(target: &Path, now: Time) -> Outcome<Vec<PathBuf>> {
    let mut ahead = Vec::new();
    walk(target, &mut |entry, kind, _| {
        let wanted = entry.file_name() != "incremental";
        if wanted && kind != Kind::Link && time_of(&entry.metadata().doing("stat", &entry.path())?) > now {
            ahead.push(entry.path());
        }
        Ok(wanted)
    })?;
    Ok(ahead)
}

fn time_of(found: &fs::Metadata) -> Time {
    (found.mtime(), found.mtime_nsec())
}

/// Reads and compares the contents of two trees.
fn compare(
    context: &Path,
    copy: &Path,
    here: Vec<(Name, Kind)>,
    there: Vec<(Name, Kind)>,
    record: &Record,
) -> Outcome<Tree> {
    let unread = |kind: Option<Kind>| kind.map(|kind| Look { kind, digest: [0; 32] });
    let mut entries: Vec<Mutex<Entry>> = Vec::with_capacity(here.len());
    let (mut here, mut there) = (here.into_iter().peekable(), there.into_iter().peekable());
    loop {
        let order = match (here.peek(), there.peek()) {
            (Some((one, _)), Some((other, _))) => one.cmp(other),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => break,
        };
        let one = if order.is_le() { here.next() } else { None };
        let other = if order.is_ge() { there.next() } else { None };
        let kinds = [&one, &other].map(|found| unread(found.as_ref().map(|(_, kind)| *kind)));
        if let Some((name, _)) = one.or(other) {
            entries.push(Mutex::new(Entry { name, context: kinds[0], copied: kinds[1], recorded: None }));
        }
    }
    parallel(entries.len(), &|at, scratch| lock(&entries[at]).read(context, copy, record, scratch))?;
    Ok(Tree(entries.into_iter().map(|entry| entry.into_inner().unwrap_or_else(|broken| broken.into_inner())).collect()))
}

impl Entry {
    fn read(&mut self, context: &Path, copy: &Path, record: &Record, scratch: &mut Scratch) -> Outcome<()> {
        let kind = |look: Option<Look>| look.map(|look| look.kind);
        let (here, there) = (self.name.below(context), self.name.below(copy));
        match (kind(self.context), kind(self.copied)) {
            (Some(Kind::Other), _) => {
                return Err(failure(&format!("{} in the build context is not a file, symlink or directory", self.name)))
            }
            (Some(Kind::File), Some(Kind::File)) => {
                let (one, other) = read_both(&here, &there, scratch)?;
                self.context = Some(one);
                self.copied = Some(other);
            }
            (one, other) => {
                self.context = one.map(|kind| look(&here, kind, scratch)).transpose()?;
                self.copied = other.map(|kind| look(&there, kind, scratch)).transpose()?;
            }
        }
        self.recorded = record.get(&self.name);
        Ok(())
    }
}

/// Two read buffers, one pair per thread.
struct Scratch(Vec<u8>, Vec<u8>);

fn look(path: &Path, kind: Kind, scratch: &mut Scratch) -> Outcome<Look> {
    match kind {
        Kind::Directory => Ok(Look::DIRECTORY),
        Kind::Link => Ok(Look { kind, digest: link_digest(path)? }),
        Kind::File | Kind::Program => read_one(path, scratch),
        Kind::Other => Ok(Look { kind, digest: [0; 32] }),
    }
}

fn link_digest(path: &Path) -> Outcome<Digest> {
    let mut leads_to = fs::read_link(path).doing("read the link", path)?.into_os_string().into_vec();
    leads_to.push(b'\n');
    Ok(sha256(&leads_to))
}

fn open(path: &Path) -> Outcome<(File, Kind)> {
    let file = File::open(path).doing("read", path)?;
    let mode = file.metadata().doing("stat", path)?.mode();
    Ok((file, if mode & 0o100 != 0 { Kind::Program } else { Kind::File }))
}

fn read_one(path: &Path, scratch: &mut Scratch) -> Outcome<Look> {
    let (mut file, kind) = open(path)?;
    let mut digest = Sha256::new();
    loop {
        let count = fill(&mut file, &mut scratch.0).doing("read", path)?;
        digest.update(&scratch.0[..count]);
        if count < scratch.0.len() {
            return Ok(Look { kind, digest: digest.finish() });
        }
    }
}

/// Reads both files and compares their bytes. Computes a single digest until they differ.
fn read_both(here: &Path, there: &Path, scratch: &mut Scratch) -> Outcome<(Look, Look)> {
    let ((mut one, one_kind), (mut other, other_kind)) = (open(here)?, open(there)?);
    let (mut digest, mut other_digest) = (Sha256::new(), None);
    loop {
        let count = fill(&mut one, &mut scratch.0).doing("read", here)?;
        let other_count = fill(&mut other, &mut scratch.1).doing("read", there)?;
        let (bytes, other_bytes) = (&scratch.0[..count], &scratch.1[..other_count]);
        if other_digest.is_none() && bytes != other_bytes {
            other_digest = Some(digest.clone());
        }
        digest.update(bytes);
        if let Some(other) = &mut other_digest {
            other.update(other_bytes);
        }
        if count < scratch.0.len() && other_count < scratch.1.len() {
            let digest = digest.finish();
            let other = other_digest.map_or(digest, Sha256::finish);
            return Ok((Look { kind: one_kind, digest }, Look { kind: other_kind, digest: other }));
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(from: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match from.read(&mut buffer[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// The files that the last sync left in the mount, sorted by name. File format: `LOOK NAME` and a NUL for each.
struct Record(Vec<(Name, Look)>);

impl Record {
    /// Returns an empty record if the file is missing or invalid.
    fn read(path: &Path) -> Outcome<Record> {
        let text = read_if_there(path)?.unwrap_or_default();
        let mut entries = Vec::new();
        for line in text.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
            let space = line.iter().position(|byte| *byte == b' ').unwrap_or(0);
            match Look::parse(&line[..space]) {
                Some(look) => entries.push((Name(line[space + 1..].to_vec()), look)),
                None => return Ok(Record(Vec::new())),
            }
        }
        Ok(Record(entries))
    }

    fn write(path: &Path, tree: &Tree) -> Outcome<()> {
        let mut text = Vec::new();
        for (name, look) in tree.context() {
            look.append(&mut text);
            text.push(b' ');
            text.extend_from_slice(&name.0);
            text.push(0);
        }
        replace(path, &text)
    }

    fn get(&self, name: &Name) -> Option<Look> {
        self.0.binary_search_by(|(other, _)| other.cmp(name)).ok().map(|at| self.0[at].1)
    }
}

// ------------------------------------------------------------------------------------------------------------ packages

/// A directory with a Cargo.toml, in the context or in the tree compiled last.
struct Package {
    /// The path of its Cargo.toml.
    manifest: Name,
    /// None if Cargo.toml has no `[package]`: a virtual workspace.
    name: Option<String>,
    /// Whether Cargo.toml is in the context.
    present: bool,
    /// Whether it has a build script.
    scripted: bool,
    /// Whether it is vendored. cargo assumes that vendored crates never change and does not recheck their files.
    vendored: bool,
    /// Whether Cargo.toml sets the path of a target or build script outside the package's directory.
    outlying: bool,
    /// Whether it inherits values of `[workspace.package]`.
    inherits: bool,
    /// The names of its dependencies and of its build script's.
    needs: Vec<String>,
    script_needs: Vec<String>,
}

impl Package {
    /// Returns the path of a name relative to the package's directory, if the name is below it.
    fn inside<'n>(&self, name: &'n Name) -> Option<&'n [u8]> {
        name.0.strip_prefix(&self.manifest.0[..self.manifest.0.len() - b"Cargo.toml".len()])
    }

    /// Returns whether a name is in one of the directories in which cargo looks for code.
    fn is_code_of(&self, name: &Name) -> bool {
        let places: [&[u8]; 4] = [b"src", b"tests", b"examples", b"benches"];
        let first = self.inside(name).and_then(|inside| inside.split(|byte| *byte == b'/').next());
        first.map_or(false, |first| places.contains(&first))
    }
}

/// All packages, sorted by manifest. Packages are identified by their index.
struct Packages(Vec<Package>);

impl Packages {
    fn of(tree: &Tree, context: &Path) -> Outcome<Packages> {
        let mut found = Vec::new();
        for Entry { name: manifest, context: here, .. } in
            tree.0.iter().filter(|entry| entry.name.base() == b"Cargo.toml")
        {
            let directory = manifest.parent().unwrap_or_else(|| manifest.clone());
            let place = manifest.below(context);
            // for a dangling link or a link to a directory, cargo reports the error
            let readable = here.is_some() && fs::metadata(&place).map_or(false, |found| found.is_file());
            let text = if readable { fs::read(&place).doing("read", &place)? } else { Vec::new() };
            let read = read_manifest(&String::from_utf8_lossy(&text), &directory);
            found.push(Package {
                manifest: manifest.clone(),
                name: read.name,
                present: here.is_some(),
                scripted: read.scripted || tree.in_context(&directory.join("build.rs")).is_some(),
                vendored: tree.get(&directory.join(".cargo-checksum.json")).is_some(),
                outlying: read.outlying,
                inherits: read.inherits,
                needs: read.needs,
                script_needs: read.script_needs,
            });
        }
        Ok(Packages(found))
    }

    /// Returns the package with the nearest Cargo.toml above a name.
    fn owner(&self, name: &Name) -> Option<usize> {
        let mut above = name.parent();
        while let Some(directory) = above {
            let manifest = directory.join("Cargo.toml");
            if let Ok(at) = self.0.binary_search_by(|package| package.manifest.cmp(&manifest)) {
                return Some(at);
            }
            above = directory.parent();
        }
        None
    }

    /// Returns the vendored packages that a link that differs leads to, and those with a link to a name that differs.
    fn vendored_behind_links(&self, tree: &Tree, roots: Roots) -> Outcome<Vec<usize>> {
        let is_link = |look: Option<Look>| look.map_or(false, |look| look.kind == Kind::Link);
        let mut found = Vec::new();
        for entry in tree.0.iter().filter(|entry| is_link(entry.context) || is_link(entry.copied)) {
            let owner = self.owner(&entry.name).filter(|owner| self.0[*owner].vendored);
            if !entry.differs() && owner.is_none() {
                continue;
            }
            for root in [roots.context, roots.src] {
                let leads_to = match leads_to(&entry.name, root)? {
                    Some(name) => name,
                    None => continue,
                };
                if entry.differs() {
                    let inside = |at: &usize| self.0[*at].vendored && self.0[*at].manifest.is_below(&leads_to);
                    found.extend((0..self.0.len()).filter(inside));
                }
                if tree.0.iter().any(|other| other.differs() && other.name.is_below(&leads_to)) {
                    found.extend(owner);
                }
            }
        }
        Ok(found)
    }

    /// Returns the packages of the workspace that are compiled into a package's build script.
    fn needed_by_script(&self, at: usize) -> Vec<usize> {
        let named = |names: &[String]| -> Vec<usize> {
            let is = |package: &Package| package.name.as_ref().map_or(false, |name| names.contains(name));
            (0..self.0.len()).filter(|at| is(&self.0[*at])).collect()
        };
        let mut found = named(&self.0[at].script_needs);
        let mut next = 0;
        while next < found.len() {
            let more = named(&self.0[found[next]].needs);
            more.into_iter().for_each(|at| {
                if !found.contains(&at) {
                    found.push(at)
                }
            });
            next += 1;
        }
        found
    }

    /// Like `owner`, but returns None for a virtual workspace.
    fn owning_package(&self, name: &Name) -> Option<usize> {
        self.owner(name).filter(|at| self.0[*at].name.is_some())
    }
}

/// Resolves all links in a name below a directory. Returns None if it does not lead to anything in the directory.
fn leads_to(name: &Name, root: &Path) -> Outcome<Option<Name>> {
    let place = name.below(root);
    if !leads_anywhere(&place)? {
        return Ok(None);
    }
    let real = fs::canonicalize(&place).doing("resolve the link", &place)?;
    let root = fs::canonicalize(root).doing("resolve", root)?;
    Ok(real.strip_prefix(root).ok().map(|inside| Name(inside.as_os_str().as_bytes().to_vec())))
}

/// Follows links. Returns false if there is nothing, or a loop.
fn leads_anywhere(path: &Path) -> Outcome<bool> {
    const NOT_A_DIRECTORY: i32 = 20;
    const LOOP: i32 = 40;
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if matches!(error.raw_os_error(), Some(NOT_A_DIRECTORY | LOOP)) => Ok(false),
        found => found.doing("stat", path).map(|_| true),
    }
}

/// The relevant content of a Cargo.toml.
#[derive(Default)]
struct Manifest {
    /// None without a `[package]`.
    name: Option<String>,
    /// Whether it sets a build script.
    scripted: bool,
    outlying: bool,
    inherits: bool,
    needs: Vec<String>,
    script_needs: Vec<String>,
}

fn read_manifest(text: &str, directory: &Name) -> Manifest {
    let (mut table, mut found) = (String::new(), Manifest::default());
    for line in text.lines().map(str::trim_start) {
        if line.starts_with('[') {
            table = header(line);
            if table == "[package]" && found.name.is_none() {
                found.name = Some(directory.to_string());
            }
        }
        if table.contains("dependencies") {
            let needs = if table.contains("build-") { &mut found.script_needs } else { &mut found.needs };
            needs.extend(dependency(line).map(String::from));
        }
        if line.starts_with('[') {
            continue;
        }
        let inside = table == "[package]";
        if let (true, Some((left, right))) = (inside, line.split_once('=')) {
            match left.trim() {
                "name" => found.name = quoted_value(right).map(String::from).or_else(|| found.name.take()),
                "build" => {
                    found.scripted = true;
                    found.outlying |= leads_out(right);
                }
                _ => {}
            }
        }
        let of_packages = ["dependencies", "[patch", "[replace"];
        if !of_packages.iter().any(|word| table.contains(word) || line.starts_with(word)) {
            let values = line.split("path").skip(1).filter_map(|rest| rest.trim_start().strip_prefix('='));
            found.outlying |= values.into_iter().any(leads_out);
        }
        let of_package = table.starts_with("[package") || (table.is_empty() && line.starts_with("package"));
        found.inherits |= of_package && line.contains("workspace");
    }
    found
}

/// Returns the header of a table without spaces, quotes and comments.
fn header(line: &str) -> String {
    let head = line.split('#').next().unwrap_or_default();
    head.chars().filter(|c| !c.is_whitespace() && *c != '"' && *c != '\'').collect()
}

/// Returns the names that a line of a table of dependencies may contain: of `[dependencies.NAME]`, `NAME = …`, or
/// `package = "NAME"`.
fn dependency(line: &str) -> impl Iterator<Item = &str> {
    let key = match line.strip_prefix('[') {
        Some(head) => head.split(']').next().and_then(|head| head.rsplit('.').next()),
        None => line.split(|c| c == '=' || c == '.').next(),
    };
    let key = key.map(|key| key.trim_matches(|c: char| c.is_whitespace() || c == '"' || c == '\''));
    key.into_iter().chain(line.split("package").nth(1).and_then(quoted_value))
}

/// Returns the first string in a TOML value.
fn quoted_value(text: &str) -> Option<&str> {
    text.split(|c| c == '"' || c == '\'').nth(1)
}

/// Returns whether the first string in a TOML value is a path that leads out of a directory.
fn leads_out(text: &str) -> bool {
    quoted_value(text).map_or(false, |path| path.starts_with('/') || path.split('/').any(|part| part == ".."))
}

/// Returns the lines of a workspace's Cargo.toml that its packages inherit: those of `[workspace.package]`. Returns the
/// whole text if the table is written in another way.
fn inherited_lines(text: &str) -> String {
    let (mut table, mut lines) = (String::new(), Vec::new());
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            table = header(line);
        } else if table.starts_with("[workspace.package") {
            lines.push(line);
        } else if (table == "[workspace]" && line.starts_with("package")) || line.starts_with("workspace.package") {
            return text.into();
        }
    }
    lines.retain(|line| !line.is_empty() && !line.starts_with('#'));
    lines.join("\n")
}

/// Returns whether the code contains words that suggest that it reads files outside its package.
fn looks_outside(code: &[u8]) -> bool {
    let words: [&[u8]; 7] = [b"../", b"\"..\"", b"/..\"", b"parent()", b"ancestors(", b"pop()", b"WORKSPACE"];
    code.iter().enumerate().any(|(at, byte)| {
        matches!(byte, b'.' | b'"' | b'/' | b'p' | b'a' | b'W') && words.iter().any(|word| code[at..].starts_with(word))
    })
}

// ------------------------------------------------------------------------------------------------------------ the plan

/// The reason why something is recompiled.
#[derive(Clone)]
enum Reason {
    Environment,
    Interrupted,
    Clock,
    NoRecord,
    Added(Name),
    Deleted(Name),
    Changed(Name),
    Written(Name),
}

impl fmt::Display for Reason {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Reason::Environment => write!(to, "environment changed"),
            Reason::Interrupted => write!(to, "the last sync was interrupted"),
            Reason::Clock => write!(to, "the clock was set back"),
            Reason::NoRecord => write!(to, "no record of the last sync"),
            Reason::Added(name) => write!(to, "{} added", name),
            Reason::Deleted(name) => write!(to, "{} deleted", name),
            Reason::Changed(name) => write!(to, "{} changed", name),
            Reason::Written(name) => write!(to, "{} was written by the build", name),
        }
    }
}

/// The directories that a plan is about.
#[derive(Clone, Copy)]
struct Roots<'a> {
    context: &'a Path,
    src: &'a Path,
    target: &'a Path,
}

/// The changes to make to the mount, in this order.
#[derive(Default)]
struct Plan {
    delete: Vec<Name>,
    make: Vec<Name>,
    copy: Vec<(Name, Kind)>,
    /// Packages whose cargo fingerprints are deleted.
    forget: Vec<String>,
    /// Directories of build scripts (`build/NAME-HASH`) that run again and must find an empty `OUT_DIR`.
    empty: Vec<PathBuf>,
    touch: Vec<Name>,
    /// Messages for the user: what is recompiled, and why.
    said: Vec<String>,
}

impl Plan {
    /// `everything`: the reason to recompile the whole workspace, if one is already known.
    fn new(tree: &Tree, recorded: bool, everything: Option<Reason>, roots: Roots) -> Outcome<Plan> {
        let mut plan = Plan::default();
        let first = tree.0.iter().all(|entry| entry.copied.is_none()); // no earlier sync, so nothing has been compiled
        let read = everything.is_some() || !recorded || tree.0.iter().any(Entry::differs);
        let packages = if read { Packages::of(tree, roots.context)? } else { Packages(Vec::new()) };
        let marked = packages.0.iter().map(|_| None).collect();
        let mut marks = Marks {
            tree,
            packages: &packages,
            roots,
            everything,
            marked,
            outside_readers_marked: false,
            records: Vec::new(),
        };
        if !recorded {
            marks.mark_everything(&Reason::NoRecord);
        }
        let mut forgotten: Vec<bool> = packages.0.iter().map(|_| false).collect();
        for entry in tree.0.iter().filter(|entry| entry.differs()) {
            plan.make_equal(entry);
            // step: vendored {
            if let Some(owner) = packages.owner(&entry.name).filter(|owner| packages.0[*owner].vendored) {
                forgotten[owner] = true;
            }
            // step: vendored }
            if !first {
                marks.judge(entry)?;
            }
        }
        // step: vendored-links {
        for at in packages.vendored_behind_links(tree, roots)? {
            forgotten[at] = true;
        }
        // step: vendored-links }
        let forgotten = packages.0.iter().zip(forgotten).filter(|(_, forgotten)| *forgotten);
        for name in forgotten.filter_map(|(package, _)| package.name.clone()) {
            if !first {
                plan.said.push(format!("marked {} (vendored sources changed)", name));
            }
            plan.forget.push(name);
        }
        // step: out-dir {
        plan.empty = marks.scripts_that_run_again(first)?;
        // step: out-dir }
        if first {
            return Ok(plan);
        }
        let Marks { everything, marked, .. } = marks;
        let mut all = false;
        // step: everything {
        if let Some(reason) = everything {
            all = true;
            plan.said.push(format!("marked everything ({})", reason));
            plan.touch.push(Name(Vec::new()));
            plan.touch.extend(tree.context().filter(|(_, look)| look.kind != Kind::Link).map(|(name, _)| name.clone()));
        }
        // step: everything }
        if !all {
            for (package, reason) in packages.0.iter().zip(&marked) {
                if let (Some(name), Some(reason)) = (&package.name, reason) {
                    plan.said.push(format!("marked {} ({})", name, reason));
                }
            }
            if marked.iter().all(Option::is_none) {
                return Ok(plan);
            }
            // step: mark {
            let code = tree.context().filter(|(name, look)| name.is_rust() && look.kind.is_file());
            let code = code.filter(|(name, _)| packages.owner(name).map_or(false, |owner| marked[owner].is_some()));
            plan.touch.extend(code.map(|(name, _)| name.clone()));
            // step: mark }
        }
        // step: links {
        // cargo follows links, so it checks the mtime of the target, which may be old and is not touched: it may be
        // outside the sources. A package without code in its own directory has nothing to touch
        let [mut linked, mut coded] = [(); 2].map(|_| vec![false; packages.0.len()]);
        for (name, look) in tree.context().filter(|(name, look)| look.kind == Kind::Link || name.is_rust()) {
            if let Some(owner) = packages.owner(name) {
                linked[owner] |= look.kind == Kind::Link;
                coded[owner] |= look.kind.is_file();
            }
        }
        // step: outlying {
        packages.0.iter().zip(&mut linked).for_each(|(package, linked)| *linked |= package.outlying);
        // step: outlying }
        let compiled = |at: usize| marked[at].is_some() || (all && !packages.0[at].vendored);
        let beyond = (0..packages.0.len()).filter(|at| compiled(*at) && (linked[*at] || !coded[*at]));
        plan.forget.extend(beyond.filter_map(|at| packages.0[at].name.clone()));
        // step: links }
        Ok(plan)
    }

    /// Adds the changes that make the mount's copy equal to the context.
    fn make_equal(&mut self, found: &Entry) {
        if found.context == found.copied {
            return;
        }
        let kind = |look: &Option<Look>| look.map(|look| look.kind);
        let (here, there) = (kind(&found.context), kind(&found.copied));
        // step: delete {
        if there.is_some() && (here != there || !there.map_or(false, Kind::is_file)) {
            self.delete.push(found.name.clone());
        }
        // step: delete }
        match here {
            Some(Kind::Directory) => self.make.push(found.name.clone()),
            Some(kind) => self.copy.push((found.name.clone(), kind)),
            None => {}
        }
    }

    fn apply(&self, Roots { context, src, target }: Roots) -> Outcome<()> {
        for text in &self.said {
            say(text);
        }
        for name in &self.delete {
            remove(&name.below(src))?;
        }
        for name in &self.make {
            create_directory(&name.below(src))?;
        }
        parallel(self.copy.len(), &|at, _| {
            let (name, kind) = &self.copy[at];
            copy(&name.below(context), &name.below(src), *kind)
        })?;
        if !self.forget.is_empty() {
            self.forget_fingerprints(target)?;
        }
        for directory in &self.empty {
            remove(&fingerprint_of(directory))?;
            remove(&directory.join("out"))?;
            create_directory(&directory.join("out"))?;
        }
        parallel(self.touch.len(), &|at, _| set_time(&self.touch[at].below(src), None))
    }

    fn forget_fingerprints(&self, target: &Path) -> Outcome<()> {
        let forgotten = units(target, b".fingerprint", &|package| self.forget.iter().any(|name| name == package))?;
        forgotten.iter().try_for_each(|(_, path)| remove(path))
    }
}

/// Returns cargo's directories for packages: `target/[TRIPLE/]PROFILE/PART/NAME-HASH`.
fn units(target: &Path, part: &[u8], wanted: &dyn Fn(&str) -> bool) -> Outcome<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    walk(target, &mut |entry, kind, name| {
        let parts: Vec<&[u8]> = name.0.split(|byte| *byte == b'/').collect();
        let unit = parts.last().and_then(|last| std::str::from_utf8(last).ok()).and_then(|last| last.rsplit_once('-'));
        let within = parts.len() >= 2 && parts[parts.len() - 2] == part;
        if let (true, Some((package, _))) = (within && kind == Kind::Directory, unit) {
            if wanted(package) {
                found.push((package.to_string(), entry.path()));
            }
        }
        Ok(kind == Kind::Directory && !within && (parts.len() < 3 || parts[parts.len() - 1] == part))
    })?;
    Ok(found)
}

/// Returns the fingerprint that belongs to `build/NAME-HASH`.
fn fingerprint_of(build: &Path) -> PathBuf {
    let profile = build.ancestors().nth(2).unwrap_or(build);
    profile.join(".fingerprint").join(build.file_name().unwrap_or_default())
}

/// What cargo knows about the last run of a build script.
struct Run {
    /// Whether it declared inputs. If not, cargo runs it again when any file of the package changes.
    declares: bool,
    /// The declared files and directories in the sources.
    paths: Vec<Name>,
}

impl Run {
    /// Reads `build/NAME-HASH/output`.
    fn read(build: &Path, directory: &Name, src: &Path) -> Outcome<Run> {
        let text = read_if_there(&build.join("output"))?.unwrap_or_default();
        let mut run = Run { declares: false, paths: Vec::new() };
        for line in String::from_utf8_lossy(&text).lines() {
            let line = line.strip_prefix("cargo:").map_or("", |line| line.trim_start_matches(':'));
            run.declares |= line.starts_with("rerun-if-");
            if let Some(path) = line.strip_prefix("rerun-if-changed=") {
                let path = Path::new("/").join(OsStr::from_bytes(&directory.0)).join(path);
                let path = path.strip_prefix(src).or_else(|_| path.strip_prefix("/")).unwrap_or(&path);
                run.paths.push(Name(normal(path.as_os_str().as_bytes())));
            }
        }
        Ok(run)
    }

    /// Returns whether the last run succeeded: cargo empties the fingerprint before the script runs.
    fn succeeded(build: &Path) -> Outcome<bool> {
        let (fingerprint, mut found) = (fingerprint_of(build), false);
        if exists(&fingerprint)? {
            for entry in fs::read_dir(&fingerprint).doing("list", &fingerprint)? {
                let path = entry.doing("list", &fingerprint)?.path();
                let is_hash = path.file_name().map_or(false, |name| name.as_bytes().starts_with(b"run-build-script"))
                    && path.extension().is_none();
                found |= is_hash && fs::metadata(&path).doing("stat", &path)?.len() > 0;
            }
        }
        Ok(found)
    }
}

/// Resolves `.` and `..` in a path.
fn normal(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"." => {}
            b".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join(&b'/')
}

/// Returns whether one of the paths in cargo's record ends with the path of a file. Lengths and flags between the paths
/// contain control characters.
fn lists(record: &[u8], file: &[u8]) -> bool {
    let base = file.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    record
        .split(|byte| *byte < b' ')
        .filter(|path| path.ends_with(base))
        .any(|path| normal(path).strip_suffix(file).map_or(false, |before| before.is_empty() || before.ends_with(b"/")))
}

/// The packages marked by the differences.
struct Marks<'a> {
    tree: &'a Tree,
    packages: &'a Packages,
    roots: Roots<'a>,
    everything: Option<Reason>,
    /// The first reason for each package.
    marked: Vec<Option<Reason>>,
    outside_readers_marked: bool,
    /// What cargo compiled, for each package for which it has been read (None: for all packages).
    records: Vec<(Option<String>, Vec<Compiled>)>,
}

/// The files that rustc reported for a target: `target/[TRIPLE/]PROFILE/.fingerprint/NAME-HASH/dep-TARGET`, in a binary
/// format, with paths that are absolute or relative to the package.
struct Compiled {
    is_script: bool,
    files: Vec<u8>,
}

impl Marks<'_> {
    fn judge(&mut self, found: &Entry) -> Outcome<()> {
        // step: generated {
        if found.copied != found.recorded {
            return self.written(&found.name);
        }
        // step: generated }
        if let (Some(here), Some(there), true) = (found.context, found.copied, found.name.is_rust()) {
            if here.kind == there.kind && here.kind.is_file() {
                return self.plain_edit(&found.name);
            }
        }
        // step: attribute {
        if found.context != found.copied {
            let name = found.name.clone();
            let reason = match (found.context, found.copied) {
                (None, _) => Reason::Deleted(name),
                (_, None) => Reason::Added(name),
                _ => Reason::Changed(name),
            };
            self.attribute(&found.name, found.context.is_some(), &reason)?;
        }
        // step: attribute }
        Ok(())
    }

    fn mark(&mut self, package: usize, reason: &Reason) {
        self.marked[package].get_or_insert_with(|| reason.clone());
    }

    fn mark_everything(&mut self, reason: &Reason) {
        self.everything.get_or_insert_with(|| reason.clone());
    }

    fn attribute(&mut self, name: &Name, present: bool, reason: &Reason) -> Outcome<()> {
        let is_manifest = name.base() == b"Cargo.toml";
        let packages = self.packages;
        let owner = packages.owner(name);
        match owner.map(|owner| (owner, &packages.0[owner])) {
            // cargo handles the effect on crates, but does not know which build scripts and macros read the file
            found if name.base() == b"Cargo.lock" => {
                self.mark_scripted(reason);
                // step: lock {
                if let Some((owner, _)) = found.filter(|(_, package)| package.name.is_some()) {
                    self.mark(owner, reason);
                }
                // step: lock }
                let _ = found;
            }
            Some((_, package)) if is_manifest && present && package.name.is_none() => self.mark_scripted(reason),
            Some((owner, package)) if package.name.is_some() => {
                self.mark(owner, reason);
                self.mark_nested(owner, name, reason);
            }
            // a package that was deleted, or a directory that is no longer a package
            Some((_, package)) if !package.present => {}
            _ => self.mark_everything(reason),
        }
        // step: inherited {
        if is_manifest && self.changes_inherited_lines(name)? {
            for at in (0..packages.0.len()).filter(|at| packages.0[*at].inherits) {
                self.mark(at, reason);
            }
        }
        // step: inherited }
        if is_manifest {
            if let Some(around) = name.parent().and_then(|directory| packages.owning_package(&directory)) {
                self.mark(around, reason);
            }
        }
        self.mark_who_looks_outside(reason)
    }

    /// A package around other packages, usually the root package of a workspace: like files outside all packages, its
    /// files may be read by the packages in it, except for code. If the file is a Cargo.toml, cargo handles the effect
    /// on crates.
    fn mark_nested(&mut self, owner: usize, name: &Name, reason: &Reason) {
        // step: nested {
        let (packages, around) = (self.packages, &self.packages.0[owner]);
        if around.vendored || around.is_code_of(name) {
            return;
        }
        let is_manifest = name.base() == b"Cargo.toml";
        for (at, package) in packages.0.iter().enumerate() {
            let nested = at != owner && !package.vendored && around.inside(&package.manifest).is_some();
            if nested && (package.scripted || !is_manifest) {
                self.mark(at, reason);
            }
        }
        // step: nested }
        let _ = (owner, name, reason);
    }

    /// Returns whether a Cargo.toml changes values that packages inherit.
    fn changes_inherited_lines(&self, name: &Name) -> Outcome<bool> {
        let mut lines = Vec::new();
        for root in [self.roots.context, self.roots.src] {
            let place = name.below(root);
            let readable = leads_anywhere(&place)? && fs::metadata(&place).doing("stat", &place)?.is_file();
            let text = if readable { fs::read(&place).doing("read", &place)? } else { Vec::new() };
            lines.push(inherited_lines(&String::from_utf8_lossy(&text)));
        }
        Ok(lines[0] != lines[1])
    }

    /// An edit of a `.rs` file is left to cargo. But if cargo did not record that rustc compiled the file, a macro may
    /// read it as data, unless it looks like code of a test or of a program that is not built.
    fn plain_edit(&mut self, name: &Name) -> Outcome<()> {
        // step: data {
        let reason = Reason::Changed(name.clone());
        match self.packages.owning_package(name) {
            Some(owner) => {
                let package = &self.packages.0[owner];
                let inside = package.inside(name).unwrap_or_default();
                let for_tests: [&[u8]; 3] = [b"tests/", b"examples/", b"benches/"];
                let is_code = package.vendored
                    || inside == b"build.rs"
                    || for_tests.iter().any(|directory| inside.starts_with(directory))
                    || self.compiles(package.name.as_deref(), false, inside)?
                    || self.is_target_or_module(owner, name, inside)?;
                if !is_code {
                    self.attribute(name, true, &reason)?;
                }
            }
            // a package can only read it through a link or a path that leads out of its directory
            None if self.compiles(None, false, &name.0)? => {}
            None => self.mark_who_looks_outside(&reason)?,
        }
        // step: data }
        let _ = name;
        Ok(())
    }

    /// Returns whether a file is a program or library by its path, or a module declared anywhere in its package.
    fn is_target_or_module(&self, owner: usize, name: &Name, inside: &[u8]) -> Outcome<bool> {
        if inside == b"src/lib.rs" || inside == b"src/main.rs" || inside.starts_with(b"src/bin/") {
            return Ok(true);
        }
        let module = match name.base() {
            b"mod.rs" => name.parent().unwrap_or_else(|| name.clone()).base().to_vec(),
            file => file[..file.len() - b".rs".len()].to_vec(),
        };
        let declaration = [b"mod ", &module[..], b";"].concat();
        for (other, look) in self.tree.context().filter(|(other, _)| other.is_rust()) {
            if look.kind.is_file() && self.packages.owner(other) == Some(owner) {
                let path = other.below(self.roots.context);
                let code = fs::read(&path).doing("read", &path)?;
                if code.windows(declaration.len()).any(|words| words == declaration) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Returns whether cargo recorded that rustc compiled a file of a package (None: of all packages), or of its build
    /// script. Reads the records of each package at most once.
    fn compiles(&mut self, package: Option<&str>, script: bool, file: &[u8]) -> Outcome<bool> {
        let at = match self.records.iter().position(|(key, _)| key.as_deref() == package) {
            Some(at) => at,
            None => {
                let records = self.read_records(package)?;
                self.records.push((package.map(String::from), records));
                self.records.len() - 1
            }
        };
        let mut records = self.records[at].1.iter().filter(|record| record.is_script || !script);
        Ok(records.any(|record| lists(&record.files, file)))
    }

    fn read_records(&self, package: Option<&str>) -> Outcome<Vec<Compiled>> {
        let wanted = |name: &str| match package {
            Some(package) => name == package,
            None => self.packages.0.iter().any(|known| !known.vendored && known.name.as_deref() == Some(name)),
        };
        let mut records = Vec::new();
        for (_, directory) in units(self.roots.target, b".fingerprint", &wanted)? {
            for entry in fs::read_dir(&directory).doing("list", &directory)? {
                let path = entry.doing("list", &directory)?.path();
                let name = path.file_name().unwrap_or_default().as_bytes();
                if name.starts_with(b"dep-") {
                    let is_script = name.starts_with(b"dep-build-script");
                    records.push(Compiled { is_script, files: fs::read(&path).doing("read", &path)? });
                }
            }
        }
        Ok(records)
    }

    /// Returns the directories of the build scripts that cargo will run again. cargo leaves the files of the last run
    /// in `OUT_DIR`, where the script or a macro may find them.
    fn scripts_that_run_again(&mut self, first: bool) -> Outcome<Vec<PathBuf>> {
        let (packages, tree) = (self.packages, self.tree);
        let scripted = |package: &Package| package.scripted && package.present && !package.vendored;
        if !packages.0.iter().any(scripted) {
            return Ok(Vec::new());
        }
        let changed: Vec<&Name> = tree.0.iter().filter(|entry| entry.differs()).map(|entry| &entry.name).collect();
        let mut affected: Vec<bool> = self.marked.iter().map(Option::is_some).collect();
        changed.iter().filter_map(|name| packages.owner(name)).for_each(|owner| affected[owner] = true);
        let (all, mut found) = (first || self.everything.is_some(), Vec::new());
        let wanted =
            |name: &str| packages.0.iter().any(|package| scripted(package) && package.name.as_deref() == Some(name));
        for (name, build) in units(self.roots.target, b"build", &wanted)? {
            if !exists(&build.join("out"))? {
                continue; // the directory of a compiled script
            }
            let is = |at: &usize| scripted(&packages.0[*at]) && packages.0[*at].name.as_ref() == Some(&name);
            for at in (0..packages.0.len()).filter(is) {
                let package = &packages.0[at];
                let mut again = all || self.marked[at].is_some();
                again = again || packages.needed_by_script(at).iter().any(|needed| affected[*needed]);
                for file in changed.iter().filter(|name| name.is_rust()).filter_map(|name| package.inside(name)) {
                    again = again || self.compiles(Some(&name), true, file)?;
                }
                if !again {
                    let directory = package.manifest.parent().unwrap_or_else(|| Name(Vec::new()));
                    let run = Run::read(&build, &directory, self.roots.src)?;
                    let declared = changed.iter().any(|name| run.paths.iter().any(|path| name.is_below(path)));
                    again = declared || (affected[at] && !(run.declares && Run::succeeded(&build)?));
                }
                if again {
                    found.push(build.clone());
                }
            }
        }
        Ok(found)
    }

    /// Marks the packages that may have written a file, because only a build can write it again.
    fn written(&mut self, name: &Name) -> Outcome<()> {
        let reason = Reason::Written(name.clone());
        match self.packages.owning_package(name) {
            Some(owner) if self.packages.0[owner].scripted => {
                self.mark(owner, &reason);
                self.mark_scripted(&reason);
                self.mark_who_looks_outside(&reason)
            }
            _ => {
                self.mark_everything(&reason);
                Ok(())
            }
        }
    }

    fn mark_scripted(&mut self, reason: &Reason) {
        // step: scripted {
        for at in 0..self.packages.0.len() {
            if self.packages.0[at].scripted && self.packages.0[at].name.is_some() {
                self.mark(at, reason);
            }
        }
        // step: scripted }
        let _ = reason;
    }

    /// Marks packages that may read files outside their own directory, based on links and source text. They are
    /// determined at most once, on first use.
    fn mark_who_looks_outside(&mut self, reason: &Reason) -> Outcome<()> {
        if std::mem::replace(&mut self.outside_readers_marked, true) {
            return Ok(());
        }
        // step: outlook {
        let found: Vec<AtomicBool> = self.packages.0.iter().map(|_| AtomicBool::new(false)).collect();
        // step: outlying {
        self.packages
            .0
            .iter()
            .zip(&found)
            .for_each(|(package, found)| found.store(package.outlying, Ordering::Relaxed));
        // step: outlying }
        parallel(self.tree.0.len(), &|at, _| {
            let Entry { name, context: look, .. } = &self.tree.0[at];
            let is_link = matches!(look, Some(look) if look.kind == Kind::Link);
            let is_code = name.is_rust() && matches!(look, Some(look) if look.kind.is_file());
            if let Some(owner) = self.packages.owning_package(name).filter(|_| is_link || is_code) {
                let path = name.below(self.roots.context);
                if is_link
                    || (!found[owner].load(Ordering::Relaxed) && looks_outside(&fs::read(&path).doing("read", &path)?))
                {
                    found[owner].store(true, Ordering::Relaxed);
                }
            }
            Ok(())
        })?;
        for (at, _) in found.iter().enumerate().filter(|(_, found)| found.load(Ordering::Relaxed)) {
            self.mark(at, reason);
        }
        // step: outlook }
        let _ = reason;
        Ok(())
    }
}

// ------------------------------------------------------------------------------------------------------------ the sync

impl Step {
    /// Makes `src` equal to the context and every difference visible to cargo. Returns the tree.
    fn sync(&self) -> Outcome<Tree> {
        let began = Instant::now();
        let mut tree = self.sync_once(None)?;
        // step: clock {
        while stamp(&self.state("synced"))?
            < time_of(&fs::metadata(self.state("now")).doing("stat", &self.state("now"))?)
        {
            say("the clock was set back during the sync: syncing again");
            tree = self.sync_once(Some(Reason::Clock))?;
        }
        // step: clock }
        remove(&self.state("pending"))?;
        say(&format!("compared {} names in {:.3} s", tree.0.len(), began.elapsed().as_secs_f64()));
        Ok(tree)
    }

    fn sync_once(&self, why: Option<Reason>) -> Outcome<Tree> {
        let (context, src, target) = (&self.places.context, &self.src(), &self.target());
        let mut everything = why;
        // step: env {
        let environment = self.environment_digest()?;
        let before = read_if_there(&self.state("env"))?;
        if before.map_or(false, |before| before != environment.as_bytes()) {
            everything = Some(Reason::Environment);
        }
        // step: env }
        // step: pending {
        if exists(&self.state("pending"))? {
            everything = Some(Reason::Interrupted);
        }
        // step: pending }
        write(&self.state("pending"), b"")?;
        let now = stamp(&self.state("now"))?;
        let left_out = [self.wanted.source.join("target"), Places::own_name()];
        let lists = [(); 3].map(|_| Mutex::new((Vec::new(), Vec::new())));
        side_by_side(3, &|at, _| {
            *lock(&lists[at]) = match at {
                0 => list(context, &left_out, None)?,
                1 => list(src, &left_out, Some(now))?,
                _ => (Vec::new(), newer_in_target(target, now)?),
            };
            Ok(())
        })?;
        let [(here, _), (there, mut ahead), (_, in_target)] = lists.map(|list| std::mem::take(&mut *lock(&list)));
        ahead.extend(in_target);
        let record = Record::read(&self.state("tree"))?;
        let tree = compare(context, src, here, there, &record)?;
        // step: clock {
        if !ahead.is_empty() {
            everything = Some(Reason::Clock);
            self.bring_back(&ahead, now)?;
        }
        // step: clock }
        let roots = Roots { context, src, target };
        Plan::new(&tree, !record.0.is_empty(), everything, roots)?.apply(roots)?;
        if tree.0.iter().any(Entry::differs) || record.0.len() != tree.context().count() {
            Record::write(&self.state("tree"), &tree)?;
        }
        // step: env {
        replace(&self.state("env"), environment.as_bytes())?;
        // step: env }
        Ok(tree)
    }

    /// Creates the tree for this toolchain and these system libraries, and removes trees that have not been used
    /// recently.
    fn choose_base(&self) -> Outcome<()> {
        let mount = &self.places.mount;
        if !exists(&self.base)? {
            let mut used: Vec<(Time, String)> = Vec::new();
            for entry in fs::read_dir(mount).doing("list", mount)? {
                let entry = entry.doing("list", mount)?;
                if let Some(name) = entry.file_name().to_str().and_then(|name| name.strip_suffix(".used")) {
                    let time = time_of(&entry.metadata().doing("stat", &entry.path())?);
                    let at = used.iter().position(|(other, _)| *other < time).unwrap_or(used.len());
                    used.insert(at, (time, name.into()));
                }
            }
            let ours = format!("{}-", FORMAT);
            if used.iter().any(|(_, name)| !name.starts_with(&ours)) {
                say("starting from scratch: the mount contains a tree from another version of the compile step");
            }
            for (_, name) in used.iter().skip(KEEP - 1) {
                remove(&mount.join(name))?;
                remove(&mount.join(format!("{}.used", name)))?;
                say(&format!("removed {} (objects of a toolchain that has not been used recently)", name));
            }
        }
        for part in ["src", "target", "state"] {
            create_directory(&self.base.join(part))?;
        }
        stamp(&self.base.with_extension("used")).map(drop)
    }

    /// Returns a digest of the environment, which build scripts and proc macros may read without declaring it. Only a
    /// digest is stored, because a mount's content may be copied to other machines, and the variables may be secret.
    fn environment_digest(&self) -> Outcome<String> {
        let mut variables: Vec<(Vec<u8>, Kind)> = Vec::new();
        for (name, value) in self.environment.seen_by_cargo() {
            let upper = name.to_string_lossy().to_uppercase();
            if !PROXIES.iter().any(|proxy| upper == *proxy) {
                variables.push(([name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat(), Kind::Other));
            }
        }
        variables.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        let mut digest = Sha256::new();
        variables.iter().for_each(|(text, _)| digest.update(text));
        // step: source {
        // cargo does not distinguish members of two workspaces with the same name, version and relative path
        digest.update(&[b"SOURCE=", &self.wanted.source.0[..], b"\0"].concat());
        // step: source }
        // this may be a secret: BuildKit ignores changes to it, but if the step runs, they are detected here
        digest.update(&read_if_there(&self.cargo_home.join("config.toml"))?.unwrap_or_default());
        Ok(hex(&digest.finish()))
    }

    /// Resets mtimes in the future, which come from a clock that was ahead. Current edits would look older than these
    /// files.
    fn bring_back(&self, ahead: &[PathBuf], now: Time) -> Outcome<()> {
        parallel(ahead.len(), &|at, _| set_time(&ahead[at], Some(now)))?;
        // marks must be strictly later: wait for one tick of the file system's clock
        let began = Instant::now();
        while stamp(&self.state("now"))? <= now && began.elapsed() < Duration::from_secs(3) {
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

// ----------------------------------------------------------------------------------------------------- what to compile

/// A workspace member, as reported by `cargo metadata`.
struct Member {
    name: String,
    version: String,
    bins: Vec<String>,
    default: bool,
}

impl Step {
    fn cargo(&self, directory: &Path, words: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command.args(words).current_dir(directory).stdin(Stdio::null()).env_clear();
        command.envs(self.environment.seen_by_cargo().cloned());
        command
    }

    /// Starts `cargo metadata` to list the workspace members. It runs while the sources are compared, which takes about
    /// as long.
    fn ask_for_the_workspace(&self) -> Outcome<Child> {
        let (place, answer) = (self.wanted.source.below(&self.places.context), self.state("metadata"));
        let mut command = self.cargo(&place, &["metadata", "--no-deps", "--offline", "--format-version", "1"]);
        command.stdout(File::create(&answer).doing("write", &answer)?).stderr(Stdio::piped());
        command.spawn().doing("start", Path::new("cargo"))
    }

    fn members(&self, asked: Child) -> Outcome<Vec<Member>> {
        let done = asked.wait_with_output().doing("wait for", Path::new("cargo"))?;
        if !done.status.success() {
            let _ = io::stderr().write_all(&done.stderr);
            return Err(ended(done.status));
        }
        let answer = self.state("metadata");
        let json = Json::parse(&fs::read(&answer).doing("read", &answer)?)
            .ok_or_else(|| failure("cargo metadata printed invalid JSON"))?;
        let manifest = self.wanted.source.join("Cargo.toml").below(&self.src());
        let text = fs::read_to_string(&manifest).doing("read", &manifest)?;
        let defaults = json.list("workspace_default_members");
        let all = defaults.is_empty() || !names_default_members(&text);
        let mut members = Vec::new();
        for package in json.list("packages") {
            let is_in = |ids: &[Json]| ids.iter().any(|id| id.text() == package.field("id"));
            if is_in(json.list("workspace_members")) {
                let bins = package
                    .list("targets")
                    .iter()
                    .filter(|target| target.list("kind").iter().any(|kind| kind.text() == "bin"));
                members.push(Member {
                    name: package.field("name").into(),
                    version: package.field("version").into(),
                    bins: bins.map(|target| target.field("name").into()).collect(),
                    default: all || is_in(defaults),
                });
            }
        }
        Ok(members)
    }
}

/// Returns whether the workspace sets `default-members`. If not, cargo reports all members or the root package.
fn names_default_members(manifest: &str) -> bool {
    manifest.lines().any(|line| line.split('=').next().map_or(false, |key| key.trim() == "default-members"))
}

/// The packages and programs to build.
///
/// The selected packages determine the features of shared dependencies. The selection is therefore the same for every
/// requested program: the packages of all programs that ship. `PROGRAMS` lists these programs; the default is the
/// programs of the workspace's `default-members`, or of all members. Selected programs that are not requested are not
/// compiled.
struct Selection {
    /// `-p NAME:VERSION …`
    packages: Vec<String>,
    /// `--bin NAME …`
    targets: Vec<String>,
    /// `--features …`
    features: Vec<String>,
}

impl Selection {
    fn new(wanted: &Wanted, members: &[Member]) -> Outcome<Selection> {
        let owns = |member: &Member, names: &[String]| member.bins.iter().any(|bin| names.contains(bin));
        for name in wanted.bins.iter().chain(&wanted.programs) {
            if !members.iter().any(|member| member.bins.contains(name)) {
                let there: Vec<&str> = members.iter().flat_map(|member| &member.bins).map(String::as_str).collect();
                let there = there.join(" ");
                return Err(Failure {
                    code: 101,
                    text: format!("no binary '{}' in the workspace; available: {}", name, there),
                });
            }
        }
        let ships = |member: &&Member| match &wanted.programs[..] {
            [] => member.default && !member.bins.is_empty(),
            names => owns(member, names),
        };
        let selected: Vec<&Member> =
            members.iter().filter(|member| ships(member) || owns(member, &wanted.bins)).collect();
        if selected.is_empty() {
            return Err(failure("the workspace has no binaries"));
        }
        let named = |option: &str, names: &[String]| -> Vec<String> {
            names.iter().flat_map(|name| [option.to_string(), name.clone()]).collect()
        };
        let specs: Vec<String> = selected.iter().map(|member| format!("{}:{}", member.name, member.version)).collect();
        let targets = match (&wanted.bins[..], &wanted.programs[..]) {
            ([], []) => vec!["--bins".to_string()],
            ([], all) => named("--bin", all),
            (some, _) => named("--bin", some),
        };
        let mut features = named("--features", &wanted.features);
        if !wanted.default_features {
            features.push("--no-default-features".into());
        }
        Ok(Selection { packages: named("-p", &specs), targets, features })
    }
}

// --------------------------------------------------------------------------------------------------------------- cargo

/// The relevant content of cargo's JSON messages.
#[derive(Default)]
struct Messages {
    /// Whether cargo got as far as compiling.
    finished: bool,
    /// The package of every artifact, and whether the artifact was fresh.
    artifacts: Vec<(String, bool)>,
    made: Vec<Program>,
}

/// A program that cargo built or found to be up to date.
struct Program {
    name: String,
    package: String,
    features: Vec<String>,
    path: PathBuf,
}

impl Messages {
    fn take(&mut self, line: &[u8]) {
        let message = Json::parse(line).unwrap_or(Json::Other);
        match message.field("reason") {
            "build-finished" => self.finished = true,
            "compiler-artifact" => {
                let id = message.field("package_id");
                let fresh = !matches!(message.get("fresh"), Some(Json::False));
                self.artifacts.push((id.into(), fresh));
                let target = message.get("target").unwrap_or(&Json::Other);
                if target.list("kind").iter().any(|kind| kind.text() == "bin")
                    && !message.field("executable").is_empty()
                {
                    self.made.push(Program {
                        name: target.field("name").into(),
                        package: package_name(id).into(),
                        features: message.list("features").iter().map(|feature| feature.text().into()).collect(),
                        path: message.field("executable").into(),
                    });
                }
            }
            _ => {}
        }
    }

    /// Returns the number of packages that did not need compiling.
    fn fresh(&self) -> usize {
        let compiled = |id: &str| self.artifacts.iter().any(|(other, fresh)| other == id && !fresh);
        let first = |at: usize, id: &str| self.artifacts[..at].iter().all(|(other, _)| other != id);
        self.artifacts.iter().enumerate().filter(|(at, (id, _))| first(*at, id) && !compiled(id)).count()
    }
}

/// Parses a package id: `NAME VERSION (URL)` before cargo 1.77, `URL#NAME@VERSION` or `URL/NAME#VERSION` since then.
fn package_name(id: &str) -> &str {
    if let Some((name, _)) = id.split_once(' ') {
        return name;
    }
    let (url, fragment) = id.split_once('#').unwrap_or((id, ""));
    fragment.split_once('@').map_or_else(|| url.rsplit('/').next().unwrap_or(url), |(name, _)| name)
}

impl Step {
    fn run_cargo(&self, selection: &Selection) -> Outcome<Messages> {
        let built = self.state(&format!("built-{}", self.wanted.profile));
        if !exists(&built)? {
            self.announce_total(selection)?;
        }
        let mut outcome = self.cargo_build(selection)?;
        // without that message, cargo failed before compiling, possibly because a killed download damaged crates
        if !outcome.0.success() && !outcome.1.finished && self.repair_registry()? {
            outcome = self.cargo_build(selection)?;
        }
        if !outcome.0.success() {
            return Err(ended(outcome.0));
        }
        write(&built, b"")?;
        Ok(outcome.1)
    }

    fn cargo_build(&self, selection: &Selection) -> Outcome<(ExitStatus, Messages)> {
        let mut command = self
            .cargo(&self.wanted.source.below(&self.src()), &["build", "--locked", "--profile", &self.wanted.profile]);
        command.args(["--message-format", "json-render-diagnostics"]);
        command.args(&selection.packages).args(&selection.targets).args(&selection.features);
        command.env("CARGO_TARGET_DIR", self.target()).env("CARGO_BUILD_BUILD_DIR", self.target());
        command.env("CARGO_INCREMENTAL", &self.wanted.incremental);
        let cargo = Path::new("cargo");
        let mut child = command.stdout(Stdio::piped()).spawn().doing("start", cargo)?;
        let mut lines = BufReader::new(child.stdout.take().ok_or_else(|| failure("cannot capture cargo's output"))?);
        let (mut messages, mut line) = (Messages::default(), Vec::new());
        while lines.read_until(b'\n', &mut line).doing("read the output of", cargo)? > 0 {
            messages.take(&line);
            line.clear();
        }
        Ok((child.wait().doing("wait for", cargo)?, messages))
    }

    /// Prints how many packages a first build will compile, for progress displays. Downloads them and shows cargo's
    /// output. Errors are ignored because the build fails with the same error.
    fn announce_total(&self, selection: &Selection) -> Outcome<()> {
        let words = ["tree", "--locked", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"];
        let mut command = self.cargo(&self.wanted.source.below(&self.src()), &words);
        command.args(&selection.packages).args(&selection.features);
        command.args(["--target", &self.toolchain.host]);
        if let Some(target) = self.environment.get("CARGO_BUILD_TARGET") {
            command.args(["--target", &target]);
        }
        let (cargo, answer) = (Path::new("cargo"), self.state("packages"));
        command.stdout(File::create(&answer).doing("write", &answer)?).stderr(Stdio::piped());
        let mut child = command.spawn().doing("start", cargo)?;
        let mut failed = false;
        if let Some(lines) = child.stderr.take() {
            for line in BufReader::new(lines).split(b'\n') {
                let line = line.doing("read the output of", cargo)?;
                failed = failed || line.starts_with(b"error");
                if !failed {
                    eprintln!("{}", String::from_utf8_lossy(&line));
                }
            }
        }
        if child.wait().doing("wait for", cargo)?.success() {
            let text = fs::read_to_string(&answer).doing("read", &answer)?;
            let mut packages: Vec<&str> = Vec::new();
            for line in text.lines().map(|line| line.trim_end_matches(" (*)")) {
                if !line.is_empty() && !packages.contains(&line) {
                    packages.push(line);
                }
            }
            say(&format!("total {}", packages.len()));
        }
        Ok(())
    }

    /// Removes downloads with a checksum that differs from Cargo.lock, and unpacked crates without cargo's completion
    /// marker. Returns whether any were removed, in which case cargo should run again.
    fn repair_registry(&self) -> Outcome<bool> {
        let (downloads, unpacked) = (self.cargo_home.join("registry/cache"), self.cargo_home.join("registry/src"));
        let lock = self.wanted.source.below(&self.src()).join("Cargo.lock");
        let wanted = checksums(&String::from_utf8_lossy(&read_if_there(&lock)?.unwrap_or_default()));
        let (mut crates, mut damaged) = (Vec::new(), Vec::new());
        if !exists(&downloads)? {
            return Ok(false);
        }
        walk(&downloads, &mut |entry, kind, _| {
            let name = entry.file_name();
            let checksum = wanted.iter().find(|(crate_file, _)| kind == Kind::File && name == crate_file.as_str());
            crates.extend(checksum.map(|(_, checksum)| (entry.path(), checksum.clone())));
            Ok(true)
        })?;
        let wrong: Vec<AtomicBool> = crates.iter().map(|_| AtomicBool::new(false)).collect();
        parallel(crates.len(), &|at, scratch| {
            let (path, checksum) = &crates[at];
            wrong[at].store(hex(&read_one(path, scratch)?.digest) != *checksum, Ordering::Relaxed);
            Ok(())
        })?;
        damaged.extend(
            crates.into_iter().zip(wrong).filter(|(_, wrong)| wrong.load(Ordering::Relaxed)).map(|((path, _), _)| path),
        );
        if exists(&unpacked)? {
            walk(&unpacked, &mut |entry, kind, name| {
                let is_crate = name.0.contains(&b'/');
                if is_crate
                    && kind == Kind::Directory
                    && read_if_there(&entry.path().join(".cargo-ok"))?.map_or(true, |mark| mark.is_empty())
                {
                    damaged.push(entry.path());
                }
                Ok(!is_crate)
            })?;
        }
        if !damaged.is_empty() {
            say(&format!("removed {} damaged downloads from the registry mount", damaged.len()));
        }
        damaged.iter().try_for_each(|path| remove(path))?;
        Ok(!damaged.is_empty())
    }
}

/// Returns the file name and checksum of each crate in a lock file.
fn checksums(lock: &str) -> Vec<(String, String)> {
    let (mut found, mut name, mut version) = (Vec::new(), "", "");
    for line in lock.lines() {
        let (key, value) = line.split_once(" = ").unwrap_or_default();
        let value = value.trim().trim_matches('"');
        match key {
            "name" => name = value,
            "version" => version = value,
            "checksum" => found.push((format!("{}-{}.crate", name, version), value.to_string())),
            _ => {}
        }
    }
    found
}

// -------------------------------------------------------------------------------------------------------------- output

impl Step {
    fn write_out(&self, tree: &Tree, messages: &Messages) -> Outcome<()> {
        let sources = Sources::new(tree, self)?;
        for program in &messages.made {
            let place = self.places.out.join(&program.name);
            let (bin, share) = (place.join("bin"), place.join("share/buildkit-tasks"));
            create_directory(&bin)?;
            create_directory(&share)?;
            copy(&program.path, &bin.join("service"), Kind::Program)?;
            let named = bin.join(&program.name);
            if program.name != "service" && !exists(&named)? {
                symlink("service", &named).doing("create", &named)?;
            }
            write(&share.join("manifest.json"), &sources.manifest(program, self)?)?;
        }
        say(&format!("fresh {}", messages.fresh()));
        if messages.made.is_empty() {
            return Err(failure("the workspace has no binaries"));
        }
        Ok(())
    }
}

/// The sources listed in manifests. src/buildkit_tasks/builds/manifest.py compares a manifest with the tree on the host
/// and must use the same rule for the files of a program: those of the packages compiled into it, and those outside all
/// packages.
struct Sources<'a> {
    tree: &'a Tree,
    root: &'a Name,
    root_is_package: bool,
}

impl<'a> Sources<'a> {
    fn new(tree: &'a Tree, step: &'a Step) -> Outcome<Sources<'a>> {
        let root = &step.wanted.source;
        let path = root.join("Cargo.toml").below(&step.src());
        let text = fs::read(&path).doing("read", &path)?;
        let root_is_package =
            String::from_utf8_lossy(&text).lines().any(|line| line.trim_start().starts_with("[package]"));
        Ok(Sources { tree, root, root_is_package })
    }

    fn is_home(&self, directory: &Name) -> bool {
        self.tree.in_context(&directory.join("Cargo.toml")).map_or(false, |look| look.kind != Kind::Directory)
    }

    /// Returns the directory of the nearest Cargo.toml above a name.
    fn owner(&self, name: &Name) -> Option<Name> {
        let mut above = name.parent();
        while let Some(directory) = above {
            if self.is_home(&directory) {
                return Some(directory);
            }
            above = directory.parent();
        }
        None
    }

    /// Returns the packages compiled into a program: the owners of the files that cargo lists in NAME.d, next to the
    /// program. Returns None if there is no list, which means all packages.
    fn packages(&self, program: &Path, src: &Path) -> Outcome<Option<Vec<Name>>> {
        let list = PathBuf::from(OsString::from_vec([program.as_os_str().as_bytes(), b".d"].concat()));
        let files = dependencies(&read_if_there(&list)?.unwrap_or_default(), program);
        let mut inside: Vec<Name> = Vec::new();
        let mut add = |owner: Option<Name>| {
            if let Some(owner) = owner.filter(|owner| !inside.contains(owner)) {
                inside.push(owner);
            }
        };
        for file in &files {
            let within =
                |path: &Path| path.strip_prefix(src).ok().map(|rest| Name(rest.as_os_str().as_bytes().to_vec()));
            let mut name = match within(file) {
                Some(name) => name,
                None => continue,
            };
            if self.tree.in_context(&name).is_none() {
                // the path goes through a link: resolve it
                add(self.owner(&name));
                match fs::canonicalize(file).ok().and_then(|real| within(&real)) {
                    Some(real) => name = real,
                    None => continue,
                }
            }
            // rerun-if-changed=migrations refers to a directory
            let is_directory = self.tree.in_context(&name) == Some(Look::DIRECTORY);
            add(if is_directory && self.is_home(&name) { Some(name) } else { self.owner(&name) });
        }
        Ok(if files.is_empty() { None } else { Some(inside) })
    }

    /// Returns whether a file belongs in the manifest. For vendored crates outside the program, of which there may be
    /// hundreds, only the checksum files do.
    fn answers_for(&self, name: &Name, inside: &Option<Vec<Name>>) -> bool {
        if *name == self.root.join("Cargo.lock") {
            return false;
        }
        match self.owner(name) {
            None => true,
            Some(owner) if is_inside(&owner, inside) || name.base() == b".cargo-checksum.json" => true,
            Some(owner) => {
                let of_the_workspace =
                    *name == self.root.join("Cargo.toml") || name.0.starts_with(&self.root.join(".cargo/").0);
                owner == *self.root && (!self.root_is_package || of_the_workspace)
            }
        }
    }

    fn manifest(&self, program: &Program, step: &Step) -> Outcome<Vec<u8>> {
        let inside = self.packages(&program.path, &step.src())?;
        let (mut digest, mut files, mut packages) = (Sha256::new(), Vec::new(), Vec::new());
        for (name, look) in self.tree.context().filter(|(_, look)| look.kind != Kind::Directory) {
            if self.answers_for(name, &inside) {
                let mut text = Vec::new();
                look.append(&mut text);
                digest.update(&[&text, &b" "[..], &name.0, b"\n"].concat());
                files.push([&b"    "[..], &quoted(&name.0), b": ", &quoted(&text)].concat());
            }
            let directory =
                name.parent().filter(|directory| name.base() == b"Cargo.toml" && is_inside(directory, &inside));
            packages.extend(directory);
        }
        let text = |value: &str| String::from_utf8_lossy(&quoted(value.as_bytes())).into_owned();
        let path = |name: &Name| quoted(if name.0.is_empty() { b"." } else { &name.0 });
        let features: Vec<String> = program.features.iter().map(|feature| text(feature)).collect();
        let lock = self.tree.in_context(&self.root.join("Cargo.lock")).map_or(String::new(), |look| hex(&look.digest));
        let Toolchain { key, rustc, host } = &step.toolchain;
        let head = format!(
            "{{\n  \"format\": 1,\n  \"crate\": {},\n  \"binary\": {},\n  \"features\": [{}],\n  \"profile\": {},\n  \
             \"incremental\": {},\n  \"rustflags\": {},\n  \"toolchain\": {{\"key\": {}, \"rustc\": {}, \"host\": {}}},\n  \
             \"lock\": \"sha256:{}\",\n  \"source\": \"sha256:{}\",\n",
            text(&program.package),
            text(&program.name),
            features.join(", "),
            text(&step.wanted.profile),
            matches!(step.wanted.incremental.as_str(), "1" | "true"),
            text(&step.environment.or("RUSTFLAGS", "")),
            text(key),
            text(rustc),
            text(host),
            lock,
            hex(&digest.finish()),
        );
        let packages: Vec<Vec<u8>> = packages.iter().map(path).collect();
        Ok([
            head.into_bytes(),
            [b"  \"workspace\": ".to_vec(), path(self.root), b",\n  \"script\": ".to_vec(), path(&Places::own_name())]
                .concat(),
            [b",\n  \"packages\": [".to_vec(), packages.join(&b", "[..]), b"],\n  \"files\": {\n".to_vec()].concat(),
            [files.join(&b",\n"[..]), b"\n  }\n}\n".to_vec()].concat(),
        ]
        .concat())
    }
}

fn is_inside(directory: &Name, packages: &Option<Vec<Name>>) -> bool {
    packages.as_ref().map_or(true, |packages| packages.contains(directory))
}

/// Parses the files in `PROGRAM: FILE FILE …`. Spaces in names are escaped with a backslash.
fn dependencies(text: &[u8], program: &Path) -> Vec<PathBuf> {
    let (mut files, mut file, mut bytes) = (Vec::new(), Vec::new(), text.iter().copied().peekable());
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if bytes.peek() == Some(&b' ') => file.extend(bytes.next()),
            b' ' => files.push(std::mem::take(&mut file)),
            _ => file.push(byte),
        }
    }
    file.truncate(file.len() - usize::from(file.last() == Some(&b'\n')));
    files.push(file);
    let first = [program.as_os_str().as_bytes(), b":"].concat();
    files
        .into_iter()
        .filter(|file| !file.is_empty() && *file != first)
        .map(|file| OsString::from_vec(file).into())
        .collect()
}

// ---------------------------------------------------------------------------------------------------- files and errors

/// An error that fails the step: the exit code and a message (empty if cargo already printed one).
#[derive(Debug)]
struct Failure {
    code: i32,
    text: String,
}

type Outcome<T> = Result<T, Failure>;

fn failure(text: &str) -> Failure {
    Failure { code: 2, text: text.into() }
}

/// Returns the error for a cargo that failed. cargo has already printed the reason unless it was killed.
fn ended(status: ExitStatus) -> Failure {
    match status.code() {
        Some(code) => Failure { code, text: String::new() },
        None => failure(&format!("cargo was killed ({}), possibly because it ran out of memory", status)),
    }
}

trait Doing<T> {
    /// Converts an error to a failure with the operation and the path.
    fn doing(self, what: &str, path: &Path) -> Outcome<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: &str, path: &Path) -> Outcome<T> {
        self.map_err(|error| {
            failure(&format!("cannot {} {}: {}", what, Name(path.as_os_str().as_bytes().to_vec()), error))
        })
    }
}

fn say(text: &str) {
    let _ = writeln!(io::stderr(), "buildkit-tasks: {}", text);
}

fn exists(path: &Path) -> Outcome<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        found => found.doing("stat", path).map(|_| true),
    }
}

fn read_if_there(path: &Path) -> Outcome<Option<Vec<u8>>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        content => content.doing("read", path).map(Some),
    }
}

fn write(path: &Path, content: &[u8]) -> Outcome<()> {
    fs::write(path, content).doing("write", path)
}

/// Writes a file atomically.
fn replace(path: &Path, content: &[u8]) -> Outcome<()> {
    let new = path.with_extension("new");
    write(&new, content)?;
    fs::rename(&new, path).doing("replace", path)
}

fn create_directory(path: &Path) -> Outcome<()> {
    fs::create_dir_all(path).doing("create", path)
}

/// Removes a file or directory, if it exists.
fn remove(path: &Path) -> Outcome<()> {
    let outcome = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome.doing("remove", path),
    }
}

/// Copies a file or link with the current time as mtime. The copy is a new file, so hard links are not written through.
fn copy(from: &Path, to: &Path, kind: Kind) -> Outcome<()> {
    remove(to)?;
    if kind == Kind::Link {
        let leads_to = fs::read_link(from).doing("read the link", from)?;
        return symlink(leads_to, to).doing("create", to);
    }
    let copied = fs::copy(from, to);
    copied.map(drop).map_err(|error| failure(&format!("cannot copy {} to {}: {}", from.display(), to.display(), error)))
}

/// Creates or touches a file and returns its mtime.
fn stamp(path: &Path) -> Outcome<Time> {
    write(path, b"")?;
    set_time(path, None)?;
    fs::metadata(path).doing("stat", path).map(|found| time_of(&found))
}

/// Sets the mtime to the given or current time. `std` only supports this since Rust 1.75.
fn set_time(path: &Path, time: Option<Time>) -> Outcome<()> {
    #[repr(C)]
    struct Timespec {
        seconds: c_long,
        nanoseconds: c_long,
    }
    extern "C" {
        fn utimensat(directory: c_int, path: *const c_char, times: *const [Timespec; 2], flags: c_int) -> c_int;
    }
    const WORKING_DIRECTORY: c_int = -100;
    const NOT_THROUGH_LINKS: c_int = 0x100;
    let text = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from).doing("touch", path)?;
    let both = time.map(|(seconds, nanoseconds)| {
        let spec = || Timespec { seconds: seconds as c_long, nanoseconds: nanoseconds as c_long };
        [spec(), spec()]
    });
    let times = both.as_ref().map_or(std::ptr::null(), |both| both as *const _);
    // SAFETY: the path is NUL-terminated, and `times` is null or points to two times that outlive the call
    match unsafe { utimensat(WORKING_DIRECTORY, text.as_ptr(), times, NOT_THROUGH_LINKS) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()).doing("touch", path),
    }
}

/// Runs a command and returns its output. Fails if the command fails.
fn output(command: &mut Command) -> Outcome<String> {
    let program = PathBuf::from(command.get_program());
    let done = command.stderr(Stdio::inherit()).output().doing("start", &program)?;
    if !done.status.success() {
        return Err(failure(&format!("{} failed ({})", program.display(), done.status)));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Locks a mutex. Ignores poisoning, because a panic in another thread ends the program anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|broken| broken.into_inner())
}

type Work<'a> = &'a (dyn Fn(usize, &mut Scratch) -> Outcome<()> + Sync);

/// Calls `work` for every number below `count`, on all processors. Stops at the first failure.
fn parallel(count: usize, work: Work) -> Outcome<()> {
    let processors = thread::available_parallelism().map_or(1, |processors| processors.get()).min(16);
    const AT_ONCE: usize = 32;
    let next = AtomicUsize::new(0);
    side_by_side(processors.min(count / AT_ONCE + 1), &|_, scratch| loop {
        let start = next.fetch_add(AT_ONCE, Ordering::Relaxed);
        if start >= count {
            return Ok(());
        }
        for at in start..count.min(start + AT_ONCE) {
            if let Err(failure) = work(at, scratch) {
                next.store(count, Ordering::Relaxed);
                return Err(failure);
            }
        }
    })
}

/// Calls `work` for every number below `count`, each in its own thread.
fn side_by_side(count: usize, work: Work) -> Outcome<()> {
    let failed = Mutex::new(Ok(()));
    thread::scope(|scope| {
        for at in 0..count {
            let failed = &failed;
            scope.spawn(move || {
                if let Err(failure) = work(at, &mut Scratch(vec![0; 1 << 16], vec![0; 1 << 16])) {
                    *lock(failed) = Err(failure);
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(|broken| broken.into_inner())
}

// ---------------------------------------------------------------------------------------------------------------- JSON

/// The subset of JSON needed for cargo's messages: the values of numbers, `true` and `null` are not kept.
#[derive(Debug, PartialEq)]
enum Json {
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
    False,
    Other,
}

impl Json {
    fn parse(text: &[u8]) -> Option<Json> {
        let mut reader = JsonReader { text, at: 0 };
        let value = reader.value(0)?;
        reader.skip(b" \t\r\n");
        Some(value).filter(|_| reader.at == text.len())
    }

    fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(fields) => fields.iter().find(|(field, _)| field == name).map(|(_, value)| value),
            _ => None,
        }
    }

    fn text(&self) -> &str {
        match self {
            Json::Text(text) => text,
            _ => "",
        }
    }

    /// Returns whether this is a nonempty string or list.
    fn says(&self) -> bool {
        !self.text().trim().is_empty() || matches!(self, Json::List(items) if !items.is_empty())
    }

    /// Returns the items of a field; empty if it is not a list.
    fn list(&self, name: &str) -> &[Json] {
        match self.get(name) {
            Some(Json::List(items)) => items,
            _ => &[],
        }
    }

    /// Returns the string value of a field; empty if it is not a string.
    fn field(&self, name: &str) -> &str {
        self.get(name).map_or("", Json::text)
    }
}

struct JsonReader<'a> {
    text: &'a [u8],
    at: usize,
}

impl JsonReader<'_> {
    fn skip(&mut self, bytes: &[u8]) {
        while self.text.get(self.at).map_or(false, |byte| bytes.contains(byte)) {
            self.at += 1;
        }
    }

    fn next(&mut self) -> Option<u8> {
        self.skip(b" \t\r\n");
        self.at += 1;
        self.text.get(self.at - 1).copied()
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        if depth > 64 {
            return None;
        }
        match self.next()? {
            b'"' => self.string().map(Json::Text),
            b'[' => {
                let mut items = Vec::new();
                if self.ends(b']') {
                    return Some(Json::List(items));
                }
                loop {
                    items.push(self.value(depth + 1)?);
                    match self.next()? {
                        b',' => {}
                        b']' => return Some(Json::List(items)),
                        _ => return None,
                    }
                }
            }
            b'{' => {
                let mut fields = Vec::new();
                if self.ends(b'}') {
                    return Some(Json::Object(fields));
                }
                loop {
                    let name = self.next().filter(|byte| *byte == b'"').and_then(|_| self.string())?;
                    self.next().filter(|byte| *byte == b':')?;
                    fields.push((name, self.value(depth + 1)?));
                    match self.next()? {
                        b',' => {}
                        b'}' => return Some(Json::Object(fields)),
                        _ => return None,
                    }
                }
            }
            first => {
                let start = self.at - 1;
                while self.text.get(self.at).map_or(false, |byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
                {
                    self.at += 1;
                }
                match &self.text[start..self.at] {
                    b"false" => Some(Json::False),
                    b"true" | b"null" => Some(Json::Other),
                    _ if first == b'-' || first.is_ascii_digit() => Some(Json::Other),
                    _ => None,
                }
            }
        }
    }

    fn ends(&mut self, with: u8) -> bool {
        self.skip(b" \t\r\n");
        let ends = self.text.get(self.at) == Some(&with);
        self.at += usize::from(ends);
        ends
    }

    /// Parses a string after its opening quote.
    fn string(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        loop {
            let byte = *self.text.get(self.at)?;
            self.at += 1;
            match byte {
                b'"' => return Some(String::from_utf8_lossy(&bytes).into_owned()),
                b'\\' => {
                    let escaped = *self.text.get(self.at)?;
                    self.at += 1;
                    match escaped {
                        b'n' => bytes.push(b'\n'),
                        b't' => bytes.push(b'\t'),
                        b'r' => bytes.push(b'\r'),
                        b'b' => bytes.push(8),
                        b'f' => bytes.push(12),
                        b'u' => {
                            let mut code = self.hex4()?;
                            if (0xd800..0xdc00).contains(&code) && self.text[self.at..].starts_with(b"\\u") {
                                self.at += 2;
                                code = 0x10000 + ((code - 0xd800) << 10) + self.hex4()?.checked_sub(0xdc00)?;
                            }
                            let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                            bytes.extend_from_slice(character.to_string().as_bytes());
                        }
                        other => bytes.push(other),
                    }
                }
                _ => bytes.push(byte),
            }
        }
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = std::str::from_utf8(self.text.get(self.at..self.at + 4)?).ok()?;
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }
}

/// Returns a JSON string. Bytes that are not UTF-8, as in some file names, are kept unchanged.
fn quoted(text: &[u8]) -> Vec<u8> {
    let mut bytes = vec![b'"'];
    for byte in text {
        match byte {
            b'"' | b'\\' => bytes.extend_from_slice(&[b'\\', *byte]),
            0..=31 => bytes.extend_from_slice(format!("\\u{:04x}", byte).as_bytes()),
            _ => bytes.push(*byte),
        }
    }
    bytes.push(b'"');
    bytes
}

// ------------------------------------------------------------------------------------------------------------- SHA-256

type Digest = [u8; 32];

fn sha256(bytes: &[u8]) -> Digest {
    let mut digest = Sha256::new();
    digest.update(bytes);
    digest.finish()
}

fn append_hex(digest: &Digest, to: &mut Vec<u8>) {
    for byte in digest {
        to.extend_from_slice(&[byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
    }
}

fn hex(digest: &Digest) -> String {
    let mut text = Vec::new();
    append_hex(digest, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn unhex(text: &[u8]) -> Option<Digest> {
    let mut digest = [0; 32];
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(std::str::from_utf8(text.get(2 * at..2 * at + 2)?).ok()?, 16).ok()?;
    }
    Some(digest).filter(|_| text.len() == 64)
}

/// FIPS 180-4.
#[derive(Clone)]
struct Sha256 {
    state: [u32; 8],
    rest: [u8; 64],
    length: u64,
}

#[rustfmt::skip]
const ROUND: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

impl Sha256 {
    fn new() -> Sha256 {
        let state = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
        Sha256 { state, rest: [0; 64], length: 0 }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        let waiting = (self.length % 64) as usize;
        self.length += bytes.len() as u64;
        if waiting > 0 {
            let taken = bytes.len().min(64 - waiting);
            self.rest[waiting..waiting + taken].copy_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if waiting + taken < 64 {
                return;
            }
            let block = self.rest;
            self.compress(&block);
        }
        let whole = bytes.len() - bytes.len() % 64;
        self.compress(&bytes[..whole]);
        self.rest[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
    }

    fn finish(mut self) -> Digest {
        let bits = self.length * 8;
        let padding = 64 - (self.length + 8) % 64;
        let mut end = vec![0x80];
        end.resize(padding as usize, 0);
        end.extend_from_slice(&bits.to_be_bytes());
        self.update(&end);
        let mut digest = [0; 32];
        for (four, word) in digest.chunks_exact_mut(4).zip(self.state) {
            four.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }

    fn compress(&mut self, blocks: &[u8]) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1") {
            // SAFETY: the processor supports these instructions
            return unsafe { compress_in_hardware(&mut self.state, blocks) };
        }
        self.compress_portably(blocks);
    }

    fn compress_portably(&mut self, blocks: &[u8]) {
        for block in blocks.chunks_exact(64) {
            let mut schedule = [0u32; 64];
            for (word, four) in schedule.iter_mut().zip(block.chunks_exact(4)) {
                *word = u32::from_be_bytes([four[0], four[1], four[2], four[3]]);
            }
            for at in 16..64 {
                let (early, late) = (schedule[at - 15], schedule[at - 2]);
                let small = early.rotate_right(7) ^ early.rotate_right(18) ^ (early >> 3);
                let large = late.rotate_right(17) ^ late.rotate_right(19) ^ (late >> 10);
                schedule[at] = schedule[at - 16].wrapping_add(small).wrapping_add(schedule[at - 7]).wrapping_add(large);
            }
            let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = self.state;
            for (word, round) in schedule.iter().zip(ROUND) {
                let choice = (e & f) ^ (!e & g);
                let majority = (a & b) ^ (a & c) ^ (b & c);
                let one = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
                let zero = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
                let first = h.wrapping_add(one).wrapping_add(choice).wrapping_add(round).wrapping_add(*word);
                let second = zero.wrapping_add(majority);
                h = g;
                g = f;
                f = e;
                e = d.wrapping_add(first);
                d = c;
                c = b;
                b = a;
                a = first.wrapping_add(second);
            }
            for (sum, part) in self.state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
                *sum = sum.wrapping_add(part);
            }
        }
    }
}

/// Like `compress_portably`, but with the processor's SHA instructions. They use the state as ABEF and CDGH and compute
/// four rounds at a time. Hashing is most of the work of `key`, and was a third of a sync without them.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
unsafe fn compress_in_hardware(state: &mut [u32; 8], blocks: &[u8]) {
    use std::arch::x86_64::*;
    let bytes_of_words = _mm_set_epi64x(0x0c0d0e0f_08090a0b, 0x04050607_00010203);
    let [a, b, c, d, e, f, g, h] = state.map(|word| word as i32);
    let (mut abef, mut cdgh) = (_mm_set_epi32(a, b, e, f), _mm_set_epi32(c, d, g, h));
    for block in blocks.chunks_exact(64) {
        let before = (abef, cdgh);
        let load = |at: usize| _mm_shuffle_epi8(_mm_loadu_si128(block[16 * at..].as_ptr().cast()), bytes_of_words);
        let mut words = [load(0), load(1), load(2), load(3)];
        for (four, constants) in ROUND.chunks_exact(4).enumerate() {
            let now = four % 4;
            if four >= 4 {
                let [first, second, third, fourth] = [0, 1, 2, 3].map(|after| words[(now + after) % 4]);
                let sum = _mm_add_epi32(_mm_sha256msg1_epu32(first, second), _mm_alignr_epi8::<4>(fourth, third));
                words[now] = _mm_sha256msg2_epu32(sum, fourth);
            }
            let both = _mm_add_epi32(words[now], _mm_loadu_si128(constants.as_ptr().cast()));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, both);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32::<0x0e>(both));
        }
        abef = _mm_add_epi32(abef, before.0);
        cdgh = _mm_add_epi32(cdgh, before.1);
    }
    let (mut front, mut back) = ([0u32; 4], [0u32; 4]);
    _mm_storeu_si128(front.as_mut_ptr().cast(), abef);
    _mm_storeu_si128(back.as_mut_ptr().cast(), cdgh);
    let ([f, e, b, a], [h, g, d, c]) = (front, back);
    *state = [a, b, c, d, e, f, g, h];
}

// --------------------------------------------------------------------------------------------------------------- tests

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::time::SystemTime;

    /// A context and a mount for one test: a workspace of `scripted` (build.rs), `plain`, `curious` (reads files
    /// outside its directory) and `vendored`, and a directory outside all packages.
    struct Site(PathBuf);

    impl Drop for Site {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    impl Site {
        fn new() -> Site {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            let own = format!("compile-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let site = Site(std::env::temp_dir().join(own));
            for directory in ["mount", "out", "cargo"] {
                fs::create_dir_all(site.0.join(directory)).unwrap();
            }
            fs::write(site.0.join("toolchain.key"), "0123\nrustc 1.0.0\nx86_64-unknown-linux-gnu\n").unwrap();
            site.put("services/Cargo.toml", "[workspace]\nmembers = [\"*\"]\n");
            site.put("services/Cargo.lock", "version = 4\n");
            for name in ["scripted", "plain", "curious", "vendored"] {
                site.put(&format!("services/{}/Cargo.toml", name), &format!("[package]\nname = \"{}\"\n", name));
                site.put(&format!("services/{}/src/lib.rs", name), "pub fn f() {}\n");
                site.put(&format!("services/{}/data.txt", name), "data\n");
            }
            site.put("services/scripted/build.rs", "fn main() {}\n");
            site.put("services/curious/src/lib.rs", "include_str!(\"../../data\");\n");
            site.put("services/vendored/.cargo-checksum.json", "{}");
            site.put("services/migrations/1.sql", "create");
            site
        }

        fn put(&self, name: &str, text: &str) {
            self.put_bytes(name.as_bytes(), text);
        }

        fn put_bytes(&self, name: &[u8], text: &str) {
            let path = self.0.join("context").join(OsStr::from_bytes(name));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn link(&self, name: &str, to: &str) {
            let path = self.0.join("context").join(name);
            let _ = fs::remove_file(&path);
            symlink(to, path).unwrap();
        }

        fn remove(&self, name: &str) {
            remove(&self.0.join("context").join(name)).unwrap();
        }

        fn step_with(&self, variables: &[(&str, &str)]) -> Step {
            let at = |name: &str| self.0.join(name);
            let [context, mount, toolchain, cross, out] =
                ["context", "mount", "toolchain.key", "cross.env", "out"].map(at);
            let all = [("SOURCE", "services"), ("CARGO_HOME", "/nowhere")].iter().chain(variables);
            let environment = Environment(all.map(|(name, value)| (name.into(), value.into())).collect());
            Step::open(Places { context, mount, toolchain, cross, out }, environment).unwrap()
        }

        fn step(&self) -> Step {
            self.step_with(&[])
        }

        fn sync(&self) -> Tree {
            let step = self.step();
            step.choose_base().unwrap();
            step.sync().unwrap()
        }

        /// Returns a path in the copy of the sources.
        fn src(&self, name: &str) -> PathBuf {
            self.step().src().join(name)
        }

        fn plan(&self) -> Plan {
            self.planned(None)
        }

        fn planned(&self, everything: Option<Reason>) -> Plan {
            let (step, nobody) = (self.step(), [self.step().wanted.source.join("target")]);
            let lists = [&step.places.context, &step.src()].map(|root| list(root, &nobody, None).unwrap().0);
            let [here, there] = lists;
            let record = Record::read(&step.state("tree")).unwrap();
            let tree = compare(&step.places.context, &step.src(), here, there, &record).unwrap();
            let (context, src, target) = (&step.places.context, &step.src(), &step.target());
            Plan::new(&tree, !record.0.is_empty(), everything, Roots { context, src, target }).unwrap()
        }

        /// Returns the marked packages, or `everything`.
        fn marked(&self) -> Vec<String> {
            self.plan().said.iter().map(|text| text.split(' ').nth(1).unwrap().to_string()).collect()
        }
    }

    fn after(change: impl Fn(&Site)) -> Site {
        let site = Site::new();
        site.sync();
        change(&site);
        site
    }

    #[test]
    fn the_first_sync_copies_everything_and_the_next_one_nothing() {
        let site = Site::new();
        assert!(site.sync().0.iter().all(|entry| entry.copied.is_none()));
        assert_eq!(fs::read(site.src("services/plain/data.txt")).unwrap(), b"data\n");
        let plan = site.plan();
        assert!(plan.copy.is_empty() && plan.make.is_empty() && plan.touch.is_empty() && plan.said.is_empty());
    }

    #[test]
    fn a_plain_edit_is_copied_and_left_to_cargo() {
        let site = after(|site| site.put("services/plain/src/lib.rs", "pub fn g() {}\n"));
        let plan = site.plan();
        assert_eq!(
            plan.copy.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>(),
            ["services/plain/src/lib.rs"]
        );
        assert!(plan.said.is_empty() && plan.touch.is_empty());
    }

    #[test]
    fn times_alone_are_nothing_and_an_old_time_hides_nothing() {
        let site = after(|site| {
            let path = site.0.join("context/services/plain/src/lib.rs");
            fs::write(&path, "pub fn g() {}\n").unwrap();
            set_time(&path, Some((1, 0))).unwrap();
            set_time(&site.0.join("context/services/plain/data.txt"), Some((1, 0))).unwrap();
        });
        let before = SystemTime::now() - Duration::from_secs(60);
        site.sync();
        assert!(fs::metadata(site.src("services/plain/src/lib.rs")).unwrap().modified().unwrap() > before);
    }

    #[test]
    fn what_cargo_cannot_trace_marks_its_package_and_those_that_look_outside() {
        let changes: Vec<(&str, Box<dyn Fn(&Site)>)> = vec![
            ("another file", Box::new(|site| site.put("services/plain/data.txt", "other\n"))),
            ("a file is added", Box::new(|site| site.put("services/plain/new.txt", ""))),
            ("code is added", Box::new(|site| site.put("services/plain/src/new.rs", ""))),
            ("a file is deleted", Box::new(|site| site.remove("services/plain/data.txt"))),
            (
                "a directory is added",
                Box::new(|site| fs::create_dir(site.0.join("context/services/plain/empty")).unwrap()),
            ),
            ("a file becomes a link", Box::new(|site| site.link("services/plain/data.txt", "src/lib.rs"))),
            (
                "a file becomes a directory",
                Box::new(|site| {
                    site.remove("services/plain/data.txt");
                    site.put("services/plain/data.txt/in", "");
                }),
            ),
            (
                "an executable bit",
                Box::new(|site| {
                    fs::set_permissions(
                        site.0.join("context/services/plain/src/lib.rs"),
                        Permissions::from_mode(0o755),
                    )
                    .unwrap();
                }),
            ),
            (
                "its manifest",
                Box::new(|site| {
                    site.put("services/plain/Cargo.toml", "[package]\nname = \"plain\"\nversion = \"2.0.0\"\n")
                }),
            ),
            ("a name with a newline", Box::new(|site| site.put("services/plain/a\nb", ""))),
            ("a name that is not UTF-8", Box::new(|site| site.put_bytes(b"services/plain/\xff\\\"", ""))),
        ];
        for (name, change) in changes {
            let site = after(change);
            assert_eq!(site.marked(), ["curious", "plain"], "{}", name);
            let touched: Vec<String> = site.plan().touch.iter().map(Name::to_string).collect();
            assert!(
                touched.contains(&"services/plain/src/lib.rs".into())
                    && touched.contains(&"services/curious/src/lib.rs".into())
            );
            assert!(!touched.iter().any(|name| name.contains("scripted") || name.ends_with(".toml")), "{:?}", touched);
            site.sync();
            assert!(site.plan().said.is_empty(), "{}", name);
        }
    }

    #[test]
    fn a_retargeted_link_marks() {
        let site = Site::new();
        site.link("services/plain/link", "data.txt");
        site.sync();
        site.link("services/plain/link", "src/lib.rs");
        assert_eq!(site.marked(), ["curious", "plain"]);
        site.sync();
        assert_eq!(fs::read_link(site.src("services/plain/link")).unwrap(), Path::new("src/lib.rs"));
    }

    #[test]
    fn a_package_with_a_link_looks_outside() {
        let site = Site::new();
        site.link("services/vendored/link", "../migrations");
        site.sync();
        site.put("services/plain/data.txt", "other\n");
        assert_eq!(site.marked(), ["curious", "plain", "vendored"]);
    }

    #[test]
    fn what_lies_in_no_package_marks_everything() {
        let site = after(|site| site.put("elsewhere/1.sql", "alter"));
        assert_eq!(site.marked(), ["everything"]);
        let touched = site.plan().touch;
        assert!(touched.iter().any(|name| name.to_string() == "services/plain/data.txt"));
        // a workspace is not a package
        assert_eq!(after(|site| site.put("services/migrations/1.sql", "alter")).marked(), ["everything"]);
    }

    #[test]
    fn lock_file_and_workspace_manifest_mark_build_scripts() {
        assert_eq!(after(|site| site.put("services/Cargo.lock", "version = 3\n")).marked(), ["curious", "scripted"]);
        assert_eq!(after(|site| site.put("services/Cargo.toml", "[workspace]\n")).marked(), ["curious", "scripted"]);
        // a macro of the package may read a lock file in it
        let site = after(|site| site.put("services/plain/Cargo.lock", "version = 3\n"));
        assert_eq!(site.marked(), ["curious", "plain", "scripted"]);
    }

    #[test]
    fn a_package_that_goes() {
        let site = after(|site| site.remove("services/plain"));
        assert_eq!(site.marked(), ["everything"]); // its directory was outside all packages
        site.sync();
        assert!(!site.src("services/plain").exists());
        assert_eq!(after(|site| site.remove("services/plain/Cargo.toml")).marked(), ["curious"]);
    }

    #[test]
    fn what_a_build_wrote_is_taken_back_and_marks_who_may_have_written_it() {
        let site = after(|site| fs::write(site.src("services/scripted/src/gen.rs"), "").unwrap());
        assert_eq!(site.marked(), ["curious", "scripted"]);
        site.sync();
        assert!(!site.src("services/scripted/src/gen.rs").exists());
        let site = after(|site| fs::write(site.src("services/plain/src/lib.rs"), "written").unwrap());
        assert_eq!(site.marked(), ["everything"]);
        site.sync();
        assert_eq!(fs::read(site.src("services/plain/src/lib.rs")).unwrap(), b"pub fn f() {}\n");
        // also if the context has since become identical
        let site = after(|site| {
            site.put("services/plain/src/lib.rs", "written");
            fs::write(site.src("services/plain/src/lib.rs"), "written").unwrap();
        });
        assert_eq!(site.marked(), ["everything"]);
    }

    #[test]
    fn a_vendored_crate_loses_its_fingerprint() {
        let site = after(|site| site.put("services/vendored/src/lib.rs", "changed"));
        let unit = site.step().target().join("release/.fingerprint/vendored-0123456789abcdef");
        let other = site.step().target().join("x86_64/release/.fingerprint/vendored-more-0123456789abcdef");
        fs::create_dir_all(&unit).unwrap();
        fs::create_dir_all(&other).unwrap();
        site.sync();
        assert!(!unit.exists() && other.exists());
    }

    #[test]
    fn a_marked_package_of_links_or_without_code_of_its_own_loses_its_fingerprint() {
        let site = Site::new();
        for version in ["v1", "v2"] {
            site.put(&format!("services/{}/lib.rs", version), version);
        }
        for name in ["linked", "elsewhere"] {
            site.put(&format!("services/{}/Cargo.toml", name), &format!("[package]\nname = \"{}\"\n", name));
            site.put(&format!("services/{}/data.txt", name), "data\n");
        }
        site.link("services/linked/src", "../v1");
        site.sync();
        site.link("services/linked/src", "../v2");
        site.put("services/elsewhere/data.txt", "other\n");
        site.put("services/plain/data.txt", "other\n");
        let plan = site.plan();
        assert_eq!(plan.forget, ["elsewhere", "linked"]); // `plain` and `curious` are marked by touching their files
        assert_eq!(site.marked(), ["curious", "elsewhere", "linked", "plain"]);
    }

    #[test]
    fn if_everything_is_marked_a_package_of_links_loses_its_fingerprint_too() {
        let site = Site::new();
        site.put("services/linked/Cargo.toml", "[package]\nname = \"linked\"\n");
        site.link("services/linked/lib.rs", "/opt/v1.rs"); // a file of the image: the sync does not touch it
        site.sync();
        site.link("services/linked/lib.rs", "/opt/v2.rs");
        site.put("elsewhere/1.sql", "alter");
        assert_eq!(site.marked(), ["everything"]);
        assert_eq!(site.plan().forget, ["linked"]);
        site.sync();
        assert_eq!(site.planned(Some(Reason::Environment)).forget, ["linked"]);
    }

    #[test]
    fn a_package_with_code_outside_its_directory_looks_outside_and_loses_its_fingerprint() {
        let site = Site::new();
        site.put("services/plain/Cargo.toml", "[package]\nname = \"plain\"\n[lib]\npath = \"../code/lib.rs\"\n");
        site.put("services/code/lib.rs", "");
        site.sync();
        site.put("services/scripted/data.txt", "other\n");
        assert_eq!(site.marked(), ["curious", "plain", "scripted"]);
        assert_eq!(site.plan().forget, ["plain"]);
    }

    #[test]
    fn a_root_packages_files_mark_the_packages_in_it() {
        let rooted = |change: &dyn Fn(&Site)| {
            let site = Site::new();
            site.put("services/Cargo.toml", "[package]\nname = \"root\"\n[workspace]\n");
            site.put("services/src/lib.rs", "");
            site.put("services/src/page.html", "");
            site.sync();
            change(&site);
            site.marked()
        };
        let all = ["root", "curious", "plain", "scripted"];
        assert_eq!(rooted(&|site| site.put("services/notes.txt", "")), all);
        assert_eq!(rooted(&|site| site.put("services/.cargo/config.toml", "[env]\nA = \"1\"\n")), all);
        assert_eq!(rooted(&|site| site.put("services/src/page.html", "<p>")), ["root", "curious"]);
        assert_eq!(rooted(&|site| site.put("services/src/new.rs", "")), ["root", "curious"]);
        let manifest = "[package]\nname = \"root\"\n[workspace]\n[dependencies]\n";
        assert_eq!(rooted(&|site| site.put("services/Cargo.toml", manifest)), ["root", "curious", "scripted"]);
        assert_eq!(rooted(&|site| site.put("services/src/lib.rs", "fn f() {}")), [""; 0]);
    }

    #[test]
    fn values_that_a_package_inherits_mark_it() {
        let inheriting = |text: &str| {
            let site = Site::new();
            site.put("services/Cargo.toml", "[workspace]\n[workspace.package]\nlicense = \"one\"\n");
            site.put("services/plain/Cargo.toml", "[package]\nname = \"plain\"\nlicense.workspace = true\n");
            site.sync();
            site.put("services/Cargo.toml", text);
            site.marked()
        };
        let edited = "[workspace]\n[workspace.package]\nlicense = \"two\"\n";
        assert_eq!(inheriting(edited), ["curious", "plain", "scripted"]);
        let other = "[workspace]\n[workspace.package]\n# the same\nlicense = \"one\"\n\n[workspace.dependencies]\n";
        assert_eq!(inheriting(other), ["curious", "scripted"]);
    }

    #[test]
    fn an_edited_rust_file_that_cargo_did_not_compile_is_data() {
        let edited = |file: &str, record: Option<&str>| {
            let site = Site::new();
            site.put("services/plain/src/lib.rs", "#[cfg(test)]\nmod f;\nmod g;\n");
            site.put(file, "one\n");
            site.sync();
            if let Some(record) = record {
                let unit = site.step().target().join("release/.fingerprint/plain-0123456789abcdef");
                fs::create_dir_all(&unit).unwrap();
                fs::write(unit.join("dep-lib-plain"), format!("\u{1}\0\0\0{}\0\0\0\0", record)).unwrap();
            }
            site.put(file, "two\n");
            site.marked()
        };
        assert_eq!(edited("services/plain/snippets/a.rs", Some("src/lib.rs")), ["curious", "plain"]);
        assert_eq!(edited("services/plain/snippets/a.rs", None), ["curious", "plain"]);
        assert_eq!(edited("services/plain/src/a.rs", Some("src/lib.rs")), ["curious", "plain"]);
        for (file, record) in [
            ("services/plain/snippets/a.rs", Some("snippets/a.rs")),
            ("services/plain/snippets/a.rs", Some("src/../snippets/./a.rs")),
            ("services/plain/src/f.rs", Some("src/lib.rs")), // a module for tests
            ("services/plain/src/g/mod.rs", Some("src/lib.rs")),
            ("services/plain/src/lib.rs", None),
            ("services/plain/src/bin/a.rs", Some("src/lib.rs")),
            ("services/plain/tests/a.rs", Some("src/lib.rs")),
            ("services/plain/build.rs", Some("src/lib.rs")),
            ("services/shared/a.rs", Some("/build/src/services/plain/src/../../shared/a.rs")),
        ] {
            assert_eq!(edited(file, record), [""; 0], "{} {:?}", file, record);
        }
        assert_eq!(edited("services/shared/a.rs", Some("src/lib.rs")), ["curious"]);
    }

    #[test]
    fn a_build_script_that_runs_again_finds_an_empty_directory() {
        let build = "release/build/scripted-0123456789abcdef";
        let emptied = |output: &str, ended: bool, change: &dyn Fn(&Site)| {
            let site = Site::new();
            let needs = "[package]\nname = \"scripted\"\n[build-dependencies]\nplain = { path = \"../plain\" }\n";
            site.put("services/scripted/Cargo.toml", needs);
            site.put("services/scripted/build/part.rs", "");
            site.sync();
            let target = site.step().target();
            let run = target.join("release/.fingerprint/scripted-0123456789abcdef");
            let compiled = target.join("release/.fingerprint/scripted-fedcba9876543210");
            for directory in [&target.join(build).join("out"), &run, &compiled] {
                fs::create_dir_all(directory).unwrap();
            }
            fs::write(target.join(build).join("out/left.txt"), "").unwrap();
            fs::write(target.join(build).join("output"), output).unwrap();
            fs::write(run.join("run-build-script-build-script-build"), if ended { "0123" } else { "" }).unwrap();
            fs::write(compiled.join("dep-build-script-build-script-build"), "\0build.rs\0\0build/part.rs\0").unwrap();
            change(&site);
            site.sync();
            let left = target.join(build).join("out/left.txt").exists();
            assert!(target.join(build).join("out").exists() && left == run.exists());
            !left
        };
        let (declared, outside) = ("cargo:rerun-if-changed=build.rs\n", "cargo::rerun-if-changed=../vendored/src\n");
        let code: &dyn Fn(&Site) = &|site| site.put("services/scripted/src/lib.rs", "fn g() {}");
        assert!(!emptied(declared, true, &|_| {}));
        assert!(!emptied(declared, true, code) && emptied("", true, code) && emptied(declared, false, code));
        assert!(emptied(declared, true, &|site| site.put("services/scripted/build.rs", "fn main() { }")));
        assert!(emptied(declared, true, &|site| site.put("services/scripted/build/part.rs", "fn f() {}")));
        assert!(emptied(declared, true, &|site| site.put("services/scripted/data.txt", "other\n")));
        assert!(emptied(declared, true, &|site| site.put("services/plain/src/lib.rs", "fn g() {}"))); // it needs `plain`
        assert!(emptied(declared, true, &|site| site.put("elsewhere/1.sql", "")));
        let neighbor: &dyn Fn(&Site) = &|site| site.put("services/vendored/src/lib.rs", "fn g() {}");
        assert!(!emptied(declared, true, neighbor) && emptied(outside, true, neighbor));
    }

    #[test]
    fn vendored_crates_behind_links_lose_their_fingerprints() {
        let site = Site::new();
        for version in ["v1", "v2"] {
            for (file, text) in
                [("Cargo.toml", "[package]\nname = \"dep\"\n"), (".cargo-checksum.json", "{}"), ("src/lib.rs", version)]
            {
                site.put(&format!("third/{}/dep/{}", version, file), text);
            }
        }
        site.link("services/vendor", "../third/v1");
        site.link("third/v1/dep/more", "../../../services/plain/src");
        site.sync();
        site.put("services/plain/src/lib.rs", "fn g() {}");
        assert_eq!(site.plan().forget, ["dep"]);
        site.sync();
        site.put("services/curious/src/lib.rs", "include_str!(\"../../data\"); fn g() {}");
        assert!(site.plan().forget.is_empty());
        site.link("services/vendor", "../third/v2");
        assert!(site.plan().forget.contains(&"dep".to_string()));
    }

    #[test]
    fn another_source_is_another_environment() {
        let site = Site::new();
        let digest = |source: &str| {
            let wanted = Wanted::from(&Environment(vec![("SOURCE".into(), source.into())])).unwrap();
            Step { wanted, ..site.step() }.environment_digest().unwrap()
        };
        assert!(digest("services") != digest("other") && digest("services") == digest("./services//"));
    }

    #[test]
    fn environment_interruption_and_clock_mark_everything() {
        let newest = |site: &Site| fs::metadata(site.src("services/plain/data.txt")).unwrap().modified().unwrap();
        let touches = |change: &dyn Fn(&Site), variables: &[(&str, &str)]| {
            let site = Site::new();
            site.sync();
            let before = newest(&site);
            thread::sleep(Duration::from_millis(12));
            change(&site);
            site.step_with(variables).sync().unwrap();
            newest(&site) > before
        };
        assert!(!touches(&|_| {}, &[]));
        assert!(touches(&|_| {}, &[("GREETING", "hello")]));
        assert!(!touches(&|_| {}, &[("https_proxy", "http://127.0.0.1:9"), ("BINS", "api"), ("REBUILD", "2")]));
        assert!(touches(&|site| fs::write(site.step().state("pending"), "").unwrap(), &[]));
        assert!(touches(&|site| fs::remove_file(site.step().state("tree")).unwrap(), &[]));
        let ahead = (4_000_000_000, 0);
        assert!(touches(&|site| set_time(&site.src("services/plain/src/lib.rs"), Some(ahead)).unwrap(), &[]));
        let site = Site::new();
        site.sync();
        let object = site.step().target().join("object");
        fs::write(&object, "").unwrap();
        set_time(&object, Some(ahead)).unwrap();
        site.sync();
        assert!(
            time_of(&fs::metadata(&object).unwrap())
                < time_of(&fs::metadata(site.src("services/plain/data.txt")).unwrap())
        );
    }

    #[test]
    fn target_and_this_file_are_no_sources() {
        let site = Site::new();
        site.put("services/target/release/x", "");
        assert!(site.sync().0.iter().all(|entry| !entry.name.to_string().contains("target")));
        let at_the_top = Wanted::from(&Environment(vec![("SOURCE".into(), ".".into())])).unwrap();
        assert_eq!(at_the_top.source.join("target").to_string(), "target");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let site = Site::new();
        let fifo = site.0.join("context/services/plain/fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let step = site.step();
        step.choose_base().unwrap();
        let text = step.sync().err().unwrap().text;
        assert!(text.contains("services/plain/fifo"), "{}", text);
        assert!(step.state("pending").exists());
        fs::remove_file(fifo).unwrap();
        let text = list(&site.0.join("nowhere"), &[], None).err().unwrap().text;
        assert!(text.starts_with("cannot list ") && text.contains("nowhere"), "{}", text);
        fs::write(site.0.join("toolchain.key"), "0123\nrustc").unwrap();
        assert!(Toolchain::read(&site.0.join("toolchain.key"))
            .err()
            .unwrap()
            .text
            .contains("toolchain.key is truncated"));
    }

    #[test]
    fn trees_of_other_toolchains_stay_for_a_while() {
        let site = Site::new();
        for (age, name) in ["1-old", "2-b", "2-c"].iter().enumerate() {
            fs::create_dir(site.0.join("mount").join(name)).unwrap();
            fs::write(site.0.join(format!("mount/{}.used", name)), "").unwrap();
            set_time(&site.0.join(format!("mount/{}.used", name)), Some((1000 + age as i64, 0))).unwrap();
        }
        site.step().choose_base().unwrap();
        let left = |name: &str| site.0.join("mount").join(name).exists();
        assert!(!left("1-old") && !left("1-old.used") && left("2-b") && left("2-c") && left("2-0123.used"));
    }

    const FLAGS: &str = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS";

    fn refused(site: &Site, variables: &[(&str, &str)]) -> String {
        site.step_with(variables).obey_the_configuration().err().unwrap().text
    }

    #[test]
    fn static_programs() {
        let site = Site::new();
        let mut step = site.step_with(&[("STATIC", "gnu")]);
        step.obey_the_configuration().unwrap();
        assert_eq!(step.environment.or("CARGO_BUILD_TARGET", ""), "x86_64-unknown-linux-gnu");
        assert_eq!(step.environment.or(FLAGS, ""), "-C target-feature=+crt-static");
        for variables in [[("STATIC", "gnu"), ("RUSTFLAGS", "")], [("STATIC", "dynamic"), ("X", "")]] {
            assert!(refused(&site, &variables).starts_with("STATIC "));
        }
        fs::write(site.0.join("cross.env"), "CARGO_BUILD_TARGET=aarch64-unknown-linux-gnu\nCC_x=gcc\n").unwrap();
        let mut step = site.step_with(&[("CC_x", "mine")]);
        step.obey_the_configuration().unwrap();
        assert_eq!(step.environment.or("CARGO_BUILD_TARGET", ""), "aarch64-unknown-linux-gnu");
        assert_eq!(step.environment.or("CC_x", ""), "mine");
    }

    /// Returns the environment that the real cargo needs, with a separate CARGO_HOME.
    fn for_cargo(site: &Site) -> Vec<(String, String)> {
        let inherited =
            ["PATH", "HOME", "RUSTUP_HOME"].iter().filter_map(|name| Some((*name, std::env::var(name).ok()?)));
        let home = site.0.join("cargo").display().to_string();
        inherited.map(|(name, value)| (name.to_string(), value)).chain([("CARGO_HOME".to_string(), home)]).collect()
    }

    /// Returns a step with these variables, after it has read the configuration with the real cargo.
    fn configured(site: &Site, variables: &[(&str, &str)]) -> Outcome<Step> {
        let inherited = for_cargo(site);
        let all: Vec<(&str, &str)> =
            inherited.iter().map(|(name, value)| (&name[..], &value[..])).chain(variables.iter().copied()).collect();
        let mut step = site.step_with(&all);
        step.cargo_home = site.0.join("cargo");
        step.obey_the_configuration().map(|_| step)
    }

    /// Returns the flags that the real cargo passes to rustc for a crate.
    fn flags_of_cargo(site: &Site, step: &Step) -> Vec<String> {
        site.put("services/one/Cargo.toml", "[package]\nname = \"one\"\nversion = \"1.0.0\"\n[workspace]\n");
        site.put("services/one/src/lib.rs", "");
        let words = ["check", "-v", "--target", "x86_64-unknown-linux-gnu"];
        let mut command = step.cargo(&site.0.join("context/services/one"), &words);
        let done = command.env("CARGO_TARGET_DIR", site.0.join("checked")).output().unwrap();
        remove(&site.0.join("checked")).unwrap();
        // the compilation may fail: the standard library for this target may not be installed
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        let line = said.lines().find(|line| line.contains("--crate-name one")).unwrap_or_else(|| panic!("{}", said));
        let words = line.trim_end_matches('`').split(' ').map(String::from);
        words
            .filter(|word| ["target-cpu", "target-feature", "opt-level=1"].iter().any(|key| word.contains(key)))
            .collect()
    }

    #[test]
    fn static_programs_keep_the_flags_of_cargos_configuration() {
        let build = "[build]\nrustflags = [\"-C\", \"target-cpu=x86-64-v2\"]\n";
        let build_text = "build.rustflags = \"-C target-cpu=x86-64-v2\"\n";
        let target = "[target.x86_64-unknown-linux-gnu]\nrustflags = [\"-C\", \"opt-level=1\"]\n";
        let cfg = "[target.'cfg(unix)']\nrustflags = [\"-C\", \"opt-level=1\"]\n";
        let none = "[target.x86_64-unknown-linux-gnu]\nrustflags = []\n";
        let (both, emptied) = ([build, target].concat(), [build, none].concat());
        let by_variable = ("CARGO_BUILD_RUSTFLAGS", "-C target-cpu=x86-64");
        for (text, variables) in [
            (build, &[][..]),
            (build_text, &[]),
            (&emptied, &[]),
            (&both, &[]),
            (target, &[by_variable]),
            (cfg, &[(FLAGS, "-C opt-level=1")]),
            ("", &[by_variable]),
        ] {
            let site = Site::new();
            site.put(if text == build { ".cargo/config" } else { "services/.cargo/config.toml" }, text);
            let wanted = flags_of_cargo(&site, &configured(&site, variables).unwrap());
            let found = configured(&site, &[&[("STATIC", "gnu")], variables].concat()).unwrap();
            let (added, kept): (Vec<String>, Vec<String>) =
                flags_of_cargo(&site, &found).into_iter().partition(|word| word.contains("crt-static"));
            assert_eq!((kept, added.len()), (wanted, 1), "{:?} {:?}", text, variables);
        }
    }

    #[test]
    fn what_static_cannot_join_is_refused_by_name() {
        let both = "[build]\nrustflags = \"-g\"\n[target.'cfg(windows)']\nrustflags = \"-g\"\n";
        let opposite = "[target.'cfg(all())']\nrustflags = [\"-C\", \"target-feature=-crt-static\"]\n";
        for (text, kind, named) in [
            (both, "gnu", "build.rustflags and target.'cfg(…)'.rustflags"),
            (opposite, "gnu", "-crt-static"),
            ("build.target = \"x86_64-unknown-linux-gnu\"\n", "musl", "build.target"),
            ("build.target = \"x86_64-unknown-linux-musl\"\n", "gnu", "build.target"),
        ] {
            let site = Site::new();
            site.put("services/.cargo/config.toml", text);
            let failure = configured(&site, &[("STATIC", kind)]).err().unwrap();
            assert!(failure.text.contains(named), "{}", failure.text);
        }
        let site = Site::new();
        site.put("services/.cargo/config.toml", "build = [\n");
        assert_ne!(configured(&site, &[("STATIC", "gnu")]).err().unwrap().code, 0);
    }

    #[test]
    fn the_users_configuration_outdoes_what_is_set_for_another_platform() {
        let (linker, target) = ("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "CARGO_BUILD_TARGET");
        let cross = format!("{}=aarch64-unknown-linux-gnu\n{}=gcc\nCC_a=gcc\nAR_a=ar\n", target, linker);
        let set_with = |text: &str| {
            let site = Site::new();
            fs::write(site.0.join("cross.env"), &cross).unwrap();
            site.put(".cargo/config.toml", text);
            let step = configured(&site, &[]).unwrap();
            let mut set: Vec<&str> = [target, linker, "CC_a", "AR_a"]
                .into_iter()
                .filter(|name| step.environment.raw(name).is_some())
                .collect();
            set.sort_unstable();
            set.join(" ").replace(linker, "LINKER").replace(target, "TARGET")
        };
        assert_eq!(set_with("[build]\njobs = 1\n"), "AR_a TARGET LINKER CC_a");
        assert_eq!(set_with("[env]\nCC_a = \"clang\"\n"), "AR_a TARGET LINKER");
        assert_eq!(set_with("[target.aarch64-unknown-linux-gnu]\nlinker = \"clang\"\n"), "AR_a TARGET CC_a");
        assert_eq!(set_with("[target.'cfg(unix)']\nlinker = \"clang\"\n"), "AR_a TARGET CC_a");
        assert_eq!(set_with("[target.x86_64-unknown-linux-gnu]\nlinker = \"clang\"\n"), "AR_a TARGET LINKER CC_a");
        assert_eq!(set_with("build.target = \"aarch64-unknown-linux-musl\"\n"), "AR_a LINKER CC_a");
        assert_eq!(set_with("build.target = \"x86_64-unknown-linux-gnu\"\n"), "AR_a TARGET LINKER CC_a");
    }

    #[test]
    fn incremental_is_off_where_the_configuration_says_so() {
        let incremental = |text: &str, asked: &str| {
            let site = Site::new();
            site.put("services/.cargo/config.toml", text);
            configured(&site, &[("CARGO_INCREMENTAL", asked)]).unwrap().wanted.incremental
        };
        assert_eq!(incremental("[build]\nincremental = false\n", "1"), "0");
        assert_eq!(incremental("[build]\nincremental = true\n", "1"), "1");
        assert_eq!(incremental("[build]\njobs = 1\n", "1"), "1");
        assert_eq!(incremental("[build]\nincremental = true\n", "0"), "0"); // the default, for images that ship
    }

    #[test]
    fn a_toolchain_that_the_image_does_not_have_is_named() {
        let toolchain =
            |rustc: &str| Toolchain { key: "0".into(), rustc: rustc.into(), host: "x86_64-unknown-linux-gnu".into() };
        let stable = toolchain("rustc 1.85.0 (4d91de4e4 2025-02-17)");
        for (text, obeyed) in [
            ("1.85.0\n", true),
            ("1.85", true),
            ("stable\n", true),
            ("1.8", false),
            ("nightly-2026-01-01", false),
            ("[toolchain]\nchannel = \"1.85\" # pinned\ncomponents = [\"rustfmt\"]\n", true),
            ("[toolchain]\nchannel='1.85.0-x86_64-unknown-linux-gnu'\n", true),
            ("[toolchain]\nchannel = \"1.84.1\"\n", false),
            ("[toolchain]\npath = \"/opt/mine\"\n", false),
            ("[toolchain]\ncomponents = [\"rustfmt\"]\n", true),
        ] {
            assert_eq!(stable.is(&chosen_toolchain(text)), obeyed, "{}", text);
        }
        assert!(!toolchain("rustc 1.86.0-nightly (x)").is("stable"));
        let site = Site::new();
        let with = |path: &str, strict: &str| {
            let environment =
                [("PATH", path), ("STRICT_TOOLCHAIN", strict)].map(|(name, value)| (name.into(), value.into()));
            stable.check_the_choice(&Name(b"rust-toolchain".to_vec()), "1.84", &Environment(environment.to_vec()))
        };
        let bin = site.0.join("out").display().to_string();
        assert!(with(&bin, "").is_ok());
        let text = with(&bin, "1").err().unwrap().text;
        assert!(text.contains("rust-toolchain requires 1.84") && text.contains("rustc 1.85.0"), "{}", text);
        fs::write(site.0.join("out/rustup"), "").unwrap();
        assert!(with(&format!("/nowhere:{}", bin), "1").is_ok());
    }

    fn selection(variables: &[(&str, &str)]) -> Outcome<String> {
        let member = |name: &str, bins: &[&str], default: bool| Member {
            name: name.into(),
            version: "0.1.0".into(),
            bins: bins.iter().map(|bin| bin.to_string()).collect(),
            default,
        };
        let members = [
            member("api", &["api"], true),
            member("worker", &["worker", "sweeper"], true),
            member("common", &[], true),
            member("gtk-tool", &["tool"], false),
        ];
        let environment = Environment(variables.iter().map(|(name, value)| (name.into(), value.into())).collect());
        let chosen = Selection::new(&Wanted::from(&environment)?, &members)?;
        Ok([chosen.packages, chosen.targets, chosen.features].concat().join(" "))
    }

    #[test]
    fn the_selection_is_the_same_whichever_program_is_compiled() {
        assert_eq!(selection(&[]).unwrap(), "-p api:0.1.0 -p worker:0.1.0 --bins");
        assert_eq!(selection(&[("BINS", "api")]).unwrap(), "-p api:0.1.0 -p worker:0.1.0 --bin api");
        let shipped = ("PROGRAMS", "api sweeper");
        assert_eq!(selection(&[shipped]).unwrap(), "-p api:0.1.0 -p worker:0.1.0 --bin api --bin sweeper");
        assert_eq!(selection(&[shipped, ("BINS", "sweeper")]).unwrap(), "-p api:0.1.0 -p worker:0.1.0 --bin sweeper");
        assert_eq!(selection(&[("PROGRAMS", "tool")]).unwrap(), "-p gtk-tool:0.1.0 --bin tool");
        let features = [("PROGRAMS", "api"), ("FEATURES", "tls api/fast"), ("NO_DEFAULT_FEATURES", "1")];
        assert_eq!(
            selection(&features).unwrap(),
            "-p api:0.1.0 --bin api --features tls --features api/fast --no-default-features"
        );
        let unknown = selection(&[("BINS", "apy")]).err().unwrap();
        assert_eq!(
            (unknown.code, &unknown.text[..]),
            (101, "no binary 'apy' in the workspace; available: api worker sweeper tool")
        );
        assert!(selection(&[("NO_DEFAULT_FEATURES", "yes")]).is_err());
        assert!(
            names_default_members("[workspace]\ndefault-members = [\n")
                && !names_default_members("# default-members = []")
        );
    }

    #[test]
    fn cargos_messages() {
        let mut messages = Messages::default();
        for line in [
            r#"{"reason":"compiler-artifact","package_id":"registry+https://x#dep@1.0.0","target":{"kind":["lib"],"name":"dep"},"fresh":true}"#,
            r#"{"reason":"compiler-artifact","package_id":"path+file:///src/api#0.1.0","target":{"kind":["custom-build"],"name":"b"},"fresh":true}"#,
            r#"{"reason":"compiler-artifact","package_id":"path+file:///src/api#0.1.0","features":["default","x"],
                "target":{"kind":["bin"],"name":"the \u0061pi"},"fresh":false,"executable":"/t/api","n":[1.5e3,-2,null,true,{}]}"#,
            "not JSON",
            r#"{"reason":"build-finished","success":true}"#,
        ] {
            messages.take(line.as_bytes());
        }
        let made = &messages.made[0];
        assert!(messages.finished);
        assert_eq!((messages.fresh(), messages.made.len()), (1, 1));
        assert_eq!((&made.name[..], &made.package[..], made.path.as_path()), ("the api", "api", Path::new("/t/api")));
        assert_eq!(made.features, ["default", "x"]);
        for (id, name) in [
            ("api 0.1.0 (path+file:///a)", "api"),
            ("path+file:///a/b#api@0.1.0", "api"),
            ("path+file:///a/api#0.1.0", "api"),
        ] {
            assert_eq!(package_name(id), name);
        }
        for broken in ["{", "[1,", "\"\\u12", "nul", "{} x", &"[".repeat(100)] {
            assert_eq!(Json::parse(broken.as_bytes()), None, "{}", broken);
        }
        assert_eq!(Json::parse(br#""\ud83d\ude00 \n""#), Some(Json::Text("\u{1f600} \n".into())));
    }

    #[test]
    fn a_program_answers_for_its_packages() {
        let site = Site::new();
        site.put("services/plain/a b\n", "");
        site.link("services/plain/out", "../migrations");
        let (tree, step) = (site.sync(), site.step());
        let path = site.0.join("out/api");
        let listed = format!(
            "{}: {}/services/plain/a\\ b\n {0} {1}/services/plain/out/1.sql\n",
            path.display(),
            step.src().display()
        );
        assert_eq!(dependencies(listed.as_bytes(), &path).len(), 3);
        fs::write(site.0.join("out/api.d"), listed).unwrap();
        let program = Program { name: "api".into(), package: "api".into(), features: vec!["x".into()], path };
        let text = Sources::new(&tree, &step).unwrap().manifest(&program, &step).unwrap();
        let json = Json::parse(&text).unwrap();
        let files: Vec<&str> = match json.get("files") {
            Some(Json::Object(files)) => files.iter().map(|(name, _)| name.as_str()).collect(),
            _ => panic!("{}", String::from_utf8_lossy(&text)),
        };
        let of_the_workspace = ["services/Cargo.toml", "services/migrations/1.sql"];
        assert!(of_the_workspace.iter().all(|name| files.contains(name)), "{:?}", files);
        assert!(files.contains(&"services/plain/a b\n") && files.contains(&"services/vendored/.cargo-checksum.json"));
        assert!(!files.iter().any(|name| name.contains("scripted") || name.contains("Cargo.lock")), "{:?}", files);
        assert_eq!(json.list("packages").iter().map(Json::text).collect::<Vec<_>>(), ["services", "services/plain"]);
        assert_eq!(json.field("crate"), "api");
    }

    #[test]
    fn damaged_downloads_go() {
        let site = Site::new();
        let home = site.0.join("cargo");
        site.put("services/Cargo.lock", &format!(
            "[[package]]\nname = \"good\"\nversion = \"1.0.0\"\nchecksum = \"{}\"\n\n[[package]]\nname = \"bad\"\nversion = \"1.0.0\"\nchecksum = \"{}\"\n",
            hex(&sha256(b"good")),
            hex(&sha256(b"bad")),
        ));
        site.sync();
        for (name, text) in [
            ("cache/x/good-1.0.0.crate", "good"),
            ("cache/x/bad-1.0.0.crate", "ba"),
            ("cache/x/other-1.0.0.crate", ""),
            ("src/x/good-1.0.0/.cargo-ok", "ok"),
            ("src/x/half-1.0.0/.cargo-ok", ""),
            ("src/x/none-1.0.0/lib.rs", ""),
        ] {
            let path = home.join("registry").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let step = Step { cargo_home: home.clone(), ..site.step() };
        assert!(step.repair_registry().unwrap() && !step.repair_registry().unwrap());
        let left = |name: &str| home.join("registry").join(name).exists();
        assert!(left("cache/x/good-1.0.0.crate") && left("cache/x/other-1.0.0.crate") && left("src/x/good-1.0.0"));
        assert!(!left("cache/x/bad-1.0.0.crate") && !left("src/x/half-1.0.0") && !left("src/x/none-1.0.0"));
    }

    #[test]
    fn cargos_lock_lies_in_the_mount() {
        let site = Site::new();
        let home = site.0.join("cargo");
        share_cargo_lock(&home).unwrap();
        share_cargo_lock(&home).unwrap();
        assert_eq!(fs::read_link(home.join(".package-cache")).unwrap(), Path::new("registry/.package-cache"));
    }

    #[test]
    fn manifests_are_read_as_far_as_needed() {
        let directory = Name(b"here".to_vec());
        let read = |text: &str| {
            let found = read_manifest(text, &directory);
            (found.name, found.scripted)
        };
        assert_eq!(read("[package] # x\nname = 'a'\n[lib]\nname = \"b\"\nbuild = 1"), (Some("a".into()), false));
        assert_eq!(read("[ package ]\nversion = \"1\"\nbuild = \"b.rs\""), (Some("here".into()), true));
        assert_eq!(read("[workspace]\nname = \"x\""), (None, false));
        let flags = |text: &str| {
            let found = read_manifest(text, &directory);
            (found.outlying, found.inherits)
        };
        for text in [
            "[lib]\npath = \"../x.rs\"",
            "lib = { path = '/x.rs' }",
            "[[bin]]\npath=\"a/../../x.rs\"",
            "[package]\nbuild = \"../b.rs\"",
        ] {
            assert_eq!(flags(text), (true, false), "{}", text);
        }
        for text in [
            "[lib]\npath = \"x..rs\"",
            "[dependencies]\na = { path = \"../a\" }",
            "[dependencies.a]\npath = \"../a\"",
            "dependencies.a.path = \"../a\"",
        ] {
            assert_eq!(flags(text), (false, false), "{}", text);
        }
        for text in [
            "[package]\nlicense.workspace = true",
            "[package.license]\nworkspace = true",
            "package.license = { workspace = true }",
        ] {
            assert_eq!(flags(text), (false, true), "{}", text);
        }
        assert_eq!(flags("[dependencies]\na.workspace = true\n[lints]\nworkspace = true"), (false, false));
        let needs = "[dependencies]\na = \"1\"\nb.workspace = true\n[build-dependencies.c]\npath = \"../c\"\n[target.'cfg(unix)'.build-dependencies]\nd = { package = \"e\" }\n";
        let needs = read_manifest(needs, &directory);
        assert!(["a", "b"].iter().all(|name| needs.needs.contains(&name.to_string())));
        assert!(["c", "d", "e"].iter().all(|name| needs.script_needs.contains(&name.to_string())));
        assert_eq!(
            inherited_lines("[workspace]\n[workspace.package] # x\na = 1\n\n# b\n[workspace.metadata]\nc = 1\n"),
            "a = 1"
        );
        for text in ["[workspace]\npackage.a = 1", "[workspace]\npackage = { a = 1 }", "workspace.package.a = 1"] {
            assert_eq!(inherited_lines(text), text);
        }
        for code in
            ["include!(\"../x\")", "join(\"..\")", "p.parent()", "p.pop()", "ancestors()", "CARGO_WORKSPACE_DIR"]
        {
            assert!(looks_outside(code.as_bytes()), "{}", code);
        }
        assert!(!looks_outside(b"for x in 0..3 { a.b.c(\"x\") / 2 } // .. parent pop"));
    }

    #[test]
    fn sha_256() {
        assert_eq!(hex(&sha256(b"")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(hex(&sha256(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let text: Vec<u8> = (0..1000u32).map(|n| n as u8).collect();
        for cut in 0..200 {
            let mut digest = Sha256::new();
            digest.update(&text[..cut]);
            digest.update(&text[cut..2 * cut]);
            digest.update(&text[2 * cut..]);
            assert_eq!(digest.finish(), sha256(&text));
        }
        // with the processor's SHA instructions, if available, and without
        let (mut one, mut other) = (Sha256::new(), Sha256::new());
        for blocks in [&text[..64], &text[64..960], &text[..0], &text[1..129]] {
            one.compress(blocks);
            other.compress_portably(blocks);
            assert_eq!(one.state, other.state);
        }
        assert_eq!(unhex(hex(&sha256(b"abc")).as_bytes()), Some(sha256(b"abc")));
        assert_eq!((unhex(b"ab"), unhex("x".repeat(64).as_bytes())), (None, None));
    }

    #[test]
    fn contents_are_compared_over_buffers_that_they_do_not_fill() {
        let site = Site::new();
        let mut scratch = Scratch(vec![0; 8], vec![0; 8]);
        for (one, other) in [
            ("", ""),
            ("abcdefgh", "abcdefgh"),
            ("abcdefgh", "abcdefghi"),
            ("abcdefghi", "abcdefgh"),
            ("abcdefghX", "abcdefghY"),
        ] {
            let paths = ["one", "other"].map(|name| site.0.join(name));
            fs::write(&paths[0], one).unwrap();
            fs::write(&paths[1], other).unwrap();
            let (first, second) = read_both(&paths[0], &paths[1], &mut scratch).unwrap();
            assert_eq!((first.digest, second.digest), (sha256(one.as_bytes()), sha256(other.as_bytes())));
            assert!(read_one(&paths[1], &mut scratch).unwrap() == second);
        }
    }
}
