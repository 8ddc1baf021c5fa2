#!/bin/sh
# travel.sh: runs in the place of a compile step, with its mounts, and packs what is in them or unpacks a pack into them.
#
#   travel.sh probe  COMPILE                what a pack would be good for, and what the mounts hold
#   travel.sh pack   COMPILE SCOPE          the parts as tars: registry.tar git.tar deps.tar, and rest.tar for SCOPE all
#   travel.sh unpack COMPILE WHEN LIMIT ID  a pack into the mounts; WHEN: empty or replace; LIMIT in bytes
#
# COMPILE is the compile script: it alone knows where a toolchain's tree lies. Needs GNU tar, find and cp.
#
# A pack of dependencies holds no unit of a crate that lies in the repository, and no path but those named here: what
# else lies in a mount (credentials, say) does not travel. An unpack is seen by cargo whole or not at all: it happens in a
# directory beside, under the mount's lock, and comes into its place by a rename.
set -eu
OUT=/buildkit-tasks-travel
PACK=/run/buildkit-tasks-pack
CONTEXT=/context
REFUSED=65   # as sysexits' EX_DATAERR
FULL=74      # as sysexits' EX_IOERR
REST='^(target|src|state)(/|$)'

say() { printf 'buildkit-tasks: %s\n' "$*" >&2; }
refuse() { say "refused: $*"; exit $REFUSED; }

learn() {
    LC_ALL=C
    export LC_ALL
    : "${CARGO_HOME:=${HOME:-/root}/.cargo}"
    tar --version 2>/dev/null | grep -q GNU || { say 'error: caches travel with GNU tar, which this image does not have'; exit 2; }
    sh "$compile" place > /tmp/place
    { read -r base; read -r key; read -r rustc; read -r host; read -r profile; read -r source; } < /tmp/place
    rm /tmp/place
    mount=${base%/*}
    lock=$CONTEXT/$source/Cargo.lock
    [ -e "$lock" ] || { say "error: there is no $source/Cargo.lock"; exit 2; }
    case $profile in dev | test) dir=debug ;; bench) dir=release ;; *) dir=$profile ;; esac
    mkdir -p $OUT
}

digest() { sha256sum | cut -c 1-64; }

# Directories of the profile, relative to target: one, and one more for each target triple.
places() {
    [ -d "$base/target" ] || return 0
    (cd "$base/target" && for place in "$dir" */"$dir"; do if [ -d "$place/.fingerprint" ]; then echo "$place"; fi; done)
}

