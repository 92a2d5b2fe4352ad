# Provokes what docs/troubleshooting.md explains, for terminal.sh: each attempt of a client is one case.
set +e
registry=127.0.0.1:5000
far=registry.example.com
archive=$PWD/image.tar
public='admins: [admin]
rules:
  - repositories: "public/**"
    pull: [$anonymous]
  - repositories: "**"
    pull: [$authenticated]
'

# One case: what a user types, and what they see.
try() {
  echo "== $*"
  "$@" 2>&1 | tr '\r' '\n' | grep -v Preparing
}
# The same, shown at the end: Docker's engine repeats for 50 seconds what may pass.
later() {
  try "$@" > "late-$#-$RANDOM" &
  late="${late:-} $!"
}
wrong() { echo wrong | command "$@" --password-stdin; }
# Something else than a registry, or a proxy before it that does not do its part: answers everything with STATUS and a page.
page() {
  node -e '
    const answer = "HTTP/1.1 " + process.argv[2] + "\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>no</html>";
    require("node:http").createServer((request, response) => {
      const passed = request.method === "GET" || request.method === "HEAD" || request.url.includes("manifests");
      if (process.argv[2] !== "404 Not Found" && passed) {
        const upstream = require("node:http").request({ port: 5000, method: request.method, path: request.url, headers: request.headers },
          (answer) => { response.writeHead(answer.statusCode, answer.headers); answer.pipe(response); });
        request.pipe(upstream);
      } else if (process.argv[2] === "cut") request.socket.destroy();
      else request.socket.end(answer);
    }).listen(Number(process.argv[1]), "127.0.0.1");
  ' "$1" "$2" &
  until curl -so /dev/null "127.0.0.1:$1/v2/" || [ $? = 52 ]; do :; done
}
certificate() { # NAME DAYS
  openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout key.pem -out request.pem 2>/dev/null
  openssl x509 -req -in request.pem -signkey key.pem -days "$2" -extfile <(echo "subjectAltName=DNS:$1") -out cert.pem 2>/dev/null
}

docker pull busybox
docker tag busybox "$registry/team/app"
command docker save busybox -o "$archive"

# Nothing listens, no such name, not a registry.
try docker login -u admin "$registry"
try docker login -u admin nowhere.example.com
try skopeo inspect docker://nowhere.example.com/team/app
page 5080 '404 Not Found'
try docker login -u admin 127.0.0.1:5080
docker tag busybox 127.0.0.1:5080/team/app
try docker push 127.0.0.1:5080/team/app

npm start >/dev/null
docker login -u admin "$registry" >/dev/null 2>&1
docker push "$registry/team/app" >/dev/null
echo 'the password of bob' | npx wharfie users add bob --password-stdin

# Passwords and rights, when every rule needs an account, and when one does not.
for policy in "$(cat data/access.yml)" "$public"; do
  echo "$policy" > data/access.yml
  npm start >/dev/null
  command docker logout "$registry" >/dev/null
  try docker pull "$registry/team/app"
  try docker push "$registry/team/app"
  try wrong docker login -u carol "$registry"
  try skopeo login --tls-verify=false -u dave -p wrong "$registry"
  try skopeo inspect --tls-verify=false "docker://$registry/team/app"
  try podman login --tls-verify=false -u dave -p wrong "$registry"
  try podman pull --tls-verify=false "$registry/team/app"
  try ctr --address "$containerd" image pull --plain-http "$registry/team/app:latest"
  try ctr --address "$containerd" image pull --plain-http --user erin:wrong "$registry/team/app:latest"
  for _ in {1..12}; do curl -so /dev/null -u mallory:guess "$registry/v2/"; done
  try wrong docker login -u mallory "$registry"
  try skopeo login --tls-verify=false -u mallory -p wrong "$registry"
  try podman login --tls-verify=false -u mallory -p wrong "$registry"
  try ctr --address "$containerd" image pull --plain-http --user mallory:wrong "$registry/team/app:latest"
  try curl -sS -u mallory:wrong "$registry/v2/"
  docker login -u bob "$registry" >/dev/null 2>&1
  try docker push "$registry/team/app"
  try skopeo copy --insecure-policy --dest-tls-verify=false --dest-creds='bob:the password of bob' "docker-archive:$archive" "docker://$registry/team/app"
  try docker pull "$registry/team/missing"
  try docker pull "$registry/team/app:missing"
  try skopeo inspect --tls-verify=false --creds='bob:the password of bob' "docker://$registry/team/missing"
  try podman pull --tls-verify=false --creds='bob:the password of bob' "$registry/team/missing"
done
try docker pull "$registry/Team/App"
try docker push busybox/app
try curl -sS 127.0.0.1:5001/v2/

# http where https is expected.
docker login -u admin "$registry" >/dev/null 2>&1
try podman pull "$registry/team/app"
try skopeo inspect "docker://$registry/team/app"
export WHARFIE_LISTEN=0.0.0.0:5000
npm start >/dev/null
try docker login -u admin "$far:5000"
try curl -sS "https://$far:5000/v2/"

# Proxies that do not do their part.
page 5081 '413 Request Entity Too Large'
page 5082 cut
page 5083 '502 Bad Gateway'
page 5084 '504 Gateway Timeout'
for port in 5081 5082 5083 5084; do
  docker login -u admin "127.0.0.1:$port" >/dev/null 2>&1
  docker tag busybox "127.0.0.1:$port/team/new$port"
  if [ $port = 5081 ]; then try docker push "127.0.0.1:$port/team/new$port"; else later docker push "127.0.0.1:$port/team/new$port"; fi
  try skopeo copy --insecure-policy --dest-tls-verify=false --dest-creds="admin:$(typed admin)" "docker-archive:$archive" "docker://127.0.0.1:$port/team/new$port"
done

# A full disk.
mkdir small
mount -t tmpfs -o size=2m tmpfs small
head -c 8000000 /dev/urandom > large
tar -c large | command docker import - large >/dev/null
command docker save large -o large.tar
WHARFIE_STORAGE_ROOT=$PWD/small npm start >/dev/null
try skopeo copy --insecure-policy --dest-tls-verify=false --dest-creds="admin:$(typed admin)" docker-archive:large.tar "docker://$registry/team/large"

# A proxy without its registry.
WHARFIE_REGISTRY_URL=http://127.0.0.1:9 npm start >/dev/null
try docker pull "$registry/team/app"
try skopeo inspect --tls-verify=false --creds="admin:$(typed admin)" "docker://$registry/team/app"

# Certificates.
export WHARFIE_LISTEN=0.0.0.0:5443 WHARFIE_TLS_CERT=cert.pem WHARFIE_TLS_KEY=key.pem
certificate $far 1
npm start >/dev/null
try docker login -u admin "$far:5443"
try podman login -u admin -p x "$far:5443"
try skopeo inspect "docker://$far:5443/team/app"
try ctr --address "$containerd" image pull "$far:5443/team/app:latest"
try curl -sS "https://$far:5443/v2/"
try docker login -u admin 192.0.2.1:5443
try curl -sS "http://$far:5443/v2/"
mkdir -p "/etc/docker/certs.d/$far:5443"
for name in $far other.example.com; do
  certificate $name -1
  [ $name = $far ] || certificate $name 1
  cp cert.pem "/etc/docker/certs.d/$far:5443/ca.crt"
  npm start >/dev/null
  try docker login -u admin "$far:5443"
done

# shellcheck disable=SC2086
wait $late
cat late-*
