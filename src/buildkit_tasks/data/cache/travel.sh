#!/bin/sh
# travel.sh: runs in the place of a compile step, with its mounts, and packs what is in them or unpacks a pack into them.
#
#   travel.sh probe  COMPILE                what a pack would be good for, and what the mounts hold
#   travel.sh pack   COMPILE SCOPE          the parts as NAME.tar.FORM: registry git deps-1 deps-2 …, and rest for SCOPE all
#   travel.sh unpack COMPILE WHEN LIMIT ID  a pack into the mounts; WHEN: empty or replace; LIMIT in bytes
#
# COMPILE is the compile program: it alone knows where a toolchain's tree lies. Needs GNU tar, find and cp. FORM is zst where
# the image has zstd, else gz; every part is a job of its own, so that all cores have something to do in both directions.
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
WORK=/tmp/travel
DEPS=4       # parts of the dependencies' units
RECORD=65536 # bytes that tar reads or writes at once: what a pipe holds, where its own 10 KiB make it wait six times as often
REST='^(target|src|state)(/|$)'

say() { printf 'buildkit-tasks: %s\n' "$*" >&2; }
refuse() { say "refused: $*"; exit $REFUSED; }

learn() {
    LC_ALL=C
    export LC_ALL
    : "${CARGO_HOME:=${HOME:-/root}/.cargo}"
    tar --version 2>/dev/null | grep -q GNU || { say 'error: caches travel with GNU tar, which this image does not have'; exit 2; }
    "$compile" place > /tmp/place
    { read -r base; read -r key; read -r rustc; read -r host; read -r profile; read -r source; } < /tmp/place
    rm /tmp/place
    mount=${base%/*}
    lock=$CONTEXT/$source/Cargo.lock
    [ -e "$lock" ] || { say "error: there is no $source/Cargo.lock"; exit 2; }
    case $profile in dev | test) dir=debug ;; bench) dir=release ;; *) dir=$profile ;; esac
    if command -v zstd > /dev/null; then form=zst; else form=gz; fi
    rm -rf $WORK
    mkdir -p $OUT $WORK
    jobs=
}

# Runs a function beside what follows; `finish` waits for all of these, and fails as the first did that failed.
begin() { "$@" & jobs="$jobs $!"; }

finish() {
    code=0
    for job in $jobs; do
        status=0
        wait "$job" || status=$?
        if [ $code = 0 ]; then code=$status; fi
    done
    jobs=
    [ $code = 0 ] || exit $code
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
        echo "form=$form"
        echo "units=$units"
        echo "crates=$(packages | grep -c '^[RG]' || :)"
    } > $OUT/facts
    { dpkg-query -W -f '${Package} ${Version}\n' || apk info -v || :; } 2>/dev/null | sort > $OUT/packages
}

# --------------------------------------------------------------------------------------------------------------- pack

# The same files give the same bytes, whoever packs them: sorted names, one thread, no time in gzip's header. A library holds
# the metadata that also lies beside it: zstd finds that with a window of 32 MB, which saves a third of the bytes, and time.
compress() { case $form in zst) zstd -q -c -2 -T1 --long=25 ;; gz) gzip -1 -n -c ;; esac; }

# The files named in WORK/NAME, from a directory.
pack_part() (   # NAME DIRECTORY [OPTION…]
    from=$2 names=$WORK/$1 file=$OUT/$1.tar.$form
    shift 2
    [ -s "$names" ] || exit 0
    {
        tar --create --record-size=$RECORD --directory "$from" --format=posix --no-recursion --numeric-owner --owner=0 --group=0 --totals \
            --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime --sparse-version=0.0 "$@" \
            --verbatim-files-from --files-from "$names" 2> "$names.said" || : > "$names.failed"   # a pipe hides it
    } | compress > "$file"
    if [ -e "$names.failed" ]; then cat "$names.said" >&2; exit 2; fi
    size=$(sed -n 's/^Total bytes written: \([0-9]*\).*/\1/p' "$names.said")
    echo "part=${file##*/} $size $(wc -l < "$names")" > "$names.fact"
)

# Who pulls would refuse it: better without it than no pack.
pack_rest() (
    pack_part rest "$base"
    if ! check_part "$OUT/rest.tar.$form" "$REST" "$(sed 's/^[^ ]* \([0-9]*\) .*/\1/' $WORK/rest.fact)"; then
        say 'left out the crates of the workspace: see above'
        rm "$OUT/rest.tar.$form" $WORK/rest.fact
    fi
)

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

# What cargo made of packages that do not lie in the repository, by the hash in every name; the hash also says in which part
# (deps-1 …) a unit travels: what did not change keeps its part, and a part that did not change is not sent again.
unit_names() {
    packages > /tmp/packages
    for place in $(places); do
        (cd "$base/target" && find "$place/.fingerprint" "$place/build" "$place/deps" -mindepth 1 2>/dev/null)
    done | sort | awk -v work=$WORK -v count=$DEPS '
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
            if (found in known) {
                print
                print > (work "/deps-" index("0123456789abcdef", substr(found, 16)) % count + 1)
            }
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
    registry_names | sort -u > $WORK/registry
    begin pack_part registry "$CARGO_HOME/registry" --mtime=@0
    git_names | sort -u > $WORK/git
    begin pack_part git "$CARGO_HOME/git"
    unit_names > $WORK/units
    for part in "$WORK"/deps-*; do
        if [ -e "$part" ]; then begin pack_part "${part##*/}" "$base/target"; fi
    done
    if [ "$scope" = all ]; then
        sed 's,^,target/,' $WORK/units | sort > $WORK/known
        (cd "$base" && find target src state -name incremental -prune -o ! -name .cargo-lock -print) | sort | comm -23 - $WORK/known > $WORK/rest
        begin pack_rest
    fi
    {
        echo "compile_seconds=$(compile_seconds $WORK/units)"
        echo "packed_units=$(grep -c '/.fingerprint/[^/]*$' $WORK/units || :)"
    } >> $OUT/facts
    finish
    cat $WORK/*.fact >> $OUT/facts 2> /dev/null || { say 'error: there is nothing to pack: the lock file names no other packages'; exit 2; }
}

# ------------------------------------------------------------------------------------------------------------- unpack

expand() {   # FILE
    case $1 in
        *.gz) gzip -d -c "$1" ;;
        *) zstd -q -d -c "$1" ;;
    esac
}

# Refuses what no pack of ours holds: other places, ways out of them, devices, set-user-id programs, too many bytes. A few
# bytes of a compressed file can become more than any disk holds: tar is ended where it has read as much as the limit.
check_part() (   # FILE PATTERN-OF-PATHS LIMIT
    done=$WORK/${1##*/} most=$3
    { expand "$1" 2> /dev/null || : > "$done.broken"; } | {
        # shellcheck disable=SC2016  # its parent is this tar
        tar --list --verbose --record-size=$RECORD --numeric-owner --quoting-style=escape --checkpoint=$((most / RECORD + 100)) \
            --checkpoint-action=exec='kill $PPID' 2> "$done.said" || : > "$done.broken"
    } | awk -v allowed="$2" -v limit="$most" -v name="${1##*/}" '
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
            if (name ~ /^deps/ && match(path, /^([^\/]+\/)?[^\/]+\/(\.fingerprint|build|deps)\//)) places[substr(path, 1, RLENGTH)]
        }
        END { if (!failed) { print total + 0; for (place in places) print place } }' > "$done.total" || exit $REFUSED
    [ ! -e "$done.broken" ] || refuse "${1##*/}: damaged, or more than $most bytes: $(head -n 1 "$done.said")"
)

extract() (   # FILE DIRECTORY
    failed=$WORK/${1##*/}.failed
    { expand "$1" || : > "$failed"; } |
        tar --extract --record-size=$RECORD --directory "$2" --preserve-permissions --numeric-owner --same-owner || : > "$failed"
    if [ -e "$failed" ]; then say "error: could not unpack ${1##*/}"; exit $FULL; fi
)

# The parts of the pack of these kinds, a path each.
parts() {
    for kind; do
        for file in "$PACK/$kind".tar.gz "$PACK/$kind".tar.zst "$PACK/$kind"-[0-9]*.tar.gz "$PACK/$kind"-[0-9]*.tar.zst; do
            if [ -e "$file" ]; then echo "$file"; fi
        done
    done
}

unpack() {
    set -- "$mount" "$CARGO_HOME/registry" "$CARGO_HOME/git"
    for place; do rm -rf "$place"/.incoming-*; done   # of an unpack that was killed
    if [ "$when" = empty ] && [ -n "$(places)" ]; then
        say 'kept: the mount holds objects of this profile already'
        exit 0
    fi
    trap 'rm -rf "$mount/.incoming-$id" "$CARGO_HOME/registry/.incoming-$id" "$CARGO_HOME/git/.incoming-$id"' EXIT
    if [ $form != zst ] && parts registry git deps rest | grep -q '[.]zst$'; then
        say 'error: the pack is compressed with zstd, which this image does not have'
        exit 2
    fi
    units='(\.fingerprint|build|deps)(/|$)'
    for part in $(parts registry); do
        begin check_part "$part" '^(cache/[^/]+/[^/]+[.]crate|index/[^/]+/([.]cache/[^.].*|config[.]json))$' "$limit"
    done
    for part in $(parts git); do begin check_part "$part" '^(db|checkouts)/' "$limit"; done
    for part in $(parts deps); do begin check_part "$part" "^([^/]+/)?$dir/$units" "$limit"; done
    for part in $(parts rest); do begin check_part "$part" "$REST" "$limit"; done
    finish
    all=$(sed -s -n 1p $WORK/*.total | awk '{ all += $1 } END { printf "%.0f", all }')
    [ "$all" -le "$limit" ] || refuse "more than $limit bytes"
    free=$(df -Pk "$mount" | awk 'NR == 2 { print $4 }')
    if [ $((all / 1024 + 65536)) -gt "$free" ]; then
        say "error: the pack takes $((all / 1000000)) MB, $((free / 1024)) MB are free"
        exit $FULL
    fi
    new=$mount/.incoming-$id
    incoming_registry=$CARGO_HOME/registry/.incoming-$id incoming_git=$CARGO_HOME/git/.incoming-$id
    mkdir -p "$new/tree/target" "$incoming_registry" "$incoming_git"
    # before the parts are unpacked side by side: a tar that wants a directory which another one makes at that moment gives up
    sed -s 1d $WORK/*.total | sort -u | while read -r place; do mkdir -p "$new/tree/target/$place"; done
    for part in $(parts registry); do begin extract "$part" "$incoming_registry"; done
    for part in $(parts git); do begin extract "$part" "$incoming_git"; done
    for part in $(parts deps); do begin extract "$part" "$new/tree/target"; done
    for part in $(parts rest); do begin extract "$part" "$new/tree"; done
    finish
    # links never replace: what is there may be in use
    cp --recursive --link --no-clobber "$incoming_registry/." "$CARGO_HOME/registry/" || :
    for kind in db checkouts; do
        [ -d "$incoming_git/$kind" ] || continue
        mkdir -p "$CARGO_HOME/git/$kind"
        for one in "$incoming_git/$kind"/*; do
            if [ -e "$one" ]; then mv -nT "$one" "$CARGO_HOME/git/$kind/${one##*/}"; fi
        done
    done
    if [ -n "$(parts rest)" ]; then place_all; elif [ -n "$(parts deps)" ]; then place_units; fi
    : > "$base.used"
    say "unpacked $all"
}

# The whole tree, as it was on the machine that packed it.
place_all() {
    if [ -e "$base" ]; then mv "$base" "$new/old"; fi
    mv "$new/tree" "$base"
}

# The profile's directories only. With them goes what the workspace's own crates had there: cargo compiles those again.
# The record of the last sync goes first: what the pack holds of vendored crates was made of sources that nobody here saw,
# and a compile program without a record believes none of it.
place_units() {
    rm -rf "$base/src" "$base/state"
    mkdir -p "$base/target" "$base/src" "$base/state"
    (cd "$new/tree/target" && for place in "$dir" */"$dir"; do if [ -d "$place" ]; then echo "$place"; fi; done) > "$new/places"
    while read -r place; do
        mkdir -p "$base/target/${place%"$dir"}" "$new/old/${place%"$dir"}"
        if [ -e "$base/target/$place" ]; then mv "$base/target/$place" "$new/old/$place"; fi
        mv "$new/tree/target/$place" "$base/target/$place"
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
