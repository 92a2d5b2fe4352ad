import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import {
  digestOf,
  expectStatus,
  locationOf,
  pullImage,
  pushBlob,
  pushImage,
  types,
  type Call,
} from '../harness/images.js';
import { describeWith } from '../harness/requirements.js';
import { Wharfie } from '../harness/wharfie.js';
import { Swift } from './swift.js';

const container = 'trouble';
const repository = 'team/app';

/** What a client sees through both services; faults.test.ts has what the driver makes of each fault. */
describeWith(['swift'], 'a client, while Swift is in trouble,', () => {
  let swift: Swift;
  let wharfie: Wharfie;
  const call: Call = (method, path, init) => wharfie.fetch(path, { method, ...init });
  beforeAll(async () => {
    swift = await Swift.start();
    wharfie = await Wharfie.start({ env: swift.settings(container) });
  });
  afterEach(async () => {
    await swift.faults();
    const image = await pushImage(call, repository, 'afterwards');
    expect(await pullImage(call, repository, 'afterwards')).toBe(image);
  });
  afterAll(async () => {
    await wharfie.dispose();
    await swift.dispose();
  });
  const expectError = async (response: Response, status: number, code: string): Promise<void> => {
    const { errors } = (await (await expectStatus(response, status)).json()) as { errors: { code: string }[] };
    expect(errors.map((error) => error.code)).toEqual([code]);
  };

  it('is told 503 and to come again, whatever it asks for', async () => {
    const image = await pushImage(call, repository, 'v1');
    const blob = await pushBlob(call, repository, Buffer.from('some'));
    const begun = await expectStatus(await call('POST', `/v2/${repository}/blobs/uploads/`), 202);
    await swift.faults({ path: `/${container}/`, status: 503 });
    const answers = await Promise.all([
      call('GET', `/v2/${repository}/manifests/v1`),
      call('GET', `/v2/${repository}/blobs/${blob}`),
      call('POST', `/v2/${repository}/blobs/uploads/`),
      call('PATCH', locationOf(begun), { body: 'more' }),
      call('PATCH', locationOf(begun), { body: randomBytes(9_000_000) }),
      call('PUT', locationOf(begun, `digest=${digestOf('all')}`), { body: 'all' }),
      call('PUT', `/v2/${repository}/manifests/v2`, { body: image, headers: { 'content-type': types.oci } }),
    ]);
    for (const answer of answers) {
      expect(answer.headers.get('retry-after')).toBe('5');
      await expectError(answer, 503, 'UNAVAILABLE');
    }
  });

  it('deletes a tag and a manifest that no listing shows yet', async () => {
    const image = JSON.parse(await pushImage(call, repository, 'listed')) as object;
    const next = JSON.stringify({ ...image, annotations: { of: 'another' } });
    const manifest = `/v2/${repository}/manifests/${digestOf(next)}`;
    await swift.down('container-1');
    const headers = { 'content-type': types.oci };
    await expectStatus(await call('PUT', `/v2/${repository}/manifests/new`, { body: next, headers }), 201);
    await swift.up('container-1');
    await expectStatus(await call('DELETE', `/v2/${repository}/manifests/new`), 202);
    await expectStatus(await call('GET', `/v2/${repository}/manifests/new`), 404);
    await expectStatus(await call('DELETE', manifest), 202);
    await expectStatus(await call('GET', manifest), 404);
  });

  it('is told 503 when a chunk comes so slowly that Swift gives it up', async () => {
    const begun = await expectStatus(await call('POST', `/v2/${repository}/blobs/uploads/`), 202);
    await swift.faults({ method: 'PUT', path: 'segments/wharfie/', status: 499, after: true });
    await expectError(await call('PATCH', locationOf(begun), { body: randomBytes(2_000_000) }), 503, 'UNAVAILABLE');
  });

  it('is told 503 when a chunk broke off inside, and goes on where the upload stands', async () => {
    const content = randomBytes(9_000_000);
    const begun = await expectStatus(await call('POST', `/v2/${repository}/blobs/uploads/`), 202);
    const start = content.subarray(0, 2_000_000);
    const first = await expectStatus(await call('PATCH', locationOf(begun), { body: start }), 202);
    await swift.faults({ method: 'PUT', path: 'segments/wharfie/', status: 503 });
    await expectError(
      await call('PATCH', locationOf(first), { body: content.subarray(start.length) }),
      503,
      'UNAVAILABLE',
    );
    await swift.faults();
    const stands = await expectStatus(await call('GET', locationOf(first)), 204);
    expect(stands.headers.get('range')).toBe(`0-${start.length - 1}`);
    const end = locationOf(stands, `digest=${digestOf(content)}`);
    await expectStatus(await call('PUT', end, { body: content.subarray(start.length) }), 201);
    const got = await expectStatus(await call('GET', `/v2/${repository}/blobs/${digestOf(content)}`), 200);
    expect(Buffer.from(await got.arrayBuffer()).equals(content)).toBe(true);
  });

  it('gets a whole blob or none, wherever its bytes break off', async () => {
    const content = randomBytes(3_000_000);
    const digest = await pushBlob(call, repository, content);
    await swift.faults({ method: 'GET', path: '/data', truncate: 1_000_000, times: 2 });
    const mended = await expectStatus(await call('GET', `/v2/${repository}/blobs/${digest}`), 200);
    expect(Buffer.from(await mended.arrayBuffer()).equals(content)).toBe(true);
    // The first bytes come, and never any more.
    await swift.faults({ method: 'GET', path: '/data', truncate: 1_000_000, times: 1 }, { path: '/data', truncate: 0 });
    const broken = await call('GET', `/v2/${repository}/blobs/${digest}`);
    expect(broken.headers.get('content-length')).toBe(String(content.length));
    await expect(broken.arrayBuffer()).rejects.toThrow();
  });

  it('notices nothing of tokens that are revoked before each of its requests', async () => {
    const careless: Call = async (method, path, init) => {
      await swift.forgetTokens();
      return call(method, path, init);
    };
    const image = await pushImage(careless, repository, 'revoked');
    expect(await pullImage(careless, repository, 'revoked')).toBe(image);
    await pushBlob(careless, repository, randomBytes(600_000), randomBytes(600_000));
    // What is larger than 1 MiB is on its way only once.
    await pushBlob(careless, repository, ...Array.from({ length: 5 }, () => randomBytes(2_000_000)));
    const blob = randomBytes(3_000_000);
    const begun = await expectStatus(await careless('POST', `/v2/${repository}/blobs/uploads/`), 202);
    await expectStatus(await careless('PUT', locationOf(begun, `digest=${digestOf(blob)}`), { body: blob }), 201);
  });

  it('is told 503 while memcached, and with it every token, is away', async () => {
    await swift.down('memcached');
    const asked = await call('GET', `/v2/${repository}/manifests/afterwards`);
    await swift.up('memcached');
    await expectError(asked, 503, 'UNAVAILABLE');
  });

  it('is told 507 when the quota of the container is used up', async () => {
    const image = await pushImage(call, repository, 'full');
    await swift.fetch(container, { method: 'POST', headers: { 'x-container-meta-quota-bytes': '1' } });
    const begun = await call('POST', `/v2/${repository}/blobs/uploads/`);
    // One that starts now still gives away what is there.
    const other = await Wharfie.start({ env: swift.settings(container) });
    const there: Call = (method, path, init) => other.fetch(path, { method, ...init });
    const pulled = await pullImage(there, repository, 'full');
    await other.dispose();
    await swift.fetch(container, { method: 'POST', headers: { 'x-container-meta-quota-bytes': '' } });
    await expectError(begun, 507, 'UNAVAILABLE');
    expect(pulled).toBe(image);
  });

  it('can have removed what uploads left when the quota is used up, and the purge removes the rest', async () => {
    const own = 'used-up';
    const folder = await mkdtemp(join(tmpdir(), 'wharfie-quota-'));
    const begin = (more: Record<string, string> = {}) =>
      Wharfie.start({
        env: {
          ...swift.settings(own),
          WHARFIE_SECRET_FILE: join(folder, 'secret'),
          WHARFIE_ADMIN_PASSWORD: 'shared',
          WHARFIE_WORKERS: '1',
          ...more,
        },
      });
    const first = await begin();
    const others: Wharfie[] = [];
    const at = (instance: Wharfie, method: string, path: string, init?: RequestInit) =>
      instance.fetch(path, { ...init, method, password: 'shared' });
    const upload = async (): Promise<Response> => {
      const begun = await expectStatus(await at(first, 'POST', `/v2/${repository}/blobs/uploads/`), 202);
      return expectStatus(await at(first, 'PATCH', locationOf(begun), { body: randomBytes(3_000_000) }), 202);
    };
    try {
      others.push(await begin());
      const [cancelled, elsewhere, wrong] = [await upload(), await upload(), await upload(), await upload()];
      await swift.fetch(own, { method: 'POST', headers: { 'x-container-meta-quota-bytes': '1' } });
      await expectStatus(await at(first, 'DELETE', locationOf(cancelled)), 204);
      for (const other of others) await expectStatus(await at(other, 'DELETE', locationOf(elsewhere)), 204);
      const refused = await at(first, 'PUT', locationOf(wrong, `digest=${digestOf('others')}`));
      await expectError(refused, 400, 'DIGEST_INVALID');
      expect(await swift.names(own, 'segments/')).toHaveLength(1);
      const ready = await fetch(`http://${first.environment['WHARFIE_REGISTRY_ADMIN_LISTEN'] ?? ''}/readyz`);
      expect([ready.status, await ready.text()]).toEqual([503, expect.stringContaining('quota')]);
      others.push(await begin({ WHARFIE_UPLOAD_LIFETIME: '1s' }));
      await expect.poll(() => swift.names(own), { timeout: 60_000 }).toEqual([]);
    } finally {
      await Promise.all([first, ...others].map((instance) => instance.dispose()));
      await rm(folder, { recursive: true });
    }
  });

  it('is told 503 when the disks of Swift are full, and can pull what is there', async () => {
    const image = await pushImage(call, repository, 'before');
    await swift.full(true);
    try {
      await expectError(await call('POST', `/v2/${repository}/blobs/uploads/`), 503, 'UNAVAILABLE');
      // Swift's proxy leaves out a disk that was full for a time, for reads as well: here a second, else a minute.
      await vi.waitFor(async () => {
        expect(await pullImage(call, repository, 'before')).toBe(image);
      }, 30_000);
    } finally {
      await swift.full(false);
    }
  });
});
