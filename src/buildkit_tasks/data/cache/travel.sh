#!/bin/sh
# travel.sh: runs in place of a compile step, with its mounts; packs their contents, or unpacks a pack into them.
#
#   travel.sh probe  COMPILE                what a pack must match, and what the mounts contain
#   travel.sh pack   COMPILE SCOPE          the parts as NAME.tar.FORM: registry git deps-1 deps-2 …, and rest for SCOPE all
#   travel.sh unpack COMPILE WHEN LIMIT ID  a pack into the mounts; WHEN: empty or replace; LIMIT in bytes
#
# COMPILE is the compile program, which knows the location of a toolchain's tree. Packing needs GNU tar and find. FORM
# is zst if the image has zstd, otherwise gz. Every part is a separate job, to use all cores.
#
# A pack of dependencies contains no units of crates in the repository, and only the paths listed here: other files in a
# mount (such as credentials) are never included. To cargo, an unpack is atomic: unpack.rs writes to a directory next to
# the mount's own, under its lock, and renames validated contents into place.
set -eu
OUT=/buildkit-tasks-travel
PACK=/run/buildkit-tasks-pack
CONTEXT=/context
UNPACKER=/buildkit-tasks-unpack   # unpack.rs, compiled
WORK=/tmp/travel
DEPS=4       # number of parts for the dependencies' units
RECORD=65536 # bytes that tar reads or writes at once: the size of a pipe; with tar's default of 10 KiB it waits six times as often
STATE='env now synced pending built-*'   # files of the compile program's state that are valid on other machines; also in unpack.rs
# Files and directories that may contain a secret, as a find expression.
SECRET_NAMES='! -name *.rs ( -name .git -o -name .env* -o -name *.env -o -name .ssh -o -name .gnupg -o -name .aws -o -name .azure -o -name .kube -o -name .docker
    -o -name .netrc -o -name _netrc -o -name .npmrc -o -name .yarnrc* -o -name .pypirc -o -name .git-credentials -o -name .pgpass -o -name .my.cnf
    -o -name .htpasswd -o -name .dockercfg -o -name .vault* -o -name credentials -type f -o -name credentials.* -o -name secrets.* -o -name .secrets
    -o -name id_rsa* -o -name id_dsa* -o -name id_ecdsa* -o -name id_ed25519* -o -iname *.pem -o -iname *.key -o -iname *.p12 -o -iname *.pfx
    -o -iname *.jks -o -iname *.keystore -o -iname *.kdbx -o -iname *.ppk -o -iname *.kubeconfig -o -name kubeconfig -o -name *.tfstate*
    -o -name *.tfvars -o -name service-account*.json )'

say() { printf 'buildkit-tasks: %s\n' "$*" >&2; }

learn() {
    LC_ALL=C
    export LC_ALL
    : "${CARGO_HOME:=${HOME:-/root}/.cargo}"
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

# Runs a function in the background; `finish` waits for all of them, and fails with the first failure.
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

# Directories of the profile, relative to target: one, plus one for each target triple.
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

# The same files always give the same bytes: sorted names, one thread, no time in gzip's header. A library contains the
# same metadata as the file next to it; with a window of 32 MB, zstd finds the copy, which saves time and a third of
# the bytes.
compress() { case $form in zst) zstd -q -c -2 -T1 --long=25 ;; gz) gzip -1 -n -c ;; esac; }

# The files listed in WORK/NAME, from a directory.
pack_part() (   # NAME DIRECTORY [OPTION…]
    from=$2 names=$WORK/$1 file=$OUT/$1.tar.$form
    shift 2
    [ -s "$names" ] || exit 0
    {
        tar --create --record-size=$RECORD --directory "$from" --format=posix --no-recursion --numeric-owner --owner=0 --group=0 --totals \
            --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime --verbatim-files-from --files-from "$names" "$@" 2> "$names.said" || : > "$names.failed"   # a pipe hides it
    } | compress > "$file"
    if [ -e "$names.failed" ]; then cat "$names.said" >&2; exit 2; fi
    size=$(sed -n 's/^Total bytes written: \([0-9]*\).*/\1/p' "$names.said")
    echo "part=${file##*/} $size $(wc -l < "$names")" > "$names.fact"
)

# Everything else that cargo and the compile program need, without secrets in the sources. Also omits what a pull would
# reject.
pack_rest() (
    rest_names
    # the record of the sources is generated separately, without the omitted files
    pack_part rest "$base" --directory "$WORK" --add-file state/tree
    [ -e $WORK/rest.fact ] || exit 0
    size=$(sed 's/^[^ ]* \([0-9]*\) .*/\1/' $WORK/rest.fact)
    if ! $UNPACKER judge "$size" "$dir" "$OUT/rest.tar.$form" > /dev/null; then
        say 'left out the crates of the workspace: see above'
        rm "$OUT/rest.tar.$form" $WORK/rest.fact
    fi
)

