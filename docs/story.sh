#!/bin/sh
# The whole story in one sitting: containers, what they write, images made of them, and nothing left.
#
#     sudo docs/story.sh                                         the reference
#     sudo MYDOCKER=".venv/bin/python -m mydocker" docs/story.sh   yours, or any other
#
# Everything lies in a MYDOCKER_ROOT of its own, which goes in the end. On a terminal you will find
# yourself in a container for a while: look around, and leave with `exit`.
# BUSYBOX is the tar that the first image is made of; ./kata rootfs makes one.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$here"

main() {
    MYDOCKER_ROOT=$(mktemp -d)
    export MYDOCKER_ROOT
    trap clear_away EXIT
    trap 'exit 130' INT TERM HUP
    seconds=$((100000 + $$)) # how long containers sleep: nobody else has a process like that

    say "An image: one directory, which nobody will ever write to"
    busybox=${BUSYBOX:-$(./kata rootfs)}
    try import "$busybox" busybox
    try images
    ids=
    traces >"$MYDOCKER_ROOT/before"

    say "Two containers of that image write to the same path"
    for name in red blue; do
        try run -d --name "$name" busybox \
            sh -c "echo $name > /who; rm /etc/shells; echo $name is ready; exec sleep $seconds"
    done
    wait_for_word red "red is ready"
    wait_for_word blue "blue is ready"
    ids=$(mydocker ps -q --no-trunc)
    see red exec red cat /who
    see blue exec blue cat /who
    try ps

    say "What one of them says, for as long as it lives (in the background)"
    typed logs -f red
    mydocker logs -f red >"$MYDOCKER_ROOT/followed" &
    follower=$!
    see "red is ready" logs red

    say "A shell in there. What it writes, the other one never sees"
    if [ -t 0 ]; then
        echo "(look around: ls, ps, cat /who, hostname; then type exit)"
        typed exec -it red sh
        mydocker exec -it red sh || true # a shell ends as the last command in it did
    fi
    try exec red sh -c "echo of red > /only-red"
    see "of red" exec red cat /only-red
    see "" exec blue sh -c "ls / | grep only-red || true"

    say "An image of a container that runs, and a container of that image"
    try commit red crimson
    see "red
of red" run --rm crimson sh -c "cat /who /only-red; cat /etc/shells 2>/dev/null || true"
    see /bin/sh run --rm busybox head -n 1 /etc/shells

    say "They stop, and what they wrote stays"
    see "red
blue" stop -t 1 red blue
    try ps -a
    wait "$follower" # it has ended with the container
    echo "(what logs -f has shown: $(cat "$MYDOCKER_ROOT/followed"))"
    [ "$(cat "$MYDOCKER_ROOT/followed")" = "red is ready" ] || fail "expected: red is ready"

    say "An image of one that has ended, called as the container"
    see blue commit blue
    see blue run --rm blue cat /who

    say "They go, and nothing of them is left: no mount, no process, no cgroup, no file"
    see "red
blue" rm red blue
    see "" ps -a -q
    traces >"$MYDOCKER_ROOT/after"
    diff "$MYDOCKER_ROOT/before" "$MYDOCKER_ROOT/after" || fail "something is left"
    echo "(mounts, processes, cgroups and $MYDOCKER_ROOT are as before)"
    try images
}

mydocker() {
    if [ "${MYDOCKER:-}" ]; then
        $MYDOCKER "$@"
    else
        ./kata solution 5.9 -- "$@"
    fi
}

say() {
    printf '\n# %s\n' "$1"
}

# Show a command as somebody would type it.
typed() {
    printf '$ mydocker'
    for word in "$@"; do
        case $word in
        "" | *[!A-Za-z0-9_./:=-]*) printf " '%s'" "$word" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
    echo
}

# try WORD...: run a command, and stop the story if it fails.
try() {
    typed "$@"
    mydocker "$@" || fail "it ended with status $?"
}

# see WANTED WORD...: the same, and stop if anything else than this comes out.
see() {
    wanted=$1
    shift
    typed "$@"
    out=$(mydocker "$@") || fail "it ended with status $?"
    [ -z "$out" ] || printf '%s\n' "$out"
    [ "$out" = "$wanted" ] || fail "expected: ${wanted:-nothing}"
}

# wait_for_word CONTAINER TEXT: until the container has written it.
wait_for_word() {
    tries=0
    until [ "$(mydocker logs "$1")" = "$2" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || fail "$1 does not say: $2"
        sleep 0.1
    done
}

# What containers have on this machine: mounts, processes, cgroups, files.
traces() {
    grep -F -- "$MYDOCKER_ROOT/" /proc/self/mountinfo || true
    grep -lsz -e "[s]leep $seconds\$" -e "^$seconds\$" /proc/[0-9]*/cmdline || true
    for id in $ids; do
        find /sys/fs/cgroup -type d -name "*$id*" 2>/dev/null
    done
    for directory in containers writeLayer work mnt; do
        find "$MYDOCKER_ROOT/$directory" -mindepth 1 2>/dev/null || true
    done
}

fail() {
    printf '\nThe story ends here: %s\n' "$1" >&2
    exit 1
}

clear_away() {
    mydocker rm -f red blue >/dev/null 2>&1 || true
    rm -rf --one-file-system -- "$MYDOCKER_ROOT"
}

main
