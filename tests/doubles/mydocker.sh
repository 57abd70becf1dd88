#!/bin/bash -p
# A second mydocker, for chapters 3.1 to 4.2 and 4.5: a shell script on util-linux, coreutils, tar and
# iproute2.
#
# It shares nothing with solutions/mydocker but the contract. So a test that it fails asks for a
# design, and not for a behaviour.
#
# Three of its processes make a container. `run` makes the layer and the control groups, hands signals
# on, and clears all of it away. Its child, `outside`, has new namespaces and waits for PID 1 in them.
# That one, `inside`, mounts the root, leaves the host's files, joins the groups and becomes the
# command. What goes wrong on the way is written into a file, the report, and `run` tells it.
#
# bash -p: functions and options in the caller's environment are not taken over.
# shellcheck disable=SC2317,SC2329 # functions are called by what they are named in a variable
set -u
shopt -s extglob nullglob

readonly PATH_INSIDE=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
readonly REPORT=work/report
readonly USAGE="Usage: mydocker run [OPTIONS] IMAGE COMMAND [ARG...] | import FILE|- IMAGE | images
  -i -t --rm        as docker has them      --cpu-shares N      2 to 262144, 0 for the default
  --name NAME       2 to 128 characters     --cpuset-cpus LIST  such as 0-1,3
  -m --memory SIZE  such as 64m, 0 or >= 6m --pids-limit N      0 or -1 for none"

main() {
    local command=${1-help}
    (($#)) && shift
    case $command in
        outside | inside) "$command" "$@" ;; # this script calls itself
        run | import | images) prepare "$command" "$@" && "$command" "$@" ;;
        help | -h | --help) echo "$USAGE" ;;
        *) fail "$command: no such command, see 'mydocker help'" 1 ;;
    esac
}

