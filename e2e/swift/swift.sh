#!/usr/bin/env bash
# A real OpenStack Swift on loopback for the tests: Debian's packages, configured below a folder, without systemd.
#
#   swift.sh install                  the packages that are missing (needs root for that; starts nothing)
#   swift.sh start FOLDER PORT        one node, or SWIFT_NODES=3; uses the ports PORT to PORT+39; returns when it answers
#   swift.sh stop FOLDER              what `start` started there, and nothing else
#   swift.sh down|up FOLDER NAME      one server: proxy, memcached, account-N, container-N, object-N
#   swift.sh forget-tokens FOLDER     every token is refused from now on
#
# FOLDER/faults.json holds rules for the requests that come in, as faults.py says. Users: test:tester (password: testing),
# and my_master_account:my_account (password: my_key), as SoftLayer names them. SWIFT_MAX_FILE_SIZE lowers the limit,
# SWIFT_AUTOCREATE=false makes no accounts, SWIFT_CERTIFICATE and SWIFT_KEY (files) have the proxy speak TLS. With
# SWIFT_KEYSTONE=URL that Keystone says who users are (its certificate is SWIFT_CERTIFICATE, too).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
packages=(swift-proxy swift-account swift-container swift-object memcached python3-keystone python3-keystonemiddleware)

fail() { echo "swift.sh: $*" >&2; exit 1; }
usage() { sed -n '2,13s/^# \?//p' "$0"; exit 2; }

install_packages() {
  local name missing=()
  for name in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q ' installed$' || missing+=("$name")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || fail "Swift is installed by apt-get, which this system lacks: use a Debian, such as a container of one"
  [ "$(id -u)" = 0 ] || fail "only root can install ${missing[*]}: run 'sudo $0 install' first"
  # The packages would start services of their own.
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get -o DPkg::Lock::Timeout=300 -qq update
  apt-get -o DPkg::Lock::Timeout=300 -qq -y --no-install-recommends install "${missing[@]}" >/dev/null
}

base64_name() { printf %s "$1" | base64 -w0 | tr -d =; }

configure() {
  mkdir -p "$folder"/{etc,data,log,run,cache}
  [ -e "$folder/faults.json" ] || echo '[]' >"$folder/faults.json"
  cat >"$folder/etc/swift.conf" <<END
[swift-hash]
swift_hash_path_prefix = test
swift_hash_path_suffix = test
[storage-policy:0]
name = only
default = yes
[swift-constraints]
max_file_size = ${SWIFT_MAX_FILE_SIZE:-5368709122}
END
  local common="bind_ip = 127.0.0.1
user = $(id -un)
swift_dir = $folder/etc
devices = $folder/data
mount_check = false
fallocate_reserve = 0
recon_cache_path = $folder/cache
log_address = $folder/no-syslog
workers = 0"
  local node kind offset
  for node in $(seq 1 "$nodes"); do
    mkdir -p "$folder/data/d$node"
    offset=0
    for kind in account container object; do
      offset=$((offset + 1))
      cat >"$folder/etc/$kind-$node.conf" <<END
[DEFAULT]
$common
bind_port = $((port + 10 * node + offset))
[pipeline:main]
pipeline = healthcheck $kind-server
[app:$kind-server]
use = egg:swift#$kind
log_requests = false
[filter:healthcheck]
use = egg:swift#healthcheck
END
    done
  done
  local auth=tempauth
  [ -z "${SWIFT_KEYSTONE:-}" ] || auth="authtoken keystoneauth"
  cat >"$folder/etc/proxy.conf" <<END
[DEFAULT]
$common
bind_port = $port
${SWIFT_CERTIFICATE:+cert_file = $SWIFT_CERTIFICATE
key_file = $SWIFT_KEY}
[pipeline:main]
pipeline = faults catch_errors gatekeeper healthcheck proxy-logging cache listing_formats bulk tempurl ratelimit $auth copy container-quotas account-quotas slo dlo versioned_writes symlink proxy-logging proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = ${SWIFT_AUTOCREATE:-true}
# A node that failed is asked again at once: the tests bring it back.
error_suppression_interval = 1
error_suppression_limit = 1000
[filter:faults]
paste.filter_factory = faults:filter_factory
rules = $folder/faults.json
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:$((port + 1))
error_suppression_interval = 1
error_suppression_limit = 1000
[filter:tempauth]
use = egg:swift#tempauth
token_life = ${SWIFT_TOKEN_LIFE:-86400}
user_test_tester = testing .admin
user_test_reader = reading
user64_$(base64_name my_master_account)_$(base64_name my_account) = my_key .admin
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
auth_type = password
auth_url = ${SWIFT_KEYSTONE:-}
www_authenticate_uri = ${SWIFT_KEYSTONE:-}
cafile = ${SWIFT_CERTIFICATE:-}
username = admin
password = admin
project_name = admin
user_domain_id = default
project_domain_id = default
delay_auth_decision = true
include_service_catalog = false
cache = swift.cache
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = member
$(for name in catch_errors gatekeeper healthcheck proxy_logging listing_formats bulk tempurl ratelimit copy container_quotas account_quotas slo dlo versioned_writes symlink; do
    printf '[filter:%s]\nuse = egg:swift#%s\n' "$(echo "$name" | sed -E '/catch|listing|versioned/!s/_/-/g')" "$name"
  done)
END
  printf 'folder=%s\nport=%s\nnodes=%s\n' "$folder" "$port" "$nodes" >"$folder/settings"
}

