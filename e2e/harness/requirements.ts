import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, it } from 'vitest';
import { isInstalled } from './is-installed.mjs';

/** What a suite needs of the machine beside Node, and how to have it. */
const requirements = {
  root: { met: () => process.getuid?.() === 0, remedy: 'run as root' },
  loop: { met: () => existsSync('/dev/loop-control'), remedy: 'have the kernel mount files (modprobe loop)' },
  docker: { met: () => found('dockerd') && found('docker'), remedy: 'install docker.io' },
  podman: { met: () => found('podman'), remedy: 'install podman' },
  buildah: { met: () => found('buildah'), remedy: 'install buildah' },
  containerd: { met: () => found('containerd') && found('ctr'), remedy: 'install containerd' },
  compose: {
    met: () => found('docker') && spawnSync('docker', ['compose', 'version']).status === 0,
    remedy: 'run e2e/docker/engine.sh install',
  },
  systemd: { met: () => found('systemd-analyze'), remedy: 'install systemd' },
  'cloud-init': { met: () => found('cloud-init'), remedy: 'install cloud-init' },
  skopeo: { met: () => found('skopeo'), remedy: 'install skopeo' },
  distribution: { met: () => found('docker-registry'), remedy: 'install docker-registry' },
  swift: { met: () => found('swift-proxy-server') && found('memcached'), remedy: 'run e2e/swift/swift.sh install' },
  keystone: { met: () => found('keystone-wsgi-public'), remedy: 'run e2e/swift/swift.sh install' },
  tools: {
    met: () => ['curl', 'jq', 'openssl', 'htpasswd'].every(found),
    remedy: 'install curl, jq, openssl and apache2-utils',
  },
  go: { met: () => found('go'), remedy: 'install Go 1.24 or later' },
  nginx: { met: () => found('nginx'), remedy: 'install nginx' },
  haproxy: { met: () => found('haproxy'), remedy: 'install haproxy' },
  curl: { met: () => found('curl'), remedy: 'install curl' },
  openssl: { met: () => found('openssl'), remedy: 'install openssl' },
  htpasswd: { met: () => found('htpasswd'), remedy: 'install apache2-utils' },
  python3: { met: () => found('python3'), remedy: 'install python3' },
  '/dev/full': { met: () => existsSync('/dev/full'), remedy: 'use a Linux that has it' },
  strace: { met: () => found('strace'), remedy: 'install strace' },
} as const;

export type Requirement = keyof typeof requirements;

/** With WHARFIE_E2E=all, as `npm run e2e` sets it, everything must run: what cannot is a failure instead of a skip. */
const everything = process.env['WHARFIE_E2E'] === 'all';

/** A suite that needs more than Node. Where that is missing it is skipped, and says why and how to have it run. */
export function describeWith(needs: readonly Requirement[], name: string, suite: () => void): void {
  const missing = needs.filter((need) => !requirements[need].met());
  if (missing.length === 0) {
    describe(name, suite);
    return;
  }
  const reason = `needs ${missing.join(', ')}: ${missing.map((need) => requirements[need].remedy).join('; ')}`;
  if (everything) {
    it(name, () => {
      throw new Error(reason);
    });
    return;
  }
  console.log(`skipped: ${name} ${reason}`);
  describe.skip(`${name} (${reason})`, suite);
}

function found(command: string): boolean {
  return isInstalled(command, '/usr/sbin', '/usr/local/go/bin');
}