# fail TEXT [STATUS]: say in one line what went wrong, and end.
fail() {
    local line=${1//$'\n'/; }
    printf 'mydocker: %s\n' "${line//[[:cntrl:]]/?}" >&2
    exit "${2-${failure-125}}"
}

# step WHAT COMMAND...: run a command that says nothing where it succeeds.
step() {
    local what=$1 said
    said=$("${@:2}" 2>&1) || fail "$what: ${said:-it failed}"
}

# print WHAT TEXT: say what was asked for; nothing where nobody reads it.
print() {
    local said status
    { said=$(env printf '%s\n' "$2" 2>&1 >&3); } 3>&1
    status=$?
    ((status != 141)) || exit 141
    ((status == 0)) || fail "$1: ${said##*: }" 1
}

# What mydocker itself starts from

prepare() {
    local stream
    for stream in 0 1 2; do # where one is closed, the next file to be opened would stand for it
        [[ -e /dev/fd/$stream ]] || eval "exec $stream<>/dev/null"
    done
    freshen_signals "$@"
    umask 022
    language=${LC_ALL+set:$LC_ALL} # the command gets it back; what tools say is read here
    export PATH=$PATH_INSIDE LC_ALL=C
    unset CDPATH
    root=${MYDOCKER_ROOT:-/var/lib/mydocker}
    [[ $root == /* ]] || root=$PWD/$root
}

# A shell cannot trap a signal that was ignored when it started: env(1) resets those. Nor can it
# unblock one: dash does so when it waits, and nothing else at hand does.
freshen_signals() {
    local key value stale=
    [[ ! -v MYDOCKER_SIGNALS ]] || { unset MYDOCKER_SIGNALS && return; }
    while read -r key value; do
        [[ $key != Sig@(Blk|Ign): || $value == +(0) ]] || stale=yes
    done </proc/self/status
    [[ $stale ]] || return 0
    export MYDOCKER_SIGNALS=fresh
    # shellcheck disable=SC2016 # it is for the inner shell
    PATH=$PATH_INSIDE exec env --default-signal dash -c ': & wait; exec "$@"' sh "$0" "$@"
}

check_image_name() {
    [[ $1 == [a-z0-9]*([a-z0-9_.-]) && $1 != *.tar && ${#1} -le 128 ]] ||
        fail "image '$1': a name has lower-case letters, digits, and . _ -, and does not end in .tar"
}

# run: what was typed

run() {
    local word
    interactive='' tty='' memory=0 shares=0 cpus='' pids=0
    while [[ ${1-} == -?* ]]; do
        word=$1
        shift
        case $word in
            --) break ;;
            --rm) ;; # nothing is kept, so nothing is to be removed
            -i | --interactive) interactive=yes ;;
            -t | --tty) tty=yes ;;
            -it | -ti) interactive=yes tty=yes ;;
            -h | --help) echo "$USAGE" && exit ;;
            -m | --memory | --name | --cpu-shares | --cpuset-cpus | --pids-limit)
                (($#)) || fail "$word: a value is missing"
                set_option "$word" "$1"
                shift
                ;;
            --?*=*) set_option "${word%%=*}" "${word#*=}" ;;
            *) fail "$word: no such option of run" ;;
        esac
    done
    (($#)) || fail "run: IMAGE is missing, see 'mydocker help'" 1
    check_image_name "$1"
    (($# > 1)) || fail "run: no command, and the image has none of its own"
    [[ ! $tty || ! $interactive || -t 0 ]] || fail "-it: stdin is not a terminal" 1
    [[ -t 0 ]] || tty=
    start "$@"
}

set_option() {
    local value=$2
    case $1 in
        --name) [[ $value == [a-zA-Z0-9]+([a-zA-Z0-9_.-]) && ${#value} -le 128 ]] ;;
        -m | --memory) read_memory "$value" ;;
        --cpu-shares)
            [[ $value =~ ^[0-9]{1,6}$ ]] && shares=$((10#$value)) && ((shares != 1 && shares <= 262144))
            ;;
        --cpuset-cpus) read_cpus "$value" ;;
        --pids-limit) [[ $value =~ ^(-1|[0-9]{1,7})$ ]] && pids=${value#-1} && pids=$((10#${pids:-0})) && ((pids <= 4194304)) ;;
        *) false ;;
    esac || fail "$1 '$value': run does not take it, see 'mydocker help'"
}

read_memory() {
    local -A bytes=([b]=1 [k]=1024 [m]=$((1024 ** 2)) [g]=$((1024 ** 3)))
    [[ ${1,,} =~ ^([0-9]{1,18})([bkmg]?)$ ]] || return
    local number=$((10#${BASH_REMATCH[1]})) unit=${bytes[${BASH_REMATCH[2]:-b}]}
    ((number <= 2 ** 62 / unit)) || return
    memory=$((number * unit))
    ((memory == 0 || memory >= 6 * 1024 ** 2))
}

read_cpus() {
    local part='[0-9]{1,5}(-[0-9]{1,5})?' cpu
    local -A there=()
    [[ $1 =~ ^$part(,$part)*$ ]] || return
    for cpu in $(expanded "$(</sys/devices/system/cpu/online)"); do there[$cpu]=yes; done
    for cpu in $(expanded "$1"); do [[ -v there[$cpu] ]] || return; done
    cpus=$1
}

# expanded 0-2,4: 0 1 2 4. A range that goes down becomes a word that is no CPU.
expanded() {
    local part
    for part in ${1//,/ }; do
        ((10#${part%-*} <= 10#${part#*-})) || echo "$part"
        seq "$((10#${part%-*}))" "$((10#${part#*-}))"
    done
}

# run: the container's monitor

start() {
    image=$1
    cd -P -- "$root" 2>/dev/null || fail "image '$image': there is no $root"
    hold_image
    choose_driver
    exec {root_lock}<.
    flock --wait 2 "$root_lock" || fail "run: $root has room for one container, and one runs"
    id=$(</proc/sys/kernel/random/uuid)$(</proc/sys/kernel/random/uuid)
    id=${id//-/}
    monitor=$$ groups=()
    trap clean_up EXIT
    make_layer
    make_groups
    monitor "${@:2}"
}

# Whoever runs an image holds a lock on its directory, so that `settle` lets it be.
hold_image() {
    [[ -d images/$image ]] || settle_images
    if [[ ! -d images/$image && -f images/$image.tar ]]; then # it has been laid there
        (import "images/$image.tar" "$image") >/dev/null || exit 125
    fi
    while [[ -d images/$image ]]; do
        exec {image_lock}<"images/$image"
        flock --shared "$image_lock"
        [[ images/$image/. -ef /proc/self/fd/$image_lock/. ]] && return
        exec {image_lock}<&- # it has been replaced meanwhile
    done
    fail "image '$image': there is none in $root"
}

choose_driver() {
    local wanted=${MYDOCKER_STORAGE_DRIVER:-auto} each drivers=()
    for each in overlay aufs; do
        grep -qw "$each" /proc/filesystems || modprobe -q "$each" 2>/dev/null || continue
        drivers+=("$each")
    done
    for driver in "${drivers[@]}"; do [[ $wanted != "$driver" && $wanted != auto ]] || return 0; done
    fail "storage driver '$wanted': there is ${drivers[*]:-none} on this kernel"
}

# What lies around is of a container whose `run` was killed.
make_layer() {
    local tool
    remove_layer
    step "make the layer" mkdir -p writeLayer work/overlay work/host mnt
    # The root of the container shows owner, mode and time of the top of the layer.
    for tool in chown chmod touch; do
        step "make the layer" "$tool" --reference="images/$image/." writeLayer
    done
}

# The union is mounted in the container's mount namespace only: in this one `mnt` is empty.
remove_layer() {
    rm -rf --one-file-system writeLayer work
    [[ ! -d mnt ]] || rmdir --ignore-fail-on-non-empty mnt
}

clean_up() {
    local group
    trap '' TERM INT HUP
    for group in "${groups[@]}"; do remove_group "$group"; done
    remove_layer
    if [[ ! images/$image/. -ef /proc/self/fd/$image_lock/. ]]; then # it has been replaced
        exec {image_lock}<&-
        settle_images
    fi
}

# monitor COMMAND...: start the container, hand signals on, end as it ends.
monitor() {
    local status told=
    trap 'hand_on TERM' TERM
    trap 'hand_on INT' INT
    trap 'hand_on HUP' HUP
    unshared='' handed_on='' # PID of what becomes `outside`
    [[ ! $tty ]] || keep_the_terminal
    # A background process gets /dev/null for its stdin, unless it says which it wants.
    enter_namespaces "$@" <&0 {root_lock}<&- {image_lock}<&- &
    unshared=$!
    while :; do
        wait "$unshared" 2>/dev/null
        status=$?
        [[ $handed_on ]] || break # else it was the trap that ended the wait
        handed_on=
    done
    [[ ! $tty ]] || { exec {keeping}>&- && wait "$keeper"; }
    [[ ! -s $REPORT ]] || told=$(<"$REPORT")
    [[ ! $told ]] || fail "${told#mydocker: }" "$((status == 126 || status == 127 ? status : 125))"
    exit "$status"
}

# With -t the container is in the foreground of the terminal. When `run` ends, however it does, this
# gives it back: a shell with job control does so after each command. (coproc has the stdin of it.)
keep_the_terminal() {
    exec {terminal}<&0
    coproc bash -pc 'echo; read -r _; set -m; /bin/true; :' 2>&"$terminal" {terminal}<&-
    keeper=$COPROC_PID keeping=${COPROC[1]}
    read -r _ <&"${COPROC[0]}"
}

# The container's PID 1 is the one child of `outside`; it may not be there yet.
hand_on() {
    local first=
    handed_on=yes
    while [[ $unshared && ! $first && -e /proc/$unshared ]]; do
        read -r first _ <"/proc/$unshared/task/$unshared/children" || sleep 0.01
    done 2>/dev/null
    [[ ! $first ]] || kill -s "$1" "$first" 2>/dev/null
}

# Becomes unshare(1), which becomes `outside`. What goes wrong from here on goes into the report.
enter_namespaces() {
    local chain=(setpriv --pdeathsig KILL)
    # Out of reach of a terminal's signals; with -t, PID 1 gets a process group of its own.
    [[ $tty ]] || chain+=(setsid)
    chain+=(unshare --uts --ipc --net --mount --pid bash -p "$0" outside)
    chain+=("$(declare -p monitor groups id image driver interactive tty language)")
    exec "${chain[@]}" "$@" 9>&2 2>"$REPORT"
}

# Its first child is PID 1 of the new namespace. When one of `run`, this and PID 1 dies, the kernel
# kills the next. (unshare --fork waits, too, but does not always tell which signal ended PID 1.)
outside() {
    setpriv --pdeathsig KILL env --default-signal bash -p "$0" inside "$$" "$@" <&0 &
    wait "$!" 2>/dev/null
}

# Control groups: a group of the container's own in each hierarchy that has a controller for it

# top_of[memory] and so on: the directory at the top of what is visible. Version 1 goes first.
find_controllers() {
    local point rest controller
    declare -gA top_of=()
    while read -r _ _ _ _ point _ rest; do
        rest=${rest#*- }
        printf -v point %b "$point"
        for controller in memory cpu cpuset pids; do
            if [[ $rest == cgroup\ * && ,${rest##* }, == *,$controller,* ]]; then
                top_of[$controller]=$point
            elif [[ $rest == cgroup2\ * ]] && grep -qsw "$controller" "$point/cgroup.controllers"; then
                : "${top_of[$controller]=$point}"
            fi
        done
    done </proc/self/mountinfo
}

make_groups() {
    local controller
    find_controllers
    for controller in "${!top_of[@]}"; do make_group "${top_of[$controller]}/mydocker-$id"; done
    ((!memory)) || limit memory "memory.limit_in_bytes=$memory" "memory.memsw.limit_in_bytes=$memory" \
        "memory.max=$memory" memory.swap.max=0
    ((!shares)) || limit cpu "cpu.shares=$shares" "cpu.weight=$(weight_of "$shares")"
    [[ ! $cpus ]] || limit cpuset "cpuset.cpus=$cpus"
    ((!pids)) || limit pids "pids.max=$pids"
}

make_group() {
    local file
    [[ ! -d $1 ]] || return 0 # a hierarchy with several controllers
    groups+=("$1")
    step "make a control group" mkdir "$1"
    for file in cpuset.mems cpuset.cpus; do # version 1 leaves these empty, and takes no process then
        [[ ! -e ${1%/*}/$file || -e $1/cgroup.controllers ]] || write "$1/$file" "$(<"${1%/*}/$file")"
    done
}

# limit CONTROLLER FILE=VALUE...: write those files that this version of control groups has.
limit() {
    local top=${top_of[$1]-} setting
    [[ $top ]] || fail "limit $1: this machine has no control groups for it"
    [[ ! -e $top/cgroup.subtree_control ]] || step "limit $1" write "$top/cgroup.subtree_control" "+$1"
    for setting in "${@:2}"; do
        [[ ! -e $top/mydocker-$id/${setting%%=*} ]] ||
            step "limit $1" write "$top/mydocker-$id/${setting%%=*}" "${setting#*=}"
    done
}

write() { echo "$2" >"$1"; }

weight_of() { # version 2 counts in hundredths of the default, from 1 to 10000
    local weight=$(($1 * 100 / 1024))
    echo "$((weight < 1 ? 1 : weight > 10000 ? 10000 : weight))"
}

# The container may have made groups in its own; and its last processes may not quite be gone.
remove_group() {
    local attempt member
    for ((attempt = 0; attempt < 200; attempt++)); do
        find "$1" -depth -type d -delete 2>/dev/null
        [[ -d $1 ]] || return 0
        while read -r member; do kill -s KILL "$member"; done 2>/dev/null <"$1/cgroup.procs"
        sleep 0.02
    done
    echo "mydocker: remove the control group $1: it is in use" >&2
}

# inside: PID 1 of the container, until it becomes the command

# inside UNSHARED SETTINGS COMMAND...: the PID of `outside`; what `run` knows, as bash would read it.
inside() {
    eval "$2"
    [[ ! $tty ]] || take_the_terminal "$1" "$2; tty=" "${@:3}"
    must_have_a_monitor "$1"
    shift 2
    step "set the hostname" write /proc/sys/kernel/hostname "${id:0:12}"
    step "set lo up" ip link set lo up
    mount_root
    open_groups
    leave_the_host
    [[ $interactive ]] || exec 0</dev/null
    find_program "$1"
    become "$@"
}

# An interactive shell in the container has to be able to name the process group in the foreground.
# bash -m makes a group of its own and puts that there; with -m off again, exec leaves it there.
take_the_terminal() {
    # shellcheck disable=SC2016 # it is for the inner shell
    local front='set +m; exec env --default-signal "$@" 2>&8 8>&-'
    exec env --ignore-signal=TTOU bash -pmc "$front" front bash -p "$0" inside "$@" 8>&2 2>&0
}

# `run` may have died before unshare(1) asked to be told of it, and unshare(1) before PID 1 did. As
# long as the one is the parent of the other, both live, and from now on their death is ours.
must_have_a_monitor() {
    local key value
    while read -r key value; do
        [[ $key != PPid: || $value != "$monitor" ]] || return 0
    done <"/proc/$1/status"
    fail "run: it was killed"
}

# What is mounted here is seen in this mount namespace only: unshare(1) has made all of it private.
mount_root() {
    local name
    case $driver in
        overlay) mount_at . overlay "lowerdir=images/$image,upperdir=writeLayer,workdir=work/overlay" ;;
        aufs) mount_at . aufs "br:writeLayer=rw:images/$image=ro" ;;
    esac
    for name in proc sys dev; do
        [[ ! -L mnt/$name ]] || fail "image '$image': /$name is a link"
        step "make /$name" mkdir -p "mnt/$name"
    done
    mount_at proc proc nosuid,nodev,noexec
    mount_at sys sysfs ro,nosuid,nodev,noexec
    mount_at dev tmpfs nosuid,noexec,mode=0755
    step "make /dev" mkdir mnt/dev/pts mnt/dev/shm
    mount_at dev/pts devpts nosuid,noexec,newinstance,mode=0620,gid=5,ptmxmode=0666
    mount_at dev/shm tmpfs nosuid,nodev,noexec,mode=1777
    for name in "null c 1 3" "zero c 1 5" "full c 1 7" "random c 1 8" "urandom c 1 9" "tty c 5 0"; do
        # shellcheck disable=SC2086 # these are four words
        step "make /dev" mknod --mode=666 mnt/dev/$name
    done
    step "make /dev" ln -s pts/ptmx /proc/self/fd mnt/dev
    for name in 0=stdin 1=stdout 2=stderr; do
        step "make /dev" ln -s "/proc/self/fd/${name%=*}" "mnt/dev/${name#*=}"
    done
}

# All paths are relative: one that a person has chosen may have commas and colons, and be long.
mount_at() {
    step "mount $2 on ${1/#./the layers} in $PWD" \
        mount --no-canonicalize --no-mtab --types "$2" --options "$3" "$2" "mnt/$1"
}

# The control groups cannot be seen from the new root: their files are opened before.
open_groups() {
    local group file
    doors=()
    for group in "${groups[@]}"; do
        exec {file}>"$group/cgroup.procs" || fail "enter the control group $group"
        doors+=("$file")
    done
}

# pivot_root(1) puts the old root on top of the new one, and somebody has to take it away. The tool
# for that lies in the old root: so a helper runs it whose own root is a second view of the old one,
# which goes away with it.
leave_the_host() {
    local helper ready
    step "mount the host's files for the last time" mount --no-mtab --rbind / work/host
    cd mnt || fail "enter the new root"
    coproc nsenter --root=../work/host --wd=. sh -c 'echo; read -r _; umount --no-mtab --lazy .'
    helper=$COPROC_PID
    read -r ready <&"${COPROC[0]}" || fail "leave the host's files"
    step "change the root" pivot_root . .
    echo "$ready" >&"${COPROC[1]}"
    wait "$helper" || fail "leave the host's files"
    cd / && unset OLDPWD
}

# find_program WORD: sets `program`. A bare word is looked up in the container's PATH.
find_program() {
    local directory start=
    program=
    case $1 in
        */*) program=$1 ;;
        ?*)
            for directory in ${PATH_INSIDE//:/ }; do
                [[ ! -f $directory/$1 ]] || program=$directory/$1
                [[ ! -x $program ]] || break
            done
            ;;
    esac
    [[ $program && -e $program ]] || fail "run '$1': command not found" 127
    [[ ! -d $program ]] || fail "run '$1': it is a directory" 126
    [[ -x $program ]] || fail "run '$1': permission denied" 126
    # bash and execvp(3) would read any other file as a script for a shell.
    read -rN 4 start <"$program"
    [[ $start == '#!'* || $start == $'\177ELF' ]] || fail "run '$1': it is no program" 126
}

# From here on nothing is started any more: the groups are for the command alone.
become() {
    local door descriptor
    for door in "${doors[@]}"; do echo 0 >&"$door" || fail "enter a control group"; done
    case $language in
        set:*) export LC_ALL=${language#set:} ;;
        *) unset LC_ALL ;;
    esac 2>/dev/null
    exec 2>&9
    for descriptor in /proc/self/fd/*; do
        descriptor=${descriptor##*/}
        ((descriptor <= 2)) || exec {descriptor}>&-
    done
    exec -a "$1" "$program" "${@:2}"
}

