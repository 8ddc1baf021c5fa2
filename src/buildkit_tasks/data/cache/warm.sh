#!/bin/sh
# warm.sh: wraps the command of a compile step so that it compiles only the dependencies.
#
#   warm.sh prepare   replaces cargo with a script, only in this step's container
#   warm.sh judge     succeeds if every dependency is compiled
#
# There are no stub sources. `cargo build` runs on the real ones, but passes the workspace's own crates to a wrapper that
# refuses to compile them; with --keep-going, cargo compiles everything that does not need a refused crate, which is every
# dependency. cargo uses separate names for the output of a workspace wrapper, so even traces of a refused crate never mix
# with a real build. A stub that does not exist cannot be shipped.
set -eu
place=/.buildkit-tasks-warm

prepare() {
    real=$(command -v cargo) || { echo "buildkit-tasks: error: there is no cargo in this image" >&2; exit 2; }
    mkdir -p "$place/real"
    : > "$place/refused"
    # rustup's cargo depends on its file name, so keep the name when moving it
    if [ -L "$real" ]; then ln -s "$(readlink -f "$real")" "$place/real/cargo"; rm "$real"; else mv "$real" "$place/real/cargo"; fi
    cat > "$place/wrapper" << 'END'
#!/bin/sh
# cargo also queries the compiler's version and targets through the wrapper: answer these queries
for word do
    case $word in -vV | --version | --print | --print=* | ___) exec "$@" ;; esac
done
echo "$CARGO_PKG_NAME" >> /.buildkit-tasks-warm/refused
exit 1
END
    cat > "$real" << 'END'
#!/bin/sh
place=/.buildkit-tasks-warm
case ${1:-} in
    build | b) shift ;;
    *) exec "$place/real/cargo" "$@" ;;
esac
mkfifo "$place/stderr"
# refusals are expected; keep everything for `judge`
tee "$place/said" < "$place/stderr" | awk '
    /^error: could not compile/ || /^warning: build failed/ { quiet = 1; next }
    quiet && (/^$/ || /^Caused by:/ || /^  process didn/) { next }
    { quiet = 0; print; fflush() }' >&2 &
RUSTC_WORKSPACE_WRAPPER=$place/wrapper "$place/real/cargo" build --keep-going "$@" 2> "$place/stderr" | tee "$place/messages"
wait
exit 101   # always fail, so that nothing from this step can be copied
END
    chmod +x "$place/wrapper" "$real"
}

judge() {
    if [ ! -e "$place/messages" ] || ! grep -q '"reason":"build-finished"' "$place/messages"; then
        cat "$place/said" 2> /dev/null || :
        echo "buildkit-tasks: error: cargo did not finish" >&2
        exit 1
    fi
    # a crate that failed but was not refused is a real failure
    # shellcheck disable=SC2016  # the backquotes are cargo's
    failed=$(sed -n 's/^error: could not compile `\([^`]*\)`.*/\1/p; s/^error: failed to run custom build command for `\([^ `]*\).*/\1/p' \
        "$place/said" | sort -u | while read -r crate; do grep -qxF "$crate" "$place/refused" || echo "$crate"; done)
    if [ -n "$failed" ] || [ ! -s "$place/refused" ]; then
        cat "$place/said" >&2
        echo "buildkit-tasks: error: dependencies failed to compile: $failed" >&2
        exit 1
    fi
    made=$(grep -c '"fresh":false' "$place/messages" || :)
    echo "buildkit-tasks: warmed $made" >&2
}

case ${1:-} in
    prepare) prepare ;;
    judge) judge ;;
    *) echo "usage: warm.sh prepare|judge" >&2; exit 2 ;;
esac
