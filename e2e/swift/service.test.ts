import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { registrySettings } from '../../registry/src/settings.js';
import { openSwift } from '../../registry/src/storage/swift/open.js';
import { serve } from '../../registry/src/storage/testing/serve.js';
import { Distribution } from '../harness/distribution.js';
import { blobsOf, writeLayout } from '../harness/oci-layout.js';
import { describeWith } from '../harness/requirements.js';
import { must } from '../harness/run.js';
import { Wharfie } from '../harness/wharfie.js';
import { Swift } from './swift.js';

const signal = new AbortController().signal;
const password = 'the same after every start';

describeWith(['swift', 'skopeo'], 'with its images in Swift', () => {
  let swift: Swift;
  let folder: string;
  beforeAll(async () => {
    swift = await Swift.start();
    folder = await mkdtemp(join(tmpdir(), 'wharfie-swift-e2e-'));
    await writeLayout(join(folder, 'image'), ['amd64', 'arm64']);
  });
  afterAll(async () => {
    await swift.dispose();
    await rm(folder, { recursive: true, force: true });
  });
  const start = (env: Record<string, string>, data = 'data') =>
    Wharfie.start({ data: join(folder, data), env: { WHARFIE_ADMIN_PASSWORD: password, ...env } });
  const push = (image: string) =>
    must('skopeo', [
      'copy',
      '--all',
      '--dest-tls-verify=false',
      '--dest-creds',
      `admin:${password}`,
      `oci:${folder}/image:latest`,
      `docker://${image}`,
    ]);
  const pull = async (image: string, into: string, credentials = true) => {
    const login = credentials ? ['--src-creds', `admin:${password}`] : [];
    await must('skopeo', [
      'copy',
      '--all',
      '--src-tls-verify=false',
      ...login,
      `docker://${image}`,
      `oci:${folder}/${into}:latest`,
    ]);
    expect(await blobsOf(join(folder, into))).toEqual(await blobsOf(join(folder, 'image')));
  };

  it('takes a push with the command of the post, and another instance serves the pull', async () => {
    const env = {
      SETTINGS_FLAVOR: 'swift',
      OS_AUTH_URL: swift.authUrl,
      OS_AUTH_VERSION: '1',
      OS_USERNAME: 'my_master_account:my_account',
      OS_PASSWORD: 'my_key',
      OS_CONTAINER: 'docker',
      GUNICORN_WORKERS: '8',
    };
    const first = await start(env);
    try {
      await push(`${first.address}/team/app:v1`);
    } finally {
      await first.stop('SIGKILL');
      await first.waitFor(() => Promise.resolve(first.survivors().length === 0));
    }
    const login = await fetch(swift.authUrl, {
      headers: { 'x-auth-user': env.OS_USERNAME, 'x-auth-key': env.OS_PASSWORD },
    });
    const account = login.headers.get('x-storage-url') ?? '';
    const listing = await fetch(`${account}/docker`, {
      headers: { 'x-auth-token': login.headers.get('x-auth-token') ?? '' },
    });
    const names = (await listing.text()).trim().split('\n');
    expect(names).toContain('files/docker/registry/v2/repositories/team/app/_manifests/tags/v1/current/link');
    expect(names.filter((name) => name.startsWith('files/docker/registry/v2/blobs/'))).toHaveLength(7);
    expect(names.filter((name) => !name.startsWith('files/docker/registry/v2/'))).toEqual([]);

    const second = await start(env);
    try {
      await pull(`${second.address}/team/app:v1`, 'pulled');
    } finally {
      await second.dispose();
    }
  });

  it.each([
    ['OS_CONTAINER', { OS_CONTAINER: '' }, /is missing/],
    ['OS_AUTH_URL', { OS_AUTH_URL: '' }, /is missing/],
    ['OS_AUTH_URL', { OS_AUTH_URL: 'swift' }, /http/],
    ['OS_AUTH_VERSION', { OS_AUTH_VERSION: '4' }, /1, 2 or 3/],
    ['OS_PASSWORD', { OS_PASSWORD: 'wrong' }, /401/],
    ['OS_CONTAINER', { OS_USERNAME: 'test:reader', OS_PASSWORD: 'reading' }, /403/],
  ])('ends its start with the name %s when that is wrong', async (variable, wrong, said) => {
    const env: Record<string, string> = { ...swift.settings('wrong'), ...wrong };
    const wharfie = await Wharfie.spawn({ data: join(folder, 'wrong'), env });
    expect(await wharfie.ended()).not.toBe(0);
    const output = wharfie.stdout + wharfie.stderr;
    expect(output).toContain(`${variable}:`);
    expect(output).toMatch(said);
  });

  it('needs no rights but those on the container', async () => {
    await swift.fetch('given', {
      method: 'PUT',
      headers: { 'x-container-read': 'test:reader', 'x-container-write': 'test:reader' },
    });
    const wharfie = await start({ ...swift.settings('given'), OS_USERNAME: 'test:reader', OS_PASSWORD: 'reading' });
    try {
      await push(`${wharfie.address}/team/app:v1`);
      await pull(`${wharfie.address}/team/app:v1`, 'given');
    } finally {
      await wharfie.dispose();
    }
  });

  it('logs in with version 2, as somebody speaks it in front of this Swift', async () => {
    const identity = await serveV2(swift.authUrl);
    const env = {
      ...swift.settings('two'),
      OS_AUTH_URL: `${identity.address}/v2.0`,
      OS_AUTH_VERSION: '2',
      OS_TENANT_NAME: 'test',
      OS_USERNAME: 'tester',
      OS_REGION_NAME: 'here',
    };
    try {
      const driver = await openSwift(registrySettings(env));
      await driver.put('two/works', Buffer.from('yes'), signal);
      expect((await driver.get('two/works', signal)).toString()).toBe('yes');
      await driver.close();
      const refused = openSwift(registrySettings({ ...env, OS_PASSWORD: 'wrong' }));
      await expect(refused).rejects.toThrow(/^OS_PASSWORD: .*401/);
    } finally {
      identity.close();
    }
  });

  it('does not start in an account that is not there, and says what Swift said', async () => {
    const strict = await Swift.start({ SWIFT_AUTOCREATE: 'false' });
    try {
      const opening = openSwift(registrySettings(strict.settings('docker')));
      await expect(opening).rejects.toThrow(/^OS_CONTAINER: PUT docker was answered 404.*account/);
    } finally {
      await strict.dispose();
    }
  });

  describeWith(['distribution'], 'beside docker-registry on one container', () => {
    it('serves what that one wrote, and has it serve what we wrote', async () => {
      const distribution = await Distribution.start(swift.forDistribution('shared'));
      const wharfie = await start(swift.settings('shared'));
      try {
        await push(`${distribution.address}/theirs/app:v1`);
        await pull(`${wharfie.address}/theirs/app:v1`, 'theirs');
        await push(`${wharfie.address}/ours/app:v1`);
        await pull(`${distribution.address}/ours/app:v1`, 'ours', false);

        // A large one, of many segments on either side.
        const blob = randomBytes(70_000_000);
        const digest = `sha256:${createHash('sha256').update(blob).digest('hex')}`;
        const call = (path: string, init: RequestInit = {}) => wharfie.fetch(path, { ...init, password });
        const theirs = await distribution.upload('theirs/app', digest, blob);
        expect(theirs.status).toBe(201);
        const got = await call(`/v2/theirs/app/blobs/${digest}`);
        expect(Buffer.from(await got.arrayBuffer()).equals(blob)).toBe(true);
        const range = await call(`/v2/theirs/app/blobs/${digest}`, { headers: { range: 'bytes=5242870-5242890' } });
        expect(Buffer.from(await range.arrayBuffer()).equals(blob.subarray(5_242_870, 5_242_891))).toBe(true);

        const begun = await call('/v2/ours/app/blobs/uploads/', { method: 'POST' });
        let location = begun.headers.get('location') ?? '';
        for (let at = 0; at < blob.length; at += 35_000_000) {
          const patched = await call(location, { method: 'PATCH', body: blob.subarray(at, at + 35_000_000) });
          expect(patched.status).toBe(202);
          location = patched.headers.get('location') ?? '';
        }
        expect((await call(`${location}&digest=${digest}`, { method: 'PUT' })).status).toBe(201);
        const read = await fetch(`http://${distribution.address}/v2/ours/app/blobs/${digest}`);
        expect(Buffer.from(await read.arrayBuffer()).equals(blob)).toBe(true);
      } finally {
        await wharfie.dispose();
        await distribution.stop();
      }
    });
  });
});

/** The two messages of Keystone, version 2, in front of a Swift that knows version 1. */
function serveV2(authUrl: string) {
  return serve(async ({ url, body }) => {
    const { auth } = JSON.parse(body) as {
      auth: { tenantName: string; passwordCredentials: { username: string; password: string } };
    };
    const { username, password: key } = auth.passwordCredentials;
    const headers = { 'x-auth-user': `${auth.tenantName}:${username}`, 'x-auth-key': key };
    const login = await fetch(authUrl, { headers });
    if (url !== '/v2.0/tokens' || !login.ok) return { status: 401, body: '{"error":{"code":401,"message":"no"}}' };
    const expires = new Date(Date.now() + 3_600_000).toISOString();
    const endpoint = (region: string, address: string | null) => ({ region, publicURL: address });
    const endpoints = [endpoint('there', 'http://127.0.0.1:9'), endpoint('here', login.headers.get('x-storage-url'))];
    const access = {
      token: { id: login.headers.get('x-auth-token'), expires },
      serviceCatalog: [{ type: 'object-store', endpoints }],
    };
    return { status: 200, body: JSON.stringify({ access }) };
  });
}
