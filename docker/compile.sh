#!/bin/sh
# compile.sh: one `cargo build` in a RUN step whose target directory lives in a cache mount, and never a stale one.
#
#   compile.sh cross   makes the toolchain able to compile for another platform, if that is what the build is for
#   compile.sh key     prepares the toolchain's layer and prints its identity (a cached layer: builds do not pay for it)
#   compile.sh place   prints where the tree in the mount lies
#   compile.sh build   makes the tree in the mount equal to the context, compiles, leaves binaries and manifests in the
#                      working directory
#
# cargo decides by modification times. In an image build these mean nothing: checkouts, COPY, archives and clocks set
# them at will. So the sources are compared by content with the tree that was compiled last, only what differs gets a new
# time, and whatever cargo could not attribute to a crate is marked by us. docs/explanation/never-stale.md has the proof.
#
# Everything lies in one mount, whole or not at all: /build/FORMAT-KEY/{src,target,state}, one per toolchain.
#
# Needs only what Debian's and busybox's `sh`, awk, cmp, cp, find, mkdir, rm, sha256sum, sort, stat, tar, touch, tr and
# xargs have in common. No flock: cargo's own lock is moved into the registry mount instead (see `key`).
# Lines `# step: NAME {` ... `# step: NAME }` enclose what can be left out; the tests leave each out and must fail.
set -euf

FORMAT=1       # of the mount's content; another number starts from nothing
CONTEXT=/context
MOUNT=/build
OUT=$(pwd)     # a directory of its own
TOOLCHAIN=/toolchain.key
CROSS=/cross.env   # what cargo has to know to compile for another platform; empty for the machine's own
KEEP=3         # toolchains whose trees stay in the mount

say() { printf 'buildkit-tasks: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 2; }

# for_each LIST COMMAND ...: COMMAND with the lines of a file as further arguments. A pipe, because busybox's xargs loses
# its place in a file; this shell knows the status of a pipe's last command only, so the first's takes a way of its own.
for_each() {
    (
        list=$1
        shift
        { read=$({ { tr '\n' '\0' < "$list"; echo $? >&3; } | xargs -0 "$@" >&4 3>&-; } 3>&1); } 4>&1 && [ "$read" = 0 ]
    )
}

# -------------------------------------------------------------------------------------------------------------- cross

# The C cross compiler comes from Debian's packages, Rust's standard library from rustup where the image has it, from Debian
# where rustc does. What is there is not fetched. CROSS_PACKAGES: development packages to have for the target as well.
# What cargo has to know is left in /cross.env; where a variable is set already, that value wins.
cross() {
    : > "$CROSS"
    # a builder without BuildKit tells neither
    [ "${TARGETARCH:-}" != "${BUILDARCH:-}" ] || return 0
    case $TARGETARCH in
        amd64) triple=x86_64-unknown-linux-gnu gnu=x86_64-linux-gnu compiler=g++-x86-64-linux-gnu ;;
        arm64) triple=aarch64-unknown-linux-gnu gnu=aarch64-linux-gnu compiler=g++-aarch64-linux-gnu ;;
        *) die "compile.sh cross-compiles for amd64 and arm64, not for $TARGETARCH" ;;
    esac
    wanted=
    for name in ${CROSS_PACKAGES:-}; do wanted="$wanted $name:$TARGETARCH"; done
    command -v "$gnu-g++" > /dev/null || wanted="$wanted $compiler libc6-dev-$TARGETARCH-cross"
    library=$(rustc --print target-libdir --target "$triple")
    if [ -z "$(find "$library" -name 'libstd-*.rlib' 2> /dev/null)" ]; then
        if command -v rustup > /dev/null; then rustup target add "$triple"; else wanted="$wanted $(standard_library)"; fi
    fi
    # shellcheck disable=SC2086  # a word each
    if [ -n "$wanted" ]; then add_packages $wanted; fi
    small=$(printf %s "$triple" | tr - _)
    large=$(printf %s "$small" | tr '[:lower:]' '[:upper:]')
    while read -r name value; do
        # shellcheck disable=SC2016  # expanded where it is read
        printf 'export %s="${%s-%s}"\n' "$name" "$name" "$value"
    done > "$CROSS" << END
CARGO_BUILD_TARGET $triple
CARGO_TARGET_${large}_LINKER $gnu-gcc
CC_$small $gnu-gcc
CXX_$small $gnu-g++
AR_$small $gnu-ar
RANLIB_$small $gnu-ranlib
PKG_CONFIG_ALLOW_CROSS_$small 1
PKG_CONFIG_LIBDIR_$small /usr/lib/$gnu/pkgconfig:/usr/share/pkgconfig
END
}