# Lines `R NAME VERSION` for packages from registries, `G NAME VERSION` from git, `L NAME VERSION` for those in the repository.
packages() {
    awk '
        function flush() { if (name != "") print kind, name, version; name = ""; kind = "L" }
        function value() { gsub(/^[^"]*"|".*$/, ""); return $0 }
        /^\[\[package\]\]/ { flush() }
        /^name = / { name = value() }
        /^version = / { version = value() }
        /^source = / { kind = /"git\+/ ? "G" : "R" }
        END { flush() }' "$lock"
}

# -------------------------------------------------------------------------------------------------------------- probe

probe() {
    units=0
    for place in $(places); do
        units=$((units + $(find "$base/target/$place/.fingerprint" -mindepth 1 -maxdepth 1 | wc -l)))
    done
    {
        echo "toolchain=$key"
        echo "rustc=$rustc"
        echo "host=$host"
        echo "profile=$profile"
        echo "rustflags=${RUSTFLAGS-}"
        echo "lock=$(digest < "$lock")"
        echo "manifests=$(cd "$CONTEXT/$source" && find . -path ./target -prune -o \( -name Cargo.toml -o -path '*/.cargo/config*' \) -type f -print0 |
            sort -z | xargs -0 sha256sum | digest)"
        echo "units=$units"
        echo "crates=$(packages | grep -c '^[RG]' || :)"
    } > $OUT/facts
    { dpkg-query -W -f '${Package} ${Version}\n' || apk info -v || :; } 2>/dev/null | sort > $OUT/packages
}

# --------------------------------------------------------------------------------------------------------------- pack

# Sorted names on stdin; the same files give the same bytes, whoever packs them.
make_tar() {   # NAME DIRECTORY [OPTION…]
    name=$1 from=$2
    shift 2
    sort -u > /tmp/names
    if [ -s /tmp/names ]; then
        tar --create --file "$OUT/$name" --directory "$from" --format=posix --no-recursion --numeric-owner --owner=0 --group=0 \
            --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime --sparse-version=0.0 "$@" \
            --verbatim-files-from --files-from /tmp/names
        touch -d @0 "$OUT/$name"
        echo "part=$name $(stat -c %s "$OUT/$name") $(wc -l < /tmp/names)" >> $OUT/facts
    fi
    rm -f /tmp/names
}

# Files of the registry that the lock file asks for: crates, and their entries in the index. Unpacked sources are made anew.
registry_names() {
    packages > /tmp/packages
    (cd "$CARGO_HOME/registry" && find . \( -path './cache/*/*.crate' -o -path './index/*/.cache/*' -o -path './index/*/config.json' \) -type f) |
        sed 's,^\./,,' | awk '
            NR == FNR { if ($1 == "R") { crate[$2 "-" $3 ".crate"]; entry[tolower($2)] } next }
            { file = $0; sub(/.*\//, "", file) }
            /^cache\// { if (file in crate) print; next }
            file == "config.json" || file in entry' /tmp/packages -
    rm /tmp/packages
}

git_names() {
    [ -d "$CARGO_HOME/git/db" ] && packages | grep -q '^G' || return 0
    # an address may hold a password: such a repository is fetched again by whoever needs it
    (
        cd "$CARGO_HOME/git"
        for repository in db/*; do
            if grep -rqE '://[^/@ ]*@' "$repository/config" "$repository/FETCH_HEAD" 2>/dev/null; then
                say "left out ${repository#db/}: its address holds credentials"
                continue
            fi
            find "$repository" ! -name FETCH_HEAD
            if [ -d "checkouts/${repository#db/}" ]; then find "checkouts/${repository#db/}"; fi
        done
    )
}

# What cargo made of packages that do not lie in the repository, by the hash in every name.
unit_names() {
    packages > /tmp/packages
    for place in $(places); do
        (cd "$base/target" && find "$place/.fingerprint" "$place/build" "$place/deps" -mindepth 1 2>/dev/null)
    done | sort | awk '
        NR == FNR { if ($1 == "L") own[$2]; else theirs[$2]; next }
        {
            n = split($0, parts, "/")
            for (at = 1; at <= n; at++) if (parts[at] == ".fingerprint" || parts[at] == "build" || parts[at] == "deps") break
            unit = parts[at + 1]
            hash = unit
            while (match(hash, /-[0-9a-f]+(\.|$)/)) {
                found = substr(hash, RSTART + 1, RLENGTH - 1); sub(/\.$/, "", found)
                if (length(found) == 16) break
                hash = substr(hash, RSTART + 1)
            }
            if (length(found) != 16) next
            # ".fingerprint" sorts before the others: by then every hash is known
            if (parts[at] == ".fingerprint") {
                package = unit; sub(/-[^-]*$/, "", package)
                if (package in theirs && !(package in own)) known[found]
            }
            if (found in known) print
            found = ""
        }' /tmp/packages -
    rm /tmp/packages
}

# Seconds in which at least one of these units was being compiled: cargo leaves the time of its start in every unit.
compile_seconds() {   # NAMES
    for place in $(places); do
        find "$base/target/$place/.fingerprint" -mindepth 2 -maxdepth 2 -type f -printf '%T@ %P\n'
    done | awk -v names="$1" '
        BEGIN { while ((getline line < names) > 0) { n = split(line, part, "/"); if (part[n - 1] == ".fingerprint") wanted[part[n]] } }
        {
            unit = $2; sub(/\/.*/, "", unit)
            if (!(unit in wanted)) next
            if ($2 ~ /\/invoked\.timestamp$/) from[unit] = $1
            else if ($1 > to[unit]) to[unit] = $1
        }
        END { for (unit in from) if (to[unit] > from[unit]) printf "%.3f %.3f\n", from[unit], to[unit] }' | sort -n | awk '
        $1 > end { total += end - start; start = $1; end = $2; next }
        $2 > end { end = $2 }
        END { printf "%.1f\n", total + end - start }'
}

pack() {
    probe
    [ -d "$base/target" ] || { say 'error: there is nothing to pack: no build with this toolchain has run'; exit 2; }
    registry_names | make_tar registry.tar "$CARGO_HOME/registry" --mtime=@0
    git_names | make_tar git.tar "$CARGO_HOME/git"
    unit_names > /tmp/units
    echo "compile_seconds=$(compile_seconds /tmp/units)" >> $OUT/facts
    echo "packed_units=$(grep -c '/.fingerprint/[^/]*$' /tmp/units || :)" >> $OUT/facts
    make_tar deps.tar "$base/target" < /tmp/units
    if [ "$scope" = all ]; then
        sed 's,^,target/,' /tmp/units | sort > /tmp/known
        (cd "$base" && find target src state -name incremental -prune -o ! -name .cargo-lock -print) | sort | comm -23 - /tmp/known |
            make_tar rest.tar "$base"
        # who pulls would refuse it: better without it than no pack
        limit=$(stat -c %s "$OUT/rest.tar")
        if ! (check_tar "$OUT/rest.tar" "$REST"); then
            say 'left out the crates of the workspace: see above'
            rm "$OUT/rest.tar"
            sed -i '/^part=rest\.tar /d' "$OUT/facts"
        fi
    fi
    rm -f /tmp/units /tmp/known
}

# ------------------------------------------------------------------------------------------------------------- unpack

# Refuses what no pack of ours holds: other places, ways out of them, devices, set-user-id programs, too many bytes.
check_tar() {   # FILE PATTERN-OF-PATHS
    tar --list --verbose --numeric-owner --quoting-style=escape --file "$1" | awk -v allowed="$2" -v limit="$limit" -v name="${1##*/}" '
        function bad(why) { print "buildkit-tasks: refused: " name ": " why > "/dev/stderr"; failed = 1; exit 65 }
        function climbs(path) { return path ~ /^\// || path ~ /(^|\/)\.\.(\/|$)/ }
        function above(path) { return sub(/\/[^\/]*$/, "", path) ? path : "" }
        # A link may lead to another place of its part. ".." only at the start: behind a name, which may be a link itself,
        # nobody can tell where it leads by reading.
        function leads_out(path, to) {
            path = above(path)
            while (to ~ /^\.\.(\/|$)/) {
                if (path == "") return 1
                path = above(path)
                sub(/^\.\.\/?/, "", to)
            }
            return climbs(to) || (path == "" ? to : path "/" to) !~ allowed
        }
        {
            mode = $1; size = $3; path = $0
            sub(/^[^ ]+ +[^ ]+ +[^ ]+ +[^ ]+ +[^ ]+ /, "", path)
            type = substr(mode, 1, 1)
            if (type !~ /[-dlh]/) bad("a device or another special file: " path)
            if (mode ~ /[sS]/) bad("set-user-id or set-group-id: " path)
            if (type == "h") { split(path, both, " link to "); if (climbs(both[2]) || both[2] !~ allowed) bad("a link that leads out: " path); path = both[1] }
            if (type == "l") { split(path, both, " -> "); if (leads_out(both[1], both[2])) bad("a link that leads out: " path); path = both[1] }
            if (climbs(path)) bad("a path that leads out: " path)
            if (path !~ allowed) bad("not a place of this part: " path)
            total += size
            if (total > limit) bad("more than " limit " bytes")
        }
        END { if (!failed) print total + 0 }' > /tmp/total || exit $REFUSED
    read -r total < /tmp/total
    rm /tmp/total
}

extract() {   # FILE DIRECTORY
    mkdir -p "$2"
    tar --extract --file "$1" --directory "$2" --preserve-permissions --numeric-owner --same-owner || {
        say "error: could not unpack ${1##*/}"
        exit $FULL
    }
}

unpack() {
    set -- "$mount" "$CARGO_HOME/registry" "$CARGO_HOME/git"
    for place; do rm -rf "$place"/.incoming-*; done   # of an unpack that was killed
    if [ "$when" = empty ] && [ -n "$(places)" ]; then
        say 'kept: the mount holds objects of this profile already'
        exit 0
    fi
    trap 'rm -rf "$mount/.incoming-$id" "$CARGO_HOME/registry/.incoming-$id" "$CARGO_HOME/git/.incoming-$id"' EXIT
    units='(\.fingerprint|build|deps)(/|$)'
    all=0
    for part in registry git deps rest; do
        [ -e "$PACK/$part.tar" ] || continue
        case $part in
            registry) check_tar "$PACK/$part.tar" '^(cache/[^/]+/[^/]+[.]crate|index/[^/]+/([.]cache/[^.].*|config[.]json))$' ;;
            git) check_tar "$PACK/$part.tar" '^(db|checkouts)/' ;;
            deps) check_tar "$PACK/$part.tar" "^([^/]+/)?$dir/$units" ;;
            rest) check_tar "$PACK/$part.tar" "$REST" ;;
        esac
        all=$((all + total))
    done
    free=$(df -Pk "$mount" | awk 'NR == 2 { print $4 }')
    if [ $((all / 1024 + 65536)) -gt "$free" ]; then
        say "error: the pack takes $((all / 1000000)) MB, $((free / 1024)) MB are free"
        exit $FULL
    fi
    if [ -e $PACK/registry.tar ]; then
        extract $PACK/registry.tar "$CARGO_HOME/registry/.incoming-$id"
        # links never replace: what is there may be in use
        cp --recursive --link --no-clobber "$CARGO_HOME/registry/.incoming-$id/." "$CARGO_HOME/registry/" || :
    fi
    if [ -e $PACK/git.tar ]; then
        extract $PACK/git.tar "$CARGO_HOME/git/.incoming-$id"
        for kind in db checkouts; do
            mkdir -p "$CARGO_HOME/git/$kind"
            for one in "$CARGO_HOME/git/.incoming-$id/$kind"/*; do
                if [ -e "$one" ]; then mv -nT "$one" "$CARGO_HOME/git/$kind/${one##*/}"; fi
            done
        done
    fi
    if [ -e $PACK/rest.tar ]; then place_all; else place_units; fi
    : > "$base.used"
    say "unpacked $all"
}