# import and images. An image that was imported is a link to a generation of it, which is a directory
# `.IMAGE@ID` beside the link. Whoever changes anything in images/ holds a lock on that directory.

no_options() {
    [[ ${2-} != -?* ]] || fail "$2: no such option of $1"
}

import() {
    no_options import "$@"
    (($# == 2)) || fail "import: it takes FILE and IMAGE, see 'mydocker help'" 1
    check_image_name "$2"
    local file=$1 name=$2
    failure=1
    [[ $file == - || $file == /* ]] || file=$PWD/$file
    step "import $1" mkdir -p "$root/images"
    cd -P -- "$root/images" || fail "import $1: cannot enter $root/images"
    exec {images_lock}<.
    flock "$images_lock"
    settle
    trap 'rm -rf .unpacking' EXIT
    step "import $1" mkdir -p .unpacking/image
    unpack "$1" "$file"
    publish "$name"
    print "import $1" "$name"
}

unpack() {
    local what="import $1" tar=$2 packed=.unpacking/packed said
    if [[ ! -f $tar ]]; then # a stream is read once
        step "$what" save cat -- "$tar" "$packed"
        tar=$packed
    fi
    case $(od -An -tx1 -N4 -- "$tar" 2>/dev/null) in
        ' 1f 8b'*) step "$what" save gzip -dc -- "$tar" .unpacking/tar ;;
        ' 42 5a 68'*) step "$what" save bzip2 -dc -- "$tar" .unpacking/tar ;;
        ' fd 37 7a 58') step "$what" save xz -dc -- "$tar" .unpacking/tar ;;
        ' 28 b5 2f fd') step "$what" save zstd -qdc -- "$tar" .unpacking/tar ;;
    esac
    [[ ! -e .unpacking/tar ]] || tar=.unpacking/tar
    # GNU tar takes it for the end where a file is cut off between two members.
    said=$(tail -c 1024 -- "$tar" | od -An -v -tx1 | tr -d ' \n')
    [[ $said == +(0) && ${#said} == 2048 ]] || fail "$what: it is no tar file, or it was cut off"
    # Whatever tar has to say is a reason to refuse: it leaves out of names what leads elsewhere, and
    # makes links that do so when all else is done; and it says so.
    if said=$(tar --extract --file="$tar" --force-local --directory=.unpacking/image --numeric-owner \
        --same-owner --same-permissions --delay-directory-restore --xattrs --xattrs-include='*' \
        --warning=no-timestamp --warning=no-unknown-keyword 2>&1) && [[ ! $said ]]; then
        step "$what" sync --file-system .unpacking/image
        return
    fi
    [[ $said != *'Wrote only'* ]] || said="No space left on device: $said"
    fail "$what: $(head -n 3 <<<"$said")"
}

# save COMMAND... FILE: put what it prints into a file.
save() { "${@:1:$#-1}" >"${!#}"; }

# A rename puts a link in place of a link at once. A plain directory has to go out of the way before;
# if this is killed in between, `settle` finds a generation and no image, and makes the link.
publish() {
    local id generation
    id=$(</proc/sys/kernel/random/uuid)
    generation=.$1@$id
    step "import $1" mv .unpacking/image "$generation"
    [[ -L $1 || ! -d $1 ]] || step "import $1" mv "$1" ".$1@before-$id"
    step "import $1" ln -s "$generation" .unpacking/link
    step "import $1" mv -T .unpacking/link "$1"
    settle
}

# Remove what an import left that was killed, and generations that have no name and no user.
settle() {
    local generation name
    rm -rf .unpacking
    for generation in .*@*; do
        name=${generation#.}
        name=${name%@*}
        [[ -e $name ]] || ln -sfn "$generation" "$name"
        [[ $name -ef $generation ]] || flock --nonblock "$generation" rm -rf "$generation"
    done
}

# As long as somebody imports, that import will do it.
settle_images() {
    (cd images && exec {lock}<. && flock --nonblock "$lock" && settle)
}

images() {
    no_options images "$@"
    (($# == 0)) || fail "images: it takes no arguments" 1
    print images "$(list_images)"
}

list_images() {
    local name size
    printf '%-20s %-12s %s\n' IMAGE CREATED SIZE
    cd -P -- "$root/images" 2>/dev/null || return 0
    for name in *; do
        [[ -d $name ]] || continue
        size=$(du -sh "$name/" | cut -f1)
        printf '%-20s %-12s %s\n' "$name" "$(date -r "$name" +%F)" "$size"
    done
}

main "$@"
exit
