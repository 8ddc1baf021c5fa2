#!/bin/sh
# entry.sh: what a container of `invoke cargo.…` runs: the sources are synced into the volume, then cargo runs there.
#
# /compile (docker/compile.rs) is the program that keeps image builds from going stale. It knows no command to only sync, so
# it gets a cargo that compiles nothing: when it asks for the build, the sync is done, and the directory and environment it
# has prepared are written down. The real cargo then runs with them.
#
# Arguments are cargo's. BT_…: what the tasks ask for (cargo/container.py). /task is shared with the task: `started`, and
# in `reason` why cargo was not run.
set -eu

refuse() { printf %s "$1" > /task/reason; exit 125; }

: > /task/started
# Names only are evaluated; the task has checked them.
for name in $BT_GIVEN $BT_QUIET; do
    eval "export $name=\"\$BT_V_$name\"; unset BT_V_$name"
done
# docker makes volumes root's; another user may have worked in them since
[ "$(cat /build/.owner 2> /dev/null)" = "$(id -u)" ] || refuse owner
PATH="/tools/bin:$PATH"
export PATH
case ${BT_TOOL:-} in
    "") ;;
    # rustup has a proxy of that name for components that are not installed
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
    for name in TERM $BT_QUIET BT_GIVEN BT_QUIET BT_TOOL BT_COPY BT_PLACE BT_FREE; do hide="$hide -u $name"; done
    code=0
    # shellcheck disable=SC2086 # words on purpose; the names have been checked
    env $hide PATH="$work/shim:$PATH" /compile build > log 2>&1 || code=$?
    if [ "$code" != 75 ] || [ ! -s source ]; then
        cat log >&2
        refuse sync
    fi
    # a toolchain file that the image cannot obey, for one
    sed -n 's/^buildkit-tasks: warning: /warning: /p' log >&2
    path=$PATH
    # shellcheck source=/dev/null # written above, by `export -p`
    . ./env
    PATH=$path
    cd "$(cat source)"
    unset SOURCE CACHE_SCOPE STRICT_TOOLCHAIN
fi

copy=${BT_COPY:-}
# a program that runs on does not keep other tasks from compiling
[ -z "${BT_FREE:-}" ] || exec 9>&-
unset BT_GIVEN BT_QUIET BT_TOOL BT_COPY BT_PLACE BT_FREE
[ -n "$copy" ] || exec cargo "$@"
code=0
[ ! -f "$CARGO_TARGET_DIR/$copy" ] || rm -f "$CARGO_TARGET_DIR/$copy" # the report of an earlier run
cargo "$@" || code=$?
[ ! -e "$CARGO_TARGET_DIR/$copy" ] || cp -R "$CARGO_TARGET_DIR/$copy" /out/
exit "$code"
