#!/bin/bash
# The reader of a page at a terminal: runs the page's commands, from standard input, as they stand there.
#
#   unshare --net --mount terminal.sh PROJECT < commands
#
# A network of its own, so that Wharfie's ports are free whatever else runs; a clone of the project that is thrown away; a
# Docker engine of its own. Needs root. What a reader does by hand is done by the functions below.
set -eu
project=$1
scripts=$(dirname "$(realpath "$0")")
# Short, because the engine's sockets lie there.
work=$(mktemp -d /tmp/whd-XXXX)
engine=$(mktemp -d /tmp/whe-XXXX)
wharfie=
leave() {
  jobs -p | xargs --no-run-if-empty kill 2>/dev/null || :
  wait
  "$scripts/../docker/engine.sh" stop "$engine" || :
  cd /
  umount --recursive "$work" || :
  rm -rf "$work" "$engine"
}
trap leave EXIT

mount -t tmpfs tmpfs "$work"
mkdir "$work/wharfie" "$work/upper" "$work/overlay" "$work/docker"
mount -t overlay overlay -o "lowerdir=$project,upperdir=$work/upper,workdir=$work/overlay" "$work/wharfie"
rm -rf "$work/wharfie/data"
# A public address and name that are this machine's, and certificates that its engine alone trusts.
ip link set lo up
ip address add 192.0.2.1/32 dev lo
{ cat /etc/hosts; echo '192.0.2.1 registry.example.com'; } > "$work/hosts"
mount --bind "$work/hosts" /etc/hosts
mkdir -p /etc/docker
mount --bind "$work/docker" /etc/docker

export HOME=$work TERM=dumb DOCKER_CONFIG=$work/.docker DOCKER_BUILDKIT=0
DOCKER_HOST=$("$scripts/../docker/engine.sh" start "$engine")
export DOCKER_HOST
containerd=$engine/exec/containerd/containerd.sock
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

npx() {
  case "$#$*" in
  4"wharfie users "[apv]*) typed "$4" | command npx "$@" --password-stdin ;;
  *) command npx "$@" ;;
  esac
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
