import { mkdtemp, rm } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { registrySettings } from '../../registry/src/settings.js';
import { openSwift } from '../../registry/src/storage/swift/open.js';
import { digestOf, expectStatus, pullImage, pushBlob, pushImage, type Call } from '../harness/images.js';
import { blobsOf, writeLayout } from '../harness/oci-layout.js';
import { describeWith } from '../harness/requirements.js';
import { must } from '../harness/run.js';
import { Wharfie } from '../harness/wharfie.js';
import { Swift } from './swift.js';

describeWith(['swift', 'skopeo'], 'with pulls sent to Swift', () => {
  let swift: Swift;
  let wharfie: Wharfie;
  let folder: string;
  const call: Call = (method, path, init) => wharfie.fetch(path, { method, ...init });
  const settings = () => ({ ...swift.settings('a b%c'), WHARFIE_SWIFT_REDIRECT: 'true' });
  beforeAll(async () => {
    swift = await Swift.start({ SWIFT_MAX_FILE_SIZE: '5000000' });
    wharfie = await Wharfie.start({ env: settings() });
    folder = await mkdtemp(join(tmpdir(), 'wharfie-redirect-'));
  });
  afterAll(async () => {
    await wharfie.dispose();
    await swift.dispose();
    await rm(folder, { recursive: true });
  });

  it('answers a blob with an address that serves it, whole and in part, without credentials', async () => {
    for (const chunks of [[randomBytes(1000)], [randomBytes(9_000_000), randomBytes(9_000_000)]]) {
      const content = Buffer.concat(chunks);
      const digest = await pushBlob(call, 'team/app', ...chunks);
      const sent = await expectStatus(await call('GET', `/v2/team/app/blobs/${digest}`), 307);
      expect(sent.headers.get('docker-content-digest')).toBe(digest);
      expect(sent.headers.get('cache-control')).toBe('no-store');
      const address = sent.headers.get('location') ?? '';
      expect(new URL(address).port).toBe(String(swift.port));
      const whole = await expectStatus(await fetch(address), 200);
      expect(Buffer.from(await whole.arrayBuffer()).equals(content)).toBe(true);
      const part = await expectStatus(await fetch(address, { headers: { range: 'bytes=10-99' } }), 206);
      expect(Buffer.from(await part.arrayBuffer()).equals(content.subarray(10, 100))).toBe(true);

      // It is good for this object alone, and for reading.
      expect((await fetch(address.replace(digest.slice(7), digest.slice(7).replace(/./g, '0')))).status).toBe(401);
      expect((await fetch(address, { method: 'DELETE' })).status).toBe(401);

      const head = await expectStatus(await call('HEAD', `/v2/team/app/blobs/${digest}`), 200);
      expect(head.headers.get('content-length')).toBe(String(content.length));
    }
  });

  it('tells nobody an address who may not pull', async () => {
    const digest = await pushBlob(call, 'team/app', Buffer.from('secret'));
    const stranger = await fetch(`http://${wharfie.address}/v2/team/app/blobs/${digest}`, { redirect: 'manual' });
    expect([stranger.status, stranger.headers.get('location')]).toEqual([401, null]);
    expect((await call('GET', `/v2/other/app/blobs/${digest}`)).status).toBe(404);
    expect((await call('GET', `/v2/team/app/blobs/${digestOf('none')}`)).status).toBe(404);
  });

  it('is what a client follows', async () => {
    await writeLayout(join(folder, 'image'), ['amd64']);
    const image = `docker://${wharfie.address}/team/layout:v1`;
    const credentials = `admin:${wharfie.password}`;
    const oci = (name: string): string => `oci:${folder}/${name}:latest`;
    await must('skopeo', [
      'copy',
      '--all',
      '--dest-tls-verify=false',
      '--dest-creds',
      credentials,
      oci('image'),
      image,
    ]);
    await must('skopeo', ['copy', '--all', '--src-tls-verify=false', '--src-creds', credentials, image, oci('pulled')]);
    expect(await blobsOf(join(folder, 'pulled'))).toEqual(await blobsOf(join(folder, 'image')));
    const statuses = (await wharfie.requests('proxy'))
      .filter(({ method, kind, repository }) => method === 'GET' && kind === 'blob' && repository === 'team/layout')
      .map(({ status }) => status);
    expect(new Set(statuses)).toEqual(new Set([307]));
  });

  it('passes what distribution wrote in segments through itself', async () => {
    const content = randomBytes(30_000);
    const digest = digestOf(content);
    await pushBlob(call, 'team/app', content);
    const name = `files/docker/registry/v2/blobs/sha256/${digest.slice(7, 9)}/${digest.slice(7)}/data`;
    const inUrl = encodeURIComponent('a b%c');
    await swift.fetch(`${inUrl}/segments/abc/1`, { method: 'PUT', body: content.subarray(0, 20_000) });
    await swift.fetch(`${inUrl}/segments/abc/2`, { method: 'PUT', body: content.subarray(20_000) });
    const headers = { 'x-object-manifest': `${inUrl}/segments/abc/` };
    await swift.fetch(`${inUrl}/${name}`, { method: 'PUT', headers });
    const got = await expectStatus(await call('GET', `/v2/team/app/blobs/${digest}`), 200);
    expect(Buffer.from(await got.arrayBuffer()).equals(content)).toBe(true);
  });

  it('leaves the key of distribution on the container', async () => {
    const container = await swift.fetch(encodeURIComponent('a b%c'), { method: 'HEAD' });
    expect(container.headers.get('x-container-meta-temp-url-key')).toBeNull();
    expect(container.headers.get('x-container-meta-temp-url-key-2')).toMatch(/^[0-9a-f]{64}$/);
  });

  it('does not start for who may not set the key', async () => {
    await swift.fetch('given', {
      method: 'PUT',
      headers: { 'x-container-read': 'test:reader', 'x-container-write': 'test:reader' },
    });
    const reader = { ...settings(), OS_CONTAINER: 'given', OS_USERNAME: 'test:reader', OS_PASSWORD: 'reading' };
    const opening = openSwift(registrySettings({ ...reader, WHARFIE_SECRET_FILE: join(folder, 'secret') }));
    await expect(opening).rejects.toThrow(/^WHARFIE_SWIFT_REDIRECT: only who owns the account/);
  });

  it('is off by default', async () => {
    const plain = await Wharfie.start({ env: swift.settings('plain') });
    try {
      const direct: Call = (method, path, init) => plain.fetch(path, { method, ...init });
      const image = await pushImage(direct, 'team/app', 'v1');
      expect(await pullImage(direct, 'team/app', 'v1')).toBe(image);
      const container = await swift.fetch('plain', { method: 'HEAD' });
      expect(container.headers.get('x-container-meta-temp-url-key-2')).toBeNull();
    } finally {
      await plain.dispose();
    }
  });
});