# The whole tree, as it was on the machine that packed it.
place_all() {
    new=$mount/.incoming-$id
    extract $PACK/rest.tar "$new/tree"
    if [ -e $PACK/deps.tar ]; then extract $PACK/deps.tar "$new/tree/target"; fi
    if [ -e "$base" ]; then mv "$base" "$new/old"; fi
    mv "$new/tree" "$base"
}

# The profile's directories only. With them goes what the workspace's own crates had there: cargo compiles those again.
# The record of the last sync goes first: what the pack holds of vendored crates was made of sources that nobody here saw,
# and a compile script without a record believes none of it.
place_units() {
    new=$mount/.incoming-$id
    extract $PACK/deps.tar "$new/target"
    rm -rf "$base/src" "$base/state"
    mkdir -p "$base/target" "$base/src" "$base/state"
    (cd "$new/target" && for place in "$dir" */"$dir"; do if [ -d "$place" ]; then echo "$place"; fi; done) > "$new/places"
    while read -r place; do
        mkdir -p "$base/target/${place%"$dir"}" "$new/old/${place%"$dir"}"
        if [ -e "$base/target/$place" ]; then mv "$base/target/$place" "$new/old/$place"; fi
        mv "$new/target/$place" "$base/target/$place"
    done < "$new/places"
    : > "$base/state/built-$profile"
}

what=${1:-} compile=${2:-}
case $what in
    probe) learn; probe ;;
    pack) scope=$3; learn; pack ;;
    unpack) when=$3 limit=$4 id=$5; learn; unpack ;;
    *) echo 'usage: travel.sh probe|pack|unpack COMPILE …' >&2; exit 2 ;;
esac