servers() {
  local node kind
  for node in $(seq 1 "$nodes"); do for kind in account container object; do echo "$kind-$node"; done; done
  echo proxy
}

# A process by its number and its time of start: a number alone may be somebody else's by now.
started_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
running() {
  local pid start
  read -r pid start 2>/dev/null <"$folder/run/$1" || return 1
  [ "$(started_at "$pid")" = "$start" ] && echo "$pid"
}

launch() {
  local name=$1
  running "$name" >/dev/null && return
  ! answers "$(port_of "$name")" || fail "somebody else has port $(port_of "$name"), which $name needs"
  if [ "$name" = memcached ]; then
    set -- memcached -l 127.0.0.1 -p $((port + 1)) -U 0 -m 64
    [ "$(id -u)" != 0 ] || set -- "$@" -u nobody
  else
    set -- /usr/bin/python3 -W ignore "$here/serve.py" "$folder" "$name"
  fi
  PYTHONPATH="$here" setsid "$@" </dev/null >>"$folder/log/$name.log" 2>&1 &
  echo "$! $(started_at $!)" >"$folder/run/$name"
}

halt() {
  local pid
  pid=$(running "$1") || { rm -f "$folder/run/$1"; return 0; }
  kill -TERM -- "-$pid"
  for _ in $(seq 1 100); do
    running "$1" >/dev/null || { rm -f "$folder/run/$1"; return 0; }
    sleep 0.05
  done
  kill -KILL -- "-$pid"
  rm -f "$folder/run/$1"
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
wait_for() {
  local name=$1 on=$2
  for _ in $(seq 1 300); do
    answers "$on" && return
    running "$name" >/dev/null || fail "$name ended: $(tail -5 "$folder/log/$name.log")"
    sleep 0.1
  done
  fail "$name does not answer: $(tail -5 "$folder/log/$name.log")"
}
port_of() {
  if [ "$1" = memcached ]; then echo $((port + 1)); else sed -n 's/^bind_port = //p' "$folder/etc/$1.conf"; fi
}

start() {
  command -v memcached >/dev/null && /usr/bin/python3 -W ignore -c 'import swift' 2>/dev/null ||
    fail "there is no Swift here: $0 install"
  nodes=${SWIFT_NODES:-1}
  configure
  /usr/bin/python3 -W ignore "$here/serve.py" "$folder" rings "$port" "$nodes"
  local name
  for name in memcached $(servers); do launch "$name"; done
  for name in memcached $(servers); do wait_for "$name" "$(port_of "$name")"; done
}

[ $# -ge 1 ] || usage
case $1 in install) install_packages; exit ;; esac
[ $# -ge 2 ] || usage
mkdir -p "$2"
folder=$(cd "$2" && pwd)
if [ "$1" = start ]; then
  port=${3:?the first port}
  start
  exit
fi
[ -e "$folder/settings" ] || fail "$folder holds no Swift"
. "$folder/settings"
case $1 in
  stop) for name in proxy $(servers) memcached; do halt "$name"; done ;;
  down) halt "${3:?a server}" ;;
  up) launch "${3:?a server}"; wait_for "$3" "$(port_of "$3")" ;;
  forget-tokens) exec 3<>"/dev/tcp/127.0.0.1/$((port + 1))"; printf 'flush_all\r\n' >&3; head -1 <&3 >/dev/null ;;
  *) usage ;;
esac
