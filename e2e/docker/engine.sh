#!/bin/sh
# A Docker engine of the tests' own: Debian's, with all its state below one folder, beside any other engine.
#
#   engine.sh install      docker.io, iptables and the plugins compose and buildx from Debian; nothing is started
#   engine.sh start DIR    starts it, waits until it answers, prints the DOCKER_HOST to use
#   engine.sh stop DIR     stops that engine and clears what it left on the machine; DIR can be removed then
#
# Needs root. DIR is short (a unix socket's path has 107 bytes at most). EXTRA_FLAGS go to dockerd.
set -eu

fail() { echo "engine.sh: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail 'run as root'
action=${1:-}
dir=${2:-}
[ "$action" = install ] || [ -n "$dir" ] || fail 'usage: engine.sh install | start DIR | stop DIR'
socket=$dir/engine.sock
pidfile=$dir/engine.pid
# Each engine has a bridge and a subnet of its own, told apart by its folder: the lower half is the bridge's, the upper one
# has room for eight networks.
number=$(printf %s "$dir" | cksum | cut -d' ' -f1)
bridge=wh$((number % 100000000))
subnet=10.$((210 + number % 20)).$((number / 20 % 250))

answers() { DOCKER_HOST=unix://$socket docker version >/dev/null 2>&1; }

# Debian 12 has neither plugin. Those of Debian 13 are programs in one file that run there, too: they are fetched beside the
# machine's own list of packages, which stays as it is.
install_plugins() {
  work=$(mktemp -d)
  chmod 755 "$work"
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:-http://deb.debian.org/debian} trixie main" > "$work/sources"
  (
    cd "$work"
    set -- -q -o APT::Sandbox::User=root -o Dir::Etc::sourcelist="$work/sources" -o Dir::Etc::sourceparts=/dev/null \
      -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache"
    apt-get "$@" update >&2 && apt-get "$@" download docker-compose docker-buildx >&2
    for package in *.deb; do dpkg-deb -x "$package" files; done
    mkdir -p /usr/local/lib/docker/cli-plugins
    find files -type f -path '*cli-plugins/*' -exec install -m 755 -t /usr/local/lib/docker/cli-plugins {} +
  )
  rm -rf "$work"
}

# Not every file system can carry an overlay.
storage_driver() {
  mkdir -p "$dir/probe/lower" "$dir/probe/upper" "$dir/probe/work" "$dir/probe/merged"
  if mount -t overlay overlay "$dir/probe/merged" \
    -o "lowerdir=$dir/probe/lower,upperdir=$dir/probe/upper,workdir=$dir/probe/work" 2>/dev/null; then
    umount "$dir/probe/merged"
    echo overlay2
  else
    echo vfs
  fi
  rm -rf "$dir/probe"
}

case $action in
install)
  # Packages must not start services of their own.
  policy=/usr/sbin/policy-rc.d
  [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' > $policy; chmod 755 $policy; trap 'rm -f $policy' EXIT; }
  if ! command -v dockerd >/dev/null || ! command -v iptables >/dev/null || ! command -v docker-compose >/dev/null; then
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends \
      docker.io docker-compose iptables ca-certificates >&2
  fi
  docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1 || install_plugins
  ;;
start)
  [ ${#dir} -le 60 ] || fail "$dir is too long a name for a unix socket"
  mkdir -p "$dir"
  grep -qE ' /sys/fs/cgroup(/[^ ]*)? cgroup2? ' /proc/mounts || mount -t cgroup2 cgroup2 /sys/fs/cgroup ||
    fail 'there are no control groups, and none can be mounted'
  ip link show "$bridge" >/dev/null 2>&1 || ip link add "$bridge" type bridge
  ip addr show dev "$bridge" | grep -q "inet $subnet.1/" || ip addr add "$subnet.1/25" dev "$bridge"
  ip link set "$bridge" up
  # shellcheck disable=SC2086
  env PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin setsid dockerd \
    --host="unix://$socket" --pidfile="$pidfile" --data-root="$dir/data" --exec-root="$dir/exec" \
    --storage-driver="$(storage_driver)" \
    --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent="/$bridge" --bridge="$bridge" \
    --default-address-pool "base=$subnet.128/25,size=28" --containerd-namespace="$bridge" \
    --containerd-plugins-namespace="plugins-$bridge" --shutdown-timeout=5 ${EXTRA_FLAGS:-} \
    > "$dir/engine.log" 2>&1 < /dev/null &
  engine=$!
  for _ in $(seq 600); do
    if answers; then echo "unix://$socket"; exit 0; fi
    kill -0 $engine 2>/dev/null || break
    sleep 0.1
  done
  tail -n 15 "$dir/engine.log" >&2
  fail 'the engine did not start'
  ;;
stop)
  if [ -s "$pidfile" ] && grep -qF -- "--pidfile=$pidfile" "/proc/$(cat "$pidfile")/cmdline" 2>/dev/null; then
    pid=$(cat "$pidfile")
    export DOCKER_HOST="unix://$socket"
    docker ps -aq 2>/dev/null | while read -r id; do docker rm --force "$id" >/dev/null 2>&1 || :; done
    # An engine that ends leaves the bridges of its networks behind.
    docker network ls -q --filter type=custom 2>/dev/null | while read -r id; do docker network rm "$id" >/dev/null 2>&1 || :; done
    kill "$pid" 2>/dev/null || :
    for _ in $(seq 200); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || :
  fi
  awk -v below="$dir/" 'index($2, below) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mounted; do
    umount "$mounted" 2>/dev/null || umount -l "$mounted" 2>/dev/null || :
  done
  ip link del "$bridge" 2>/dev/null || :
  # Its rules stay in the machine's firewall, too, and its containers' control groups.
  for table in filter nat; do
    iptables -t $table -S 2>/dev/null | grep -wF -- "$bridge" | sed 's/^-A/-D/' | while read -r rule; do
      # shellcheck disable=SC2086
      iptables -w -t $table $rule 2>/dev/null || :
    done
  done
  find /sys/fs/cgroup -depth -type d \( -path "*/$bridge" -o -path "*/$bridge/*" \) -exec rmdir {} + 2>/dev/null || :
  ;;
*) fail "$action is not one of install, start, stop" ;;
esac