# The package with the target's standard library, from the same source as the compiler's own.
standard_library() {
    owner=$(dpkg -S "$(readlink -f "$(command -v rustc)")" 2> /dev/null) || owner=
    case ${owner%%:*} in
        rustc) echo "libstd-rust-dev:$TARGETARCH" ;;
        rustc-web) echo "libstd-rust-web-dev:$TARGETARCH" ;;
        *) die "the standard library for $triple is missing, and neither rustup nor Debian's rustc is here: put it into $library" ;;
    esac
}

add_packages() {
    command -v apt-get > /dev/null ||
        die "compiling for $TARGETARCH needs $*: use a toolchain image of Debian's family, or one that has a cross compiler"
    dpkg --add-architecture "$TARGETARCH"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" > /dev/null
    find /var/lib/apt/lists /var/log -type f -delete
}

# ---------------------------------------------------------------------------------------------------------------- key

# Prints four lines: the key, rustc's version, the host's triple, how exactly find compares times. The key is made of the bytes that can take part in a
# compilation (compiler, standard library, system libraries, headers, tools), not of package lists or times: a library
# put there by hand counts, a rebuilt image with the same bytes does not.
key() {
    LC_ALL=C
    export LC_ALL
    share_cargo_lock
    : "${CARGO_HOME:=${HOME:-/root}/.cargo}"
    work=$(mktemp -d)
    set --
    sysroot=$(rustc --print sysroot)
    case $sysroot in /usr | /usr/* | /opt/*) sysroot='' ;; esac
    for dir in /usr /opt /bin /sbin /lib /lib64 /etc/alternatives "${HOME:-/root}" "$sysroot"; do
        # on a system with a merged /usr, /bin and its like are links
        if [ -d "$dir" ] && [ ! -L "$dir" ]; then set -- "$@" "$dir"; fi
    done
    find "$@" \( -path "$CARGO_HOME/registry" -o -path "$CARGO_HOME/git" -o -name __pycache__ \
        -o -path /usr/share/doc -o -path /usr/share/man -o -path /usr/share/locale \) -prune -o \
        -type f -print -o -type l -exec stat -c %N {} + > "$work/entries"
    awk 'NR % 2 && /^\//' "$work/entries" > "$work/odd.names"
    awk 'NR % 2 == 0 && /^\//' "$work/entries" > "$work/even.names"
    # two readers at once: half the time
    for_each "$work/odd.names" sha256sum > "$work/odd" &
    reader=$!
    for_each "$work/even.names" sha256sum > "$work/even"
    wait "$reader"
    {
        uname -m
        rustc -vV
        cargo -V
        awk '!/^\//' "$work/entries"
        cat "$work/odd" "$work/even"
    } > "$work/all"
    sort -u "$work/all" > "$work/inputs"
    digest=$(sha256sum < "$work/inputs")
    version=$(rustc -vV)
    printf '%.16s\n' "$digest"
    rustc -V
    printf '%s\n' "$version" | sed -n 's/^host: //p'
    if find . --version 2>/dev/null | grep -q GNU; then echo nanoseconds; else echo seconds; fi
    rm -r "$work"
}

# cargo locks its package cache with files in CARGO_HOME, which is outside the mounts: builds in different containers
# would unpack into the same registry at once ("File exists (os error 17)"). Links move the locks into the mount.
share_cargo_lock() {
    mkdir -p "${CARGO_HOME:=${HOME:-/root}/.cargo}/registry" "$CARGO_HOME/git"
    # step: cargo-lock {
    for name in .package-cache .package-cache-mutate; do
        ln -sf "registry/$name" "$CARGO_HOME/$name"
    done
    # step: cargo-lock }
}

# -------------------------------------------------------------------------------------------------------------- build

build() {
    bins=${BINS:-} profile=${PROFILE:-release} source=${SOURCE:-.} incremental=${CARGO_INCREMENTAL:-0}
    self=.${0#"$CONTEXT"}
    source=${source#./} source=${source%/}
    [ -n "$source" ] || source=.
    [ -e "$CONTEXT/$source/Cargo.toml" ] ||
        die "there is no $source/Cargo.toml in the build context: SOURCE must name the cargo workspace's directory," \
            "and .dockerignore must let it in"
    # What the comparison of environments leaves out, cargo does not get to see either. The last line: a BuildKit daemon
    # outside the engine gives every step a trace of its own, another one at every build.
    unset BINS PROFILE SOURCE CACHE_SCOPE REBUILD HOSTNAME OLDPWD CARGO_INCREMENTAL \
        TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT BUILDPLATFORM BUILDOS BUILDARCH BUILDVARIANT \
        TRACEPARENT TRACESTATE OTEL_TRACE_PARENT OTEL_TRACES_EXPORTER \
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT OTEL_EXPORTER_OTLP_TRACES_PROTOCOL
    use_mold
    choose_base
    choose_target
    sync_sources
    run_cargo
    write_out
}

# A faster linker where the image has one, in the place of `ld` only: a linker or flag that the user configured wins.
use_mold() {
    for dir in /usr/libexec/mold /usr/local/libexec/mold; do
        if [ -x "$dir/ld" ]; then
            COMPILER_PATH=$dir${COMPILER_PATH:+:$COMPILER_PATH}
            export COMPILER_PATH
            return
        fi
    done
}

# One tree per toolchain and system libraries: objects of two images never mix.
name_base() {
    { read -r key && read -r rustc && read -r host && read -r clock; } < "$TOOLCHAIN" ||
        die "$TOOLCHAIN does not hold the four lines that \`compile.sh key\` prints: the toolchain's layer has to be" \
            "made again, by the Dockerfile that belongs to this compile.sh"
    # rustup obeys a file in the sources: then only the compiler itself knows which one it is, and cargo's cached answers
    # (trusted by the compiler's path and time) are not to be believed
    dir=$source
    while :; do
        if [ -e "$CONTEXT/$dir/rust-toolchain.toml" ] || [ -e "$CONTEXT/$dir/rust-toolchain" ]; then
            version=$(cd "$CONTEXT/$dir" && rustc -vV)
            rustc=${version%%
*}
            CARGO_CACHE_RUSTC_INFO=0
            export CARGO_CACHE_RUSTC_INFO
            digest=$(printf '%s\n' "$version" | sha256sum)
            key=$key-$(printf %.8s "$digest")
            break
        fi
        case $dir in .) break ;; */*) dir=${dir%/*} ;; *) dir=. ;; esac
    done
    # step: toolchain-key {
    set -- "$FORMAT-$key"
    # step: toolchain-key }
    base=$MOUNT/${1:-any}
    src=$base/src target=$base/target state=$base/state
}

choose_base() {
    name_base
    if [ ! -d "$base" ]; then
        # shellcheck disable=SC2012  # names are ours: no odd characters
        ls -t "$MOUNT" 2>/dev/null | sed -n "s/\\.used\$//p" | tail -n "+$KEEP" | while read -r old; do
            rm -rf "${MOUNT:?}/$old" "$MOUNT/$old.used"
            say "removed $old (objects of a toolchain that was not used lately)"
        done
    fi
    mkdir -p "$src" "$target" "$state"
    : > "$base.used"
}

# What cargo compiles for, where that is not simply the machine it runs on: another platform, or a program without shared
# libraries (STATIC: gnu or musl). Build scripts and proc macros stay the machine's own.
choose_target() {
    # shellcheck source=/dev/null
    if [ -e "$CROSS" ]; then . "$CROSS"; fi
    case ${STATIC:-} in
        '') return ;;
        gnu) triple=${CARGO_BUILD_TARGET:-$host} ;;
        musl)
            triple=${CARGO_BUILD_TARGET:-$host}
            triple=${triple%-*}-musl
            library=$(rustc --print target-libdir --target "$triple")
            [ -n "$(find "$library" -name 'libstd-*.rlib' 2> /dev/null)" ] ||
                die "the toolchain image has no standard library for $triple: use one where \`rustup target add $triple\` was run, or STATIC=gnu"
            ;;
        *) die "STATIC is gnu or musl, not '$STATIC'" ;;
    esac
    # cargo takes flags from one place only, and the environment comes first, also when it is empty
    for name in RUSTFLAGS CARGO_ENCODED_RUSTFLAGS; do
        if eval "[ -n \"\${$name+set}\" ]"; then
            die "STATIC=$STATIC has no effect where $name is set: add -C target-feature=+crt-static to $name and" \
                "leave STATIC out, or move the flags to .cargo/config.toml"
        fi
    done
    flags=CARGO_TARGET_$(printf %s "$triple" | tr '[:lower:]-' '[:upper:]_')_RUSTFLAGS
    eval "$flags=\"\${$flags:-} -C target-feature=+crt-static\""
    CARGO_BUILD_TARGET=$triple
    # shellcheck disable=SC2163  # the name is in the variable
    export CARGO_BUILD_TARGET "$flags"
}

# Makes src equal to the context by content, and every difference visible to cargo.
sync_sources() {
    everything=   # why all of the workspace has to be compiled again, if so
    # step: env {
    # build scripts and proc macros read the environment without telling cargo. Proxies do not count, as for BuildKit.
    # A digest: what a mount holds may travel to other machines, the values of variables must not.
    (
        unset HTTP_PROXY http_proxy HTTPS_PROXY https_proxy FTP_PROXY ftp_proxy NO_PROXY no_proxy ALL_PROXY all_proxy
        environment=$(
            export -p
            # a secret, perhaps: BuildKit does not see it change, but when the step runs we can
            if [ -e "${CARGO_HOME:-}/config.toml" ]; then cat "$CARGO_HOME/config.toml"; fi
        )
        printf '%s\n' "$environment" | sha256sum > "$state/env.new"
    )
    if [ -e "$state/env" ] && ! cmp -s "$state/env" "$state/env.new"; then everything='environment changed'; fi
    # step: env }
    # step: pending {
    if [ -e "$state/pending" ]; then everything='the last sync was interrupted'; fi
    # step: pending }
    : > "$state/pending"
    list_tree "$src" > "$state/source" &
    listing=$!
    # step: clock {
    check_clock
    # step: clock }
    list_tree "$CONTEXT" > "$state/context" || die "cannot list the build context"
    wait "$listing" || die "cannot list the sources that the last build left in the mount"
    result=0
    plan_sync || result=$?
    if [ "$result" = 0 ]; then
        apply_plan
    elif [ "$result" != 3 ]; then
        exit "$result"
    else
        # names that the tools print in different ways (newline, backslash, quote): no comparison, everything is new
        say 'marked everything (file names with newlines, backslashes or quotes)'
        rm -rf "$src"
        mkdir "$src"
        echo . > "$state/come"
        copy_to_src
        rm -rf "$src/$source/target" "${src:?}/$self"   # what listings leave out
        : > "$state/tree.new"
    fi
    mv "$state/tree.new" "$state/tree"
    # step: env {
    mv "$state/env.new" "$state/env"
    # step: env }
    # step: clock {
    : > "$state/synced"
    late=$(find "$state/now" -newer "$state/synced")
    if [ -n "$late" ]; then
        say 'the clock went back during the sync: once more'
        sync_sources
    fi
    # step: clock }
    rm -f "$state/pending"
}

# Anything newer than now was written under a clock ahead of ours: edits of today would look older than it.
check_clock() {
    : > "$state/now"
    if [ "$clock" = seconds ]; then
        # busybox compares whole seconds: what was written in this very second must not pass for older
        touch -d "@$(($(date +%s) - 1))" "$state/before"
        newer_than "$state/before" > "$state/newer"
        if [ -s "$state/newer" ]; then sleep 1; : > "$state/now"; fi
    fi
    newer_than "$state/now" > "$state/newer"
    if [ -s "$state/newer" ]; then
        everything='the clock went back'
        for_each "$state/newer" touch -c -r "$state/now"
        # marks must be strictly later than that: one tick of the kernel's clock, or a second for busybox
        if [ "$clock" = seconds ]; then sleep 1; else sleep 0.01; fi
    fi
}

# incremental/ is left out: rustc does not look at times there, and it holds most of the files
newer_than() { find "$target" "$src" -name incremental -prune -o ! -type l -newer "$1" -print; }

# Lines `MODE PATH` of every entry, and `SHA256  PATH` of every file's content and of every link's destination.
# Joined by &&, because within `list_tree ... ||` a shell does not stop at what fails.
list_tree() (
    LC_ALL=C
    export LC_ALL
    left_out=./$source/target
    if [ "$source" = . ]; then left_out=./target; fi
    set -- "$1" -path "$self" -prune -o -path "$left_out" -prune -o
    # shellcheck disable=SC2016  # expanded by the inner shell
    cd "$1" && shift &&
        # three walks: busybox runs `-exec ... {} +` neither within parentheses nor after another one
        find . "$@" -exec stat -c '%f %n' {} + &&
        find . "$@" -type f -exec sha256sum {} + &&
        find . "$@" -type l -exec sh -c '
            for link do
                to=$(readlink "$link" && echo .) || exit   # the dot: a link may end in a newline
                hash=$(printf %s "${to%.}" | sha256sum) || exit
                printf "%s  %s\n" "${hash%% *}" "$link"
            done' sh {} +
)

# Compares context, src, and what the last sync left in src; writes state/{gone,dirs,come,touch,forget,tree.new}.
# Fails when a file name cannot be handled line by line.
plan_sync() {
    [ -e "$state/tree" ] || : > "$state/tree"
    for name in gone dirs come touch forget tree.new; do : > "$state/$name"; done
    # shellcheck disable=SC2016  # expanded where it is run
    LC_ALL=C OUTLOOK='\.\./|["/]\.\."|parent\(\)|ancestors\(|pop\(\)|WORKSPACE' \
        GREP='grep -lE "$OUTLOOK" "$@" || [ $? = 1 ]' awk -v state="$state" -v ctx="$CONTEXT" -v everything="$everything" '
        function give_up(why) { print "buildkit-tasks: error: " why > "/dev/stderr"; exit 4 }
        function kind(mode) {   # f: file, x: executable file, l: link, d: directory
            if (mode ~ /^4/) return "d"
            if (mode ~ /^a/) return "l"
            return mode ~ /[4567cdef].$/ ? "x" : "f"
        }
        function read_tree(list, sig,   line, path, hash, got) {
            while ((got = (getline line < list)) > 0) {
                path = line; sub(/^[^ ]*  ?/, "", path)
                if (path !~ /^\.($|\/)/ || path ~ /[\001-\037\\"]/ || line !~ /^[0-9a-f]+ /) { odd = 1; continue }
                hash = line; sub(/ .*/, "", hash)
                if (length(hash) < 64) sig[path] = kind(hash) sig[path]
                else sig[path] = sig[path] hash
            }
            if (got < 0) give_up("cannot read " list)
            close(list)
        }
        function parent(path) { return sub(/\/[^\/]*$/, "", path) ? path : "" }
        function owner(path) {   # directory of the nearest Cargo.toml above, "" if there is none
            for (path = parent(path); path != ""; path = parent(path))
                if ((path "/Cargo.toml") in new || (path "/Cargo.toml") in was) return path
            return ""
        }
        function manifest(dir,   file, line, section) {   # reads what is needed of a Cargo.toml, once
            if (dir in name) return
            name[dir] = ""; scripted[dir] = (dir "/build.rs") in new
            if (!((dir "/Cargo.toml") in new)) return
            file = ctx "/" dir "/Cargo.toml"
            while ((getline line < file) > 0) {
                if (line ~ /^[ \t]*\[/) { section = line; gsub(/[ \t\r]|#.*/, "", section) }
                if (section == "[package]" && name[dir] == "") name[dir] = substr(dir, 3) == "" ? "." : substr(dir, 3)
                if (section == "[package]" && line ~ /^[ \t]*name[ \t]*=/) {
                    gsub(/^[^=]*=[ \t]*["\047]|["\047].*/, "", line); name[dir] = line
                }
                else if (section == "[package]" && line ~ /^[ \t]*build[ \t]*=/) scripted[dir] = 1
            }
            close(file)
        }
        # cargo takes vendored crates for immutable and never looks at their files again
        function vendored(dir) { return (dir "/.cargo-checksum.json") in new || (dir "/.cargo-checksum.json") in was }
        function is_package(dir) { if (dir == "") return 0; manifest(dir); return name[dir] != "" }
        function mark(dir, why) { if (!(dir in marked)) marked[dir] = why }
        function mark_everything(why) { if (everything == "") everything = why }
        function mark_scripted(why,   path) {
            # step: scripted {
            for (path in new) if (path ~ /\/Cargo\.toml$/ && is_package(parent(path)) && scripted[parent(path)])
                mark(parent(path), why)
            # step: scripted }
        }
        # Packages that may read files outside themselves, by links or by their text (asked only when it matters).
        function mark_outlooking(why,   command, found, path) {
            if (outlook_done++) return
            # step: outlook {
            found = state "/outlooking"
            command = "cd \"" ctx "\" && { find . -type l -print && find . -name \"*.rs\" -type f -exec sh -c \"$GREP\" sh {} +; }"
            if (system(command " > \"" found "\"")) give_up("cannot look for packages that read files outside themselves")
            while ((getline path < found) > 0) if (path in new && is_package(owner(path))) mark(owner(path), why)
            close(found)
            # step: outlook }
        }
        function attribute(path, why,   dir, base) {
            why = substr(path, 3) " " why
            dir = owner(path); base = path; sub(/.*\//, "", base)
            if (base == "Cargo.lock" || (base == "Cargo.toml" && !is_package(parent(path)) && path in new)) {
                mark_scripted(why)             # cargo knows what it means for crates, not who else reads it
            } else if (is_package(dir)) {
                mark(dir, why)
            } else if (dir != "" && !((dir "/Cargo.toml") in new)) {
                ;                              # a package that is gone, or a directory that no longer is one
            } else {
                mark_everything(why)
            }
            if (base == "Cargo.toml" && dir != "" && is_package(owner(dir))) mark(owner(dir), why)
            mark_outlooking(why)
        }
        function generated(path,   dir) {      # what a build wrote, only a build can write again
            dir = owner(path)
            if (is_package(dir) && scripted[dir]) {
                mark(dir, substr(path, 3) " was written by the build")
                mark_scripted(substr(path, 3) " was written by the build")
                mark_outlooking(substr(path, 3) " was written by the build")
            } else mark_everything(substr(path, 3) " was written by the build")
        }
        function compare(path,   c, s, o) {
            # asking awk for an element that is not there would make it
            c = path in new ? new[path] : ""; s = path in was ? was[path] : ""; o = path in old ? old[path] : ""
            if (c == s && s == o) return
            if (c != s) {
                # step: delete {
                if (s != "" && (c == "" || s !~ /^[fx]/ || substr(c, 1, 1) != substr(s, 1, 1))) print path > (state "/gone")
                # step: delete }
                if (c ~ /^d/) print path > (state "/dirs")
                else if (c != "") print path > (state "/come")
            }
            # step: vendored {
            if (vendored(owner(path))) forgotten[owner(path)] = 1
            # step: vendored }
            if (first) return
            # step: generated {
            if (s != o) { generated(path); return }
            # step: generated }
            if (c == s) return
            if (c ~ /^[fx]/ && substr(c, 1, 1) == substr(s, 1, 1) && path ~ /\.rs$/) return   # cargo sees it by itself
            # step: attribute {
            attribute(path, s == "" ? "added" : c == "" ? "deleted" : "changed")
            # step: attribute }
        }
        BEGIN {
            read_tree(state "/context", new)
            read_tree(state "/source", was)
            while ((getline line < (state "/tree")) > 0) { path = line; sub(/^[^ ]* /, "", path); sub(/ .*/, "", line); old[path] = line; known++ }
            if (odd) exit 3
            for (path in new) if (new[path] ~ /^[fxl]$/) give_up("cannot read " path " in the build context")
            first = 1   # nothing to compare with, and nothing compiled
            for (path in was) if (path != ".") { first = 0; break }
            if (!first && !known) mark_everything("no record of the last sync")
            for (path in new) { print new[path] " " path > (state "/tree.new"); compare(path) }
            for (path in was) if (!(path in new)) compare(path)
            if (first) everything = ""
            for (dir in forgotten) if (is_package(dir)) {
                if (!first) print "buildkit-tasks: marked " name[dir] " (vendored sources changed)" > "/dev/stderr"
                print name[dir] > (state "/forget")
            }
            # step: everything {
            if (everything != "") {
                print "buildkit-tasks: marked everything (" everything ")" > "/dev/stderr"
                for (path in new) if (new[path] !~ /^l/) print path > (state "/touch")
                exit 0
            }
            # step: everything }
            for (dir in marked) {
                print "buildkit-tasks: marked " name[dir] " (" marked[dir] ")" > "/dev/stderr"
                any = 1
            }
            # step: mark {
            if (any) for (path in new) if (path ~ /\.rs$/ && new[path] ~ /^[fx]/ && owner(path) in marked) print path > (state "/touch")
            # step: mark }
        }'
}

apply_plan() {
    if [ -s "$state/gone" ]; then (cd "$src" && for_each "$state/gone" rm -rf); fi
    if [ -s "$state/dirs" ]; then (cd "$src" && for_each "$state/dirs" mkdir -p); fi
    if [ -s "$state/come" ]; then copy_to_src; fi
    if [ -s "$state/forget" ]; then
        find "$target" -maxdepth 4 -path '*/.fingerprint/*' -prune > "$state/fingerprints"
        awk -v list="$state/forget" '
            BEGIN { while ((getline name < list) > 0) forget[name] = 1 }
            { name = $0; sub(/.*\//, "", name); sub(/-[^-]*$/, "", name) }
            name in forget { print }' "$state/fingerprints" > "$state/forgotten"
        if [ -s "$state/forgotten" ]; then for_each "$state/forgotten" rm -rf; fi
    fi
    if [ -s "$state/touch" ]; then (cd "$src" && for_each "$state/touch" touch -c); fi
}

# Every copy gets the present as its time. tar because it keeps links and makes parents; busybox's has no -T.
copy_to_src() (
    # shellcheck disable=SC2016  # expanded by the inner shell
    cd "$CONTEXT" && for_each "$state/come" sh -c '
        packed=$({ { tar -cf - "$@"; echo $? >&3; } | tar -C "$0" -xmf - 3>&-; } 3>&1) && [ "$packed" = 0 ]' "$src"
)

run_cargo() {
    cd "$src/$source"
    CARGO_TARGET_DIR=$target CARGO_BUILD_BUILD_DIR=$target CARGO_INCREMENTAL=$incremental
    export CARGO_TARGET_DIR CARGO_BUILD_BUILD_DIR CARGO_INCREMENTAL
    set -- --locked --workspace --profile "$profile" --message-format json-render-diagnostics
    for bin in $bins; do set -- "$@" --bin "$bin"; done
    [ -n "$bins" ] || set -- "$@" --bins
    status=0
    : > "$state/messages"
    if [ ! -e "$state/built-$profile" ]; then announce_total || status=$?; fi
    if [ "$status" = 0 ]; then cargo build "$@" > "$state/messages" || status=$?; fi
    # without this message cargo failed before it compiled anything: crates damaged by a killed download?
    if [ "$status" != 0 ] && ! grep -q '"build-finished"' "$state/messages" && heal_registry; then
        status=0
        cargo build "$@" > "$state/messages" || status=$?
    fi
    [ "$status" = 0 ] || { name_bins; exit "$status"; }
    : > "$state/built-$profile"
}

# cargo suggests one similar name at most: say what there is.
name_bins() {
    [ -n "$bins" ] && ! grep -q '"build-finished"' "$state/messages" || return 0
    there=$(cargo metadata --no-deps --offline --format-version 1 2>/dev/null | tr '{' '\n' |
        sed -n '/^"kind":\["bin"\]/s/.*"name":"\([^"]*\)".*/\1/p' | sort | tr '\n' ' ')
    for bin in $bins; do
        case " $there" in *" $bin "*) ;; *) say "error: no binary '$bin' in the workspace; there are: $there" ;; esac
    done
}

# How many packages a first build will compile, for whoever shows progress. Fails only if the crates cannot be fetched,
# with cargo's own words: the build would fail with the same.
announce_total() {
    set -- --target "$host"
    if [ -n "${CARGO_BUILD_TARGET:-}" ]; then set -- "$@" --target "$CARGO_BUILD_TARGET"; fi
    cargo fetch --locked "$@" || return
    total=$(cargo tree --locked --offline --workspace --edges normal,build --prefix none --no-dedupe --format '{p}' \
        2>/dev/null | sort -u | grep -c .) || return 0
    say "total $total"
}

# Removes downloads that are not what Cargo.lock says, and unpacked crates without cargo's mark of completeness.
# Succeeds if there were any: then another try makes sense.
heal_registry() {
    : > "$state/damaged"
    [ -d "$CARGO_HOME/registry/cache" ] || return 1
    find "$CARGO_HOME/registry/cache" -name '*.crate' -exec sha256sum {} + | LC_ALL=C awk '
        FILENAME != "-" {
            value = $0; gsub(/^[^"]*"|"[^"]*$/, "", value)
            if (/^name = /) name = value; else if (/^version = /) version = value
            else if (/^checksum = /) want[name "-" version ".crate"] = value
            next
        }
        { path = substr($0, 67); file = path; sub(/.*\//, "", file) }
        file in want && want[file] != $1 { print path }
    ' Cargo.lock - > "$state/damaged"
    find "$CARGO_HOME/registry/src" -mindepth 2 -maxdepth 2 -type d 2>/dev/null | while IFS= read -r dir; do
        [ -s "$dir/.cargo-ok" ] || printf '%s\n' "$dir"
    done >> "$state/damaged"
    [ -s "$state/damaged" ] || return 1
    say "removed $(wc -l < "$state/damaged") damaged downloads from the registry mount"
    for_each "$state/damaged" rm -rf
}

# Leaves BIN/{bin/service,share/buildkit-tasks/manifest.json} of what cargo says it made, and of nothing else.
write_out() {
    LC_ALL=C sort -k 2 "$state/tree" > "$state/sorted"
    LC_ALL=C awk -v state="$state" -v src="$src" -v out="$OUT" -v root="./$source" -v profile="$profile" \
        -v incremental="$incremental" -v key="$key" -v rustc="$rustc" -v host="$host" \
        -v script="${self#./}" '
        function text(line, field,   value) {   # the first string called FIELD of a line of JSON
            if (!match(line, "\"" field "\":\"[^\"]*\"")) return ""
            value = substr(line, RSTART, RLENGTH); sub(/^"[^"]*":"/, "", value); sub(/"$/, "", value)
            return value
        }
        function escaped(value) { gsub(/\\/, "\\\\", value); gsub(/"/, "\\\"", value); gsub(/[\001-\037]/, " ", value); return value }
        function owner(path) {
            while (sub(/\/[^\/]*$/, "", path)) if ((path "/Cargo.toml") in sig) return path
            return ""
        }
        function real(path,   command) {
            gsub(/\047/, "\047\\\047\047", path)
            command = "readlink -f \047" path "\047"
            if ((command | getline path) <= 0) path = ""
            close(command)
            return path
        }
        # The packages that went into a binary: owners of the files that cargo wrote beside it in BIN.d.
        function closure(executable, inside,   file, line, n, i, words, path) {
            file = executable ".d"
            if ((getline line < file) <= 0) line = ""
            close(file)
            gsub(/\\ /, "\001", line)
            n = split(line, words, " ")
            for (i = 2; i <= n; i++) {
                path = words[i]; gsub("\001", " ", path)
                if (index(path, src "/") != 1) continue
                path = "./" substr(path, length(src) + 2)
                if (!(path in sig) && !(path in directories)) {           # through a link: where does it lead?
                    inside[owner(path)] = 1
                    path = real(src substr(path, 2))
                    if (index(path, src "/") != 1) continue
                    path = "./" substr(path, length(src) + 2)
                }
                inside[path in directories ? owner(path "/.") : owner(path)] = 1   # rerun-if-changed=migrations
            }
            if (n < 2) for (i = 1; i <= count; i++) if (sorted[i] ~ /\/Cargo\.toml$/) inside[owner(sorted[i])] = 1
        }
        # The files that a binary answers for. Of vendored crates, of which there may be hundreds, what cargo vouches for.
        function in_scope(path, inside,   dir) {
            if (path == root "/Cargo.lock") return 0
            dir = of[path]
            return dir in inside || path ~ /\/\.cargo-checksum\.json$/ || dir == "" || (dir == root && (!root_package || path == root "/Cargo.toml" || index(path, root "/.cargo/") == 1))
        }
        function write_manifest(bin, crate, features, executable,   inside, i, path, digest, json, command, sep) {
            closure(executable, inside)
            command = "sha256sum > \"" state "/digest\""
            for (i = 1; i <= count; i++) if (in_scope(sorted[i], inside)) print sig[sorted[i]] " " substr(sorted[i], 3) | command
            close(command)
            digest = ""; getline digest < (state "/digest"); close(state "/digest"); sub(/ .*/, "", digest)
            if (digest !~ /^[0-9a-f]+$/) { print "buildkit-tasks: error: cannot hash the sources of " bin > "/dev/stderr"; failed = 1 }
            json = out "/" bin "/share/buildkit-tasks/manifest.json"
            print "{" > json
            print "  \"format\": 1,\n  \"crate\": \"" crate "\",\n  \"binary\": \"" bin "\"," > json
            print "  \"features\": [" features "],\n  \"profile\": \"" profile "\"," > json
            print "  \"incremental\": " (incremental == "1" || incremental == "true" ? "true" : "false") "," > json
            print "  \"rustflags\": \"" escaped(ENVIRON["RUSTFLAGS"]) "\"," > json
            print "  \"toolchain\": {\"key\": \"" key "\", \"rustc\": \"" escaped(rustc) "\", \"host\": \"" host "\"}," > json
            print "  \"lock\": \"sha256:" substr(sig[root "/Cargo.lock"], 2) "\"," > json
            print "  \"source\": \"sha256:" digest "\",\n  \"workspace\": \"" (root == "." ? "." : substr(root, 3)) "\"," > json
            print "  \"script\": \"" script "\"," > json
            printf "  \"packages\": [" > json
            for (i = 1; i <= count; i++) if (sorted[i] ~ /\/Cargo\.toml$/ && of[sorted[i]] in inside) {
                printf "%s\"%s\"", sep, of[sorted[i]] == "." ? "." : substr(of[sorted[i]], 3) > json; sep = ", "
            }
            printf "],\n  \"files\": {" > json
            sep = "\n"
            for (i = 1; i <= count; i++) if (in_scope(sorted[i], inside)) {
                printf "%s    \"%s\": \"%s\"", sep, substr(sorted[i], 3), sig[sorted[i]] > json; sep = ",\n"
            }
            print "\n  }\n}" > json
            close(json)
        }
        FILENAME != "-" {
            path = substr($0, index($0, " ") + 1)
            if (/^d/) directories[path] = 1
            else { sig[path] = $1; sorted[++count] = path }
            next
        }
        index($0, "{\"reason\":\"compiler-artifact\"") != 1 { next }
        {
            id = text($0, "package_id")
            seen[id] = 1
            if (/"fresh":false/) compiled[id] = 1
        }
        /"executable":"/ && /"kind":\["bin"\]/ {
            bin = $0; sub(/.*"target":/, "", bin); bin = text(bin, "name")
            crate = id
            if (crate ~ / /) sub(/ .*/, "", crate)                         # cargo before 1.77: NAME VERSION (URL)
            else if (crate ~ /#.*@/) { sub(/.*#/, "", crate); sub(/@.*/, "", crate) }
            else { sub(/#.*/, "", crate); sub(/.*\//, "", crate) }
            features = $0; sub(/.*"features":\[/, "", features); sub(/\].*/, "", features)
            programs[bin] = text($0, "executable"); crates[bin] = crate; enabled[bin] = features
        }
        END {
            if (root == "./.") root = "."
            for (i = 1; i <= count; i++) of[sorted[i]] = owner(sorted[i])
            while ((getline line < (src "/" root "/Cargo.toml")) > 0) if (line ~ /^[ \t]*\[package\]/) root_package = 1
            for (bin in programs) {
                place = out "/" bin
                if (system("mkdir -p \"" place "/bin\" \"" place "/share/buildkit-tasks\" && cp \"" programs[bin] "\" \"" place "/bin/service\"")) failed = 1
                write_manifest(bin, crates[bin], enabled[bin], programs[bin])
                made++
            }
            for (id in seen) if (!(id in compiled)) fresh++
            print "buildkit-tasks: fresh " fresh + 0 > "/dev/stderr"
            if (!made) { print "buildkit-tasks: error: the workspace has no binary" > "/dev/stderr"; failed = 1 }
            exit failed
        }' "$state/sorted" - < "$state/messages"
}

# For scripts that pack or fill the mount: where its tree lies and what belongs to it, a line each.
place() {
    profile=${PROFILE:-release} source=${SOURCE:-.}
    source=${source#./} source=${source%/}
    name_base
    printf '%s\n' "$base" "$key" "$rustc" "$host" "$profile" "${source:-.}"
}

case ${1:-} in
    cross) cross ;;
    key) key ;;
    build) build ;;
    place) place ;;
    *) die "usage: compile.sh cross|key|build|place" ;;
esac
