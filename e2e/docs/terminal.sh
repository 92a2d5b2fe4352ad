#!/bin/bash
# The reader of a page at a terminal: runs the page's commands, from standard input, as they stand there.
#
#   terminal.sh PROJECT < commands
#
# In namespaces of its own: a network, so that Wharfie's ports are free whatever else runs; mounts, for a clone of the project
# that is thrown away; processes, so that none is left. With a Docker engine of its own. Needs root. What a reader does by
# hand is done by the functions below.
set -eu
project=$1
if [ -z "${work:-}" ]; then
  # Short, because the engine's sockets lie there.
  work=$(mktemp -d /tmp/whd-XXXX)
  export work
  trap 'rm -rf "$work"' EXIT
  unshare --net --mount --pid --fork --kill-child --mount-proc "$0" "$project" 2>&1
  exit
fi
scripts=$(dirname "$(realpath "$0")")
wharfie=

mkdir "$work/engine" "$work/docker" "$work/tmpfs"
mount -t tmpfs tmpfs "$work/tmpfs"
mkdir "$work/wharfie" "$work/tmpfs/upper" "$work/tmpfs/work"
mount -t overlay overlay -o "lowerdir=$project,upperdir=$work/tmpfs/upper,workdir=$work/tmpfs/work" "$work/wharfie"
rm -rf "$work/wharfie/data"
# A public address and name that are this machine's, and certificates that its engine alone trusts.
ip link set lo up
ip address add 192.0.2.1/32 dev lo
{ cat /etc/hosts; echo '192.0.2.1 registry.example.com'; } > "$work/hosts"
mount --bind "$work/hosts" /etc/hosts
mkdir -p /etc/docker
mount --bind "$work/docker" /etc/docker

unset "${!WHARFIE_@}" "${!OS_@}" "${!REGISTRY_@}"
export HOME=$work TERM=dumb DOCKER_CONFIG=$work/.docker DOCKER_BUILDKIT=0
DOCKER_HOST=$("$scripts/../docker/engine.sh" start "$work/engine")
export DOCKER_HOST
containerd=$work/engine/exec/containerd/containerd.sock
tar -C /etc -c hostname | command docker import - busybox >/dev/null

# The password that a reader types at a prompt: the one that the first start printed, or the one thought up for an account.
typed() {
  case $1 in
  admin) sed -n 's/^password: //p' "$work/first" 2>/dev/null || echo 'none yet' ;;
  *) echo "the password of $1" ;;
  esac
}

# The clone is there already.
git() { [ "$1" = clone ]; }

# `npm start` in a terminal of its own, once it says what to type next; the one before it is ended by Ctrl-C.
npm() {
  [ "$*" = start ] || { command npm "$@"; return; }
  [ -z "$wharfie" ] || { kill "$wharfie"; wait "$wharfie" || :; }
  : > "$work/log"
  command npm start > "$work/log" 2>&1 &
  wharfie=$!
  sed '/Ctrl-C ends it/q' <(tail -n +1 -f --pid=$wharfie "$work/log")
  [ -e "$work/first" ] || cp "$work/log" "$work/first"
  kill -0 $wharfie
}

# The password is typed at the prompt, and the next command later than the second that the proxy takes to follow.
npx() {
  case "$#$*" in
  4"wharfie users "[apv]*) typed "$4" | command npx "$@" --password-stdin ;;
  *) command npx "$@" ;;
  esac
  sleep 1
}

# Docker Hub's busybox has a stand-in, and a login is asked for its password.
docker() {
  local user
  case "$*" in
  "pull busybox") command docker image inspect busybox >/dev/null ;;
  "login "*--password-stdin*) command docker "$@" ;;
  "login "*)
    user=$(sed -E 's/.*(--username|-u) ([^ ]+).*/\2/' <<< "$*")
    typed "$user" | command docker "$@" --password-stdin
    ;;
  *) command docker "$@" ;;
  esac
}

sudo() { "$@"; }

cd "$work"
commands=$(cat)
exec < /dev/null
eval "$commands"
