#!/bin/sh
# entry.sh: runs in the containers of `invoke cargo.…`: syncs the sources into the volume, then runs cargo there.
#
# /compile (docker/compile.rs) is the program that keeps image builds from going stale. It has no command that only
# syncs, so it gets a fake cargo that compiles nothing. When /compile calls it with `build`, the sync is complete, and
# the fake cargo records the directory and environment that /compile has prepared. Then the real cargo runs with these.
#
# All arguments are for cargo. The variables BT_… contain what the task requests (cargo/container.py). /task is shared
# with the task: the file `started`, and, if cargo was not run, the cause in the file `reason`.
set -eu

refuse() { printf %s "$1" > /task/reason; exit 125; }

: > /task/started
# Only names are evaluated, and the task has checked them.
for name in $BT_GIVEN $BT_QUIET; do
    eval "export $name=\"\$BT_V_$name\"; unset BT_V_$name"
done
# docker creates volumes that belong to root, and another user may have used them since
[ "$(cat /build/.owner 2> /dev/null)" = "$(id -u)" ] || refuse owner
PATH="/tools/bin:$PATH"
export PATH
case ${BT_TOOL:-} in
    "") ;;
    # rustup has proxies with these names even for components that are not installed
    cargo-fmt | cargo-clippy) "$BT_TOOL" --version > /dev/null 2>&1 || refuse tool ;;
    *) command -v "$BT_TOOL" > /dev/null || refuse tool ;;
esac

work=/tmp/buildkit-tasks
mkdir -p "$work" && cd "$work"
if command -v flock > /dev/null; then
    exec 9> /build/.cargo-task
    flock -n 9 || { echo 'waiting for another cargo task of this project' >&2; flock 9; }
fi

if [ -n "${BT_PLACE:-}" ]; then
    cd "$BT_PLACE"
    export CARGO_TARGET_DIR=/build/in-place
else
    [ -x /compile ] || refuse compile
    if [ -n "${BT_SHARED:-}" ] && [ ! -e /build/.shared ]; then
        : > /build/.shared # ask for a pack once
        [ -n "$(find /build -mindepth 2 -maxdepth 2 -name target)" ] || refuse empty
    fi
    mkdir -p shim
    cat > shim/cargo << 'SHIM'
#!/bin/sh
case ${1:-} in
    metadata)
        printf %s '{"packages":[{"id":"x","name":"x","version":"0","targets":[{"kind":["bin"],"name":"x"}]}],'
        printf %s '"workspace_members":["x"],"workspace_default_members":["x"]}' ;;
    tree) ;;
    build)
        export -p > /tmp/buildkit-tasks/env
        pwd > /tmp/buildkit-tasks/source
        echo '{"reason":"build-finished","success":true}'
        exit 75 ;;
    *) PATH=${PATH#*:} exec cargo "$@" ;;
esac
SHIM
    chmod +x shim/cargo
    hide=
    for name in TERM $BT_QUIET BT_GIVEN BT_QUIET BT_TOOL BT_COPY BT_PLACE BT_FREE BT_SHARED; do hide="$hide -u $name"; done
    code=0
    # shellcheck disable=SC2086 # split on purpose; the names have been checked
    env $hide PATH="$work/shim:$PATH" /compile build > log 2>&1 || code=$?
    if [ "$code" != 75 ] || [ ! -s source ]; then
        cat log >&2
        refuse sync
    fi
    # for example, a toolchain file that the image cannot satisfy
    sed -n 's/^buildkit-tasks: warning: /warning: /p' log >&2
    path=$PATH
    # shellcheck source=/dev/null # written above, by `export -p`
    . ./env
    PATH=$path
    cd "$(cat source)"
    unset SOURCE CACHE_SCOPE STRICT_TOOLCHAIN
fi

copy=${BT_COPY:-}
# a program that keeps running must not prevent other tasks from compiling
[ -z "${BT_FREE:-}" ] || exec 9>&-
unset BT_GIVEN BT_QUIET BT_TOOL BT_COPY BT_PLACE BT_FREE BT_SHARED
[ -n "$copy" ] || exec cargo "$@"
code=0
[ ! -f "$CARGO_TARGET_DIR/$copy" ] || rm -f "$CARGO_TARGET_DIR/$copy" # the report of an earlier run
cargo "$@" || code=$?
[ ! -e "$CARGO_TARGET_DIR/$copy" ] || cp -R "$CARGO_TARGET_DIR/$copy" /out/
exit "$code"
