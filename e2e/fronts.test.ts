import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Engine } from './docker/engine.js';
import { Front } from './harness/front.js';
import { blobsOf, writeLayout } from './harness/oci-layout.js';
import { describeWith } from './harness/requirements.js';
import { must, run } from './harness/run.js';
import { projectRoot, Wharfie } from './harness/wharfie.js';

const openPolicy = 'admins: [admin]\nrules:\n  - repositories: "open/**"\n    pull: [$anonymous]\n';

describeWith(['root', 'docker', 'skopeo', 'nginx', 'haproxy', 'curl'], 'behind another proxy with TLS', () => {
  let engine: Engine;
  let folder: string;
  beforeAll(async () => {
    engine = await Engine.start();
    folder = await mkdtemp(join(tmpdir(), 'wharfie-fronts-'));
    await writeLayout(join(folder, 'in'), ['amd64', 'arm64']);
    await writeFile(join(folder, 'layer'), randomBytes(3_000_000));
    await writeFile(join(folder, 'Dockerfile'), 'FROM scratch\nCOPY layer /layer\nCMD ["/layer"]\n');
    await engine.must(['build', '--quiet', '--tag', 'app', folder]);
  });
  afterAll(async () => {
    await engine.stop();
    await rm(folder, { recursive: true });
  });

  const curl = (front: Front, path: string, ...more: string[]) =>
    run('curl', [
      '--silent',
      '--show-error',
      '--cacert',
      front.certificate,
      ...more,
      `https://${front.address}${path}`,
    ]);
  const skopeo = (front: Front, args: string[]) =>
    run('skopeo', ['--insecure-policy', 'copy', '--all', '--preserve-digests', ...args], {
      env: { HOME: folder, XDG_RUNTIME_DIR: front.certificates },
    });
  const skopeoPush = (front: Front, name: string, password: string) => {
    const options = [`--dest-cert-dir=${front.certificates}`, `--dest-creds=admin:${password}`];
    return skopeo(front, [...options, `oci:${folder}/in:latest`, `docker://${front.address}/${name}`]);
  };
  /** Pulls, and compares what came with what was pushed. */
  const skopeoPull = async (front: Front, name: string, credentials: string) => {
    const out = await mkdtemp(join(folder, 'out-'));
    const options = [`--src-cert-dir=${front.certificates}`, credentials];
    const pulled = await skopeo(front, [...options, `docker://${front.address}/${name}`, `oci:${out}:latest`]);
    expect(pulled.code, pulled.stderr).toBe(0);
    expect(await blobsOf(out)).toEqual(await blobsOf(join(folder, 'in')));
  };

  describe.each(['nginx', 'haproxy'] as const)('%s, as documented', (kind) => {
    let wharfie: Wharfie;
    let front: Front;
    beforeAll(async () => {
      wharfie = await Wharfie.start({ env: { WHARFIE_TRUSTED_PROXIES: '127.0.0.1' } });
      front = await Front.start(kind, wharfie.address);
      await wharfie.writeAccess(openPolicy);
    });
    afterAll(async () => {
      await front.stop();
      await wharfie.dispose();
    });

    it('lets skopeo push with an account and pull without one', async () => {
      const pushed = await skopeoPush(front, 'open/app:1', wharfie.password);
      expect(pushed.code, pushed.stderr).toBe(0);
      await skopeoPull(front, 'open/app:1', '--src-no-creds');
    });

    it('lets Docker log in, push and pull', async () => {
      const { address } = front;
      expect((await engine.login(address, 'admin', wharfie.password)).stdout).toContain('Login Succeeded');
      await engine.must(['tag', 'app', `${address}/team/app:1`]);
      await engine.must(['push', `${address}/team/app:1`]);
      await engine.must(['image', 'rm', `${address}/team/app:1`]);
      await engine.must(['pull', `${address}/team/app:1`]);
    });

    it('shows the door the client’s own address, whatever the client says it is', async () => {
      const from = ['--interface', '127.0.0.9', '--header', 'X-Forwarded-For: 6.6.6.6'];
      const { stdout } = await curl(front, '/v2/', ...from, '--include', '--header', 'X-Forwarded-Host: evil.example');
      expect(stdout).toMatch(/^HTTP\/2 401/);
      expect(stdout).toContain(`realm="https://${front.address}/token"`);
      const id = /"requestId":"([^"]+)"/.exec(stdout)?.[1];
      const line = (await wharfie.requests('proxy')).find(({ requestId }) => requestId === id);
      expect(line).toMatchObject({ remote: '127.0.0.9' });
    });

    it('does not make another path of what the client sent', async () => {
      for (const path of [
        '/v2/open/../team/app/manifests/1',
        '/v2//team/app/manifests/1',
        '/v2/open%2f..%2fteam/app/tags/list',
      ]) {
        const credentials = ['--user', `admin:${wharfie.password}`];
        const { stdout } = await curl(front, path, '--path-as-is', ...credentials, '--write-out', '\n%{http_code}');
        expect(['400', '404'], `${path}: ${stdout}`).toContain(stdout.split('\n').at(-1));
      }
    });
  });

  it('needs no header from nginx where every pull needs an account', async () => {
    const wharfie = await Wharfie.start();
    const front = await Front.start('nginx', wharfie.address, (text) =>
      text.replaceAll(/^ *proxy_set_header .*\n/gm, ''),
    );
    try {
      const pushed = await skopeoPush(front, 'team/app:1', wharfie.password);
      expect(pushed.code, pushed.stderr).toBe(0);
      await skopeoPull(front, 'team/app:1', `--src-creds=admin:${wharfie.password}`);
      await engine.login(front.address, 'admin', wharfie.password);
      await engine.must(['tag', 'app', `${front.address}/team/docker:1`]);
      await engine.must(['push', `${front.address}/team/docker:1`]);
    } finally {
      await front.stop();
      await wharfie.dispose();
    }
  });

  it.each(['nginx', 'haproxy'] as const)(
    'works below a path, without any header from %s, with WHARFIE_PUBLIC_URL',
    async (kind) => {
      // The address must be known before either is there.
      const wharfie = await Wharfie.start({ env: { WHARFIE_PUBLIC_URL: 'https://hub.example/registry' } });
      await wharfie.writeAccess(openPolicy);
      const front = await Front.start(kind, wharfie.address, (text) =>
        text.replace('location /', 'location /registry/').replaceAll(/^ *(proxy_set_header|http-request) .*\n/gm, ''),
      );
      const hub = 'https://hub.example';
      const [host, port] = front.address.split(':') as [string, string];
      const call = (url: string, ...more: string[]) =>
        must('curl', [
          ...['--silent', '--show-error', '--fail-with-body', '--cacert', front.certificate],
          ...['--connect-to', `hub.example:443:${host}:${port}`, '--dump-header', '-', ...more, new URL(url, hub).href],
        ]);
      const account = ['--user', `admin:${wharfie.password}`];
      const headerOf = (answer: string, name: string) => new RegExp(`^${name}: (.*)\\r$`, 'im').exec(answer)?.[1] ?? '';
      try {
        const body = join(folder, 'layer');
        const digest = `sha256:${(await must('sha256sum', [body])).split(' ')[0] ?? ''}`;
        const begun = headerOf(
          await call('/registry/v2/open/app/blobs/uploads/', ...account, '--request', 'POST'),
          'location',
        );
        expect(begun).toMatch(/^\/registry\/v2\/open\/app\/blobs\/uploads\//);
        const sent = headerOf(
          await call(begun, ...account, '--request', 'PATCH', '--data-binary', `@${body}`),
          'location',
        );
        const done = `${sent}${sent.includes('?') ? '&' : '?'}digest=${digest}`;
        const stored = headerOf(await call(done, ...account, '--request', 'PUT'), 'location');
        expect(stored).toBe(`/registry/v2/open/app/blobs/${digest}`);

        const asked = await call('/registry/v2/').catch((error: unknown) => String(error));
        const challenge = headerOf(asked, 'www-authenticate');
        expect(challenge).toContain(`realm="${hub}/registry/token"`);
        const answer = await call('/registry/token?service=wharfie&scope=repository:open/app:pull');
        const { token } = JSON.parse(answer.split('\r\n\r\n').at(-1) ?? '') as { token: string };
        const pulled = join(folder, `pulled-${kind}`);
        await call(stored, '--oauth2-bearer', token, '--output', pulled);
        expect((await readFile(pulled)).equals(await readFile(body))).toBe(true);
      } finally {
        await front.stop();
        await wharfie.dispose();
      }
    },
  );
});

it('the documented configurations are those that are tried', async () => {
  const page = await readFile(join(projectRoot, 'docs', 'deployment.md'), 'utf8');
  for (const name of ['nginx.conf', 'haproxy.cfg', 'Caddyfile', 'traefik.yml']) {
    expect(page, name).toContain(await readFile(join(projectRoot, 'docs', 'deployment', name), 'utf8'));
  }
});