# Writes WORK/rest, names relative to the tree, and WORK/state/tree.
rest_names() {
    cd "$base"
    mkdir -p $WORK/state
    if [ ! -e state/tree ] || [ -n "$(find src target -name '*[[:cntrl:]]*')" ]; then
        say 'left out the crates of the workspace: no record of the last sync, or control characters in file names'
        return 0
    fi
    tr '\0' '\n' < state/tree > $WORK/tree   # no name has a newline
    secrets src > $WORK/secrets
    find src > $WORK/sources
    for place in target/* target/*/*; do
        if [ ! -d "$place/.fingerprint" ]; then continue; fi
        for kind in .fingerprint build deps; do if [ -d "$place/$kind" ]; then find "$place/$kind" -mindepth 1; fi; done
    done > $WORK/objects
    # files copied by a build script: cargo must run it again
    # shellcheck disable=SC2086  # an expression
    (set -f && find target -path '*/build/*/out/*' $SECRET_NAMES) > $WORK/copied
    for name in target/CACHEDIR.TAG target/.rustc_info.json; do if [ -f $name ]; then echo $name; fi; done > $WORK/others
    (cd state && for name in $STATE; do if [ -f "$name" ]; then echo "state/$name"; fi; done) >> $WORK/others
    (
        cd $WORK
        : > record
        awk '
            function below(path, list,   at) {   # whether the path or a directory above it is listed
                for (at = 2; at <= length(path); at++) if (substr(path, at, 1) == "/" && substr(path, 1, at - 1) in list) return 1
                return path in list
            }
            FILENAME == "known" { known[$0]; next }
            FILENAME == "secrets" { secret[$0]; next }
            FILENAME == "copied" { sub(/\/out\/.*/, ""); again[$0]; sub(/\/build\//, "/.fingerprint/"); again[$0]; next }
            FILENAME == "objects" { if (!($0 in known) && !below($0, again)) print; next }
            FILENAME == "sources" { if (!below($0, secret)) print; next }
            FILENAME == "tree" { path = $0; sub(/^[^ ]* /, "src/", path); if (!below(path, secret)) print > "record"; next }
            { print }' known secrets copied objects sources tree others > unsorted
        sort unsorted > rest
        tr '\n' '\0' < record > state/tree
        touch -r "$base/state/tree" state/tree
        if [ -s secrets ]; then
            say "left out files that may contain secrets: $(sed 's/^src.//' secrets | sort | head -n 5 | tr '\n' ' ')($(wc -l < secrets) in all)"
        fi
    )
}

# Files that may contain a secret, by name or because they contain a private key. Without a .dockerignore, the build
# context of a repository includes all of them. A pull takes these files from its own context, as if they were new.
secrets() (   # DIRECTORY
    set -f
    # shellcheck disable=SC2086  # an expression
    find "$1" $SECRET_NAMES -prune -print
    # shellcheck disable=SC2086,SC2016  # expanded by the inner shell
    find "$1" $SECRET_NAMES -prune -o -type f ! -name '*.rs' -size -64k -exec sh -c '
        grep -lE -e "^-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY" -- "$@" || [ $? = 1 ]' sh {} +
)

# Files of the registry that the lock file needs: crates and their index entries. Unpacked sources are recreated.
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
    # a URL may contain a password; each machine must fetch such a repository itself
    (
        cd "$CARGO_HOME/git"
        for repository in db/*; do
            if grep -rqE '://[^/@ ]*@' "$repository/config" "$repository/FETCH_HEAD" 2>/dev/null; then
                say "left out ${repository#db/}: its URL contains credentials"
                continue
            fi
            find "$repository" ! -name FETCH_HEAD
            if [ -d "checkouts/${repository#db/}" ]; then find "checkouts/${repository#db/}"; fi
        done
    )
}

# Lists what cargo built from packages outside the repository, identified by the hash in every name. The hash also
# selects the part (deps-1 …) of a unit, so an unchanged unit stays in its part, and an unchanged part is not sent
# again.
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
            # ".fingerprint" sorts before the others, so every hash is already known here
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

# Prints the seconds during which at least one of these units was compiling; cargo stores the start time in every unit.
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
    tar --version 2>/dev/null | grep -q GNU || { say 'error: packing requires GNU tar, which this image does not have'; exit 2; }
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
        sed 's,^,target/,' $WORK/units > $WORK/known
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

unpack() {
    new=$mount/.incoming-$id
    rm -rf "$mount"/.incoming-*   # leftovers of a killed unpack
    if [ "$when" = empty ] && [ -n "$(places)" ]; then
        say 'kept: the mount already contains objects for this profile'
        exit 0
    fi
    trap 'rm -rf "$new"' EXIT
    if [ $form != zst ] && [ -n "$(find "$PACK" -maxdepth 1 -name '*.tar.zst')" ]; then
        say 'error: the pack is compressed with zstd, which this image does not have'
        exit 2
    fi
    mkdir -p "$new/tree"
    free=$(df -Pk "$mount" | awk 'NR == 2 { print $4 }')
    all=$($UNPACKER write "$limit" $((free * 1024)) "$dir" "$PACK" "$new/tree" "$CARGO_HOME/registry" "$CARGO_HOME/git")
    if [ -d "$new/tree/src" ] || [ -d "$new/tree/state" ]; then
        place_all
    elif [ -n "$(ls "$new/tree/target")" ]; then
        place_units
    fi
    : > "$base.used"
    say "unpacked $all"
}

# The whole tree, as on the machine that packed it.
place_all() {
    if [ -e "$base" ]; then mv "$base" "$new/old"; fi
    mv "$new/tree" "$base"
}

# Only the profile's directories, including the output of the workspace's own crates, which cargo then recompiles. The
# record of the last sync is removed first: vendored crates in the pack were built from sources unknown to this machine,
# and without a record the compile program does not trust them.
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
