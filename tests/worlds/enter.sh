#!/usr/bin/env bash
# One stage in a world, as the first process of new mount, PID and IPC namespaces. The kernel ends its
# processes and its mounts with it, however it ends. worlds.py calls it.
#
# Usage: enter.sh KIND ROOT HOME ITS_HOME CACHE ITS_CACHE FOLDER COMMAND PATH...
#   KIND     here: this system; container: this system with a container's rights; user, root: ROOT is a Debian
#   HOME     the home folder, which is called ITS_HOME in the world; CACHE: pip's cache, in the same way
#   FOLDER   where COMMAND runs, in the world
#   PATH...  what a Debian needs of this system's files to reach the package index
set -euo pipefail
kind=$1 root=$2 home=$3 its_home=$4 cache=$5 its_cache=$6 folder=$7 command=$8
shift 8
its_path=$PATH PATH=/usr/sbin:/usr/bin:/sbin:/bin

# A folder or file of this system, at a place of the world.
show() {
    [ ! -L "$2" ] || rm "$2"
    if [ -d "$1" ]; then mkdir -p "$2"; else mkdir -p "$(dirname "$2")" && touch "$2"; fi
    mount --bind "$1" "$2"
}

case $kind in
here) root= ;;
container) mount --rbind / "$root" ;;
*)
    mount --bind "$root" "$root"
    mount --rbind /dev "$root/dev"
    mount --rbind /sys "$root/sys"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    show "$cache" "$root$its_cache"
    for path in "$@"; do show "$path" "$root$path"; done
    ;;
esac
mount -t proc proc "$root/proc"
size=50%
[ "$kind" != container ] || size=64m
mount -t tmpfs -o "size=$size,mode=1777" tmpfs "$root/dev/shm"
mkdir -p "$root/run/shmring"
mount -t tmpfs -o mode=755 tmpfs "$root/run/shmring"
[ "$kind" = here ] || show "$home" "$root$its_home"

as=()
case $kind in
container)
    for path in sys proc/sys; do
        mount --bind "$root/$path" "$root/$path"
        mount -o remount,bind,ro "$root/$path"
    done
    ulimit -l 64 && ulimit -r 0 && ulimit -e 0
    keep='chown|dac_override|fowner|fsetid|kill|setgid|setuid|setpcap|net_bind_service|net_raw|sys_chroot|mknod|audit_write|setfcap'
    drop=$(capsh --print | sed -n 's/^Bounding set =//p' | tr , '\n' | grep -vxE "cap_($keep)" | paste -sd,)
    # In a changed root nobody may make a user namespace. The other namespaces need CAP_SYS_ADMIN.
    as=(chroot "$root" capsh --drop="$drop" -- -c 'exec "$@"' sh)
    ;;
user | root)
    cd "$root"
    pivot_root . .
    umount -l .
    cd / && root=
    if [ "$kind" = user ]; then
        ulimit -l 8192 && ulimit -r 0 && ulimit -e 0 && ulimit -Sn 1024
        as=(setpriv --reuid=dev --regid=dev --init-groups --inh-caps=-all)
    fi
    ;;
esac

status=0
# shellcheck disable=SC2016 # expanded by the inner shell
"${as[@]}" /usr/bin/env PATH="$its_path" /bin/sh -c 'cd "$1" && eval "$2"' sh "$folder" "$command" </dev/null ||
    status=$?

# What ends by itself when its parent is gone gets 10 s for it.
for _ in {1..100}; do
    left=()
    for process in "$root"/proc/[0-9]*; do
        [ "$process" = "$root/proc/1" ] || left+=("$(tr '\0' ' ' 2>/dev/null <"$process/cmdline" || :)")
    done
    for file in "$root"/dev/shm/*shmring*; do
        [ ! -e "$file" ] || left+=("${file#"$root"}")
    done
    [ ${#left[@]} -gt 0 ] || exit "$status"
    sleep 0.1
done
printf 'left behind: %s\n' "${left[@]}"
exit 1
