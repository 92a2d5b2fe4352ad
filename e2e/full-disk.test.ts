import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  digestOf,
  expectStatus,
  locationOf,
  pullImage,
  pushBlob,
  pushImage,
  types,
  type Call,
} from './harness/images.js';
import { describeWith } from './harness/requirements.js';
import { must } from './harness/run.js';
import { wrongBlobs } from './harness/storage.js';
import { Wharfie } from './harness/wharfie.js';

describeWith(['root'], 'a full disk', () => {
  let folder: string;
  let disk: string;
  let wharfie: Wharfie;
  const call: Call = (method, path, init) => wharfie.fetch(path, { ...init, method });
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'wharfie-full-'));
    disk = join(folder, 'disk');
    await mkdir(disk);
    await must('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', disk]);
    wharfie = await Wharfie.start({ env: { WHARFIE_STORAGE_ROOT: disk } });
  });
  afterAll(async () => {
    await wharfie.dispose();
    await must('umount', [disk]);
    await rm(folder, { recursive: true });
  });

  it('is told to the client, shows nothing half, and is over when there is room', async () => {
    const image = await pushImage(call, 'full/app', 'before');
    const large = randomBytes(40_000_000);
    const begin = async () => locationOf(await expectStatus(await call('POST', '/v2/full/app/blobs/uploads/'), 202));
    const first = await begin();
    for (const answer of [
      await call('PATCH', first, { body: large }),
      await call('PUT', `${await begin()}&digest=${digestOf(large)}`, { body: large }),
    ]) {
      expect(answer.status).toBe(507);
      expect(await answer.json()).toMatchObject({
        errors: [{ code: 'UNAVAILABLE', message: expect.stringContaining('full') as string }],
      });
    }
    expect((await call('HEAD', `/v2/full/app/blobs/${digestOf(large)}`)).status).toBe(404);
    expect((await call('GET', first)).headers.get('range')).toBe('0-0');
    expect(await pullImage(call, 'full/app', 'before')).toBe(image);
    expect((await (await call('GET', '/v2/full/app/tags/list')).json()) as object).toEqual({
      name: 'full/app',
      tags: ['before'],
    });

    // What did not fit gave its room back at once, though nobody has ended its upload.
    expect(await readdir(join(disk, 'wharfie', 'tmp'))).toEqual([]);
    const fits = await pushBlob(call, 'full/app', randomBytes(10_000_000));
    expect((await call('HEAD', `/v2/full/app/blobs/${fits}`)).status).toBe(200);
    expect(await pullImage(call, 'full/app', 'before')).toBe(image);
    await expectStatus(await call('PATCH', first, { body: randomBytes(1_000_000) }), 202);
    expect(await wrongBlobs(disk)).toEqual([]);
  });

  it('to the last byte refuses manifests, tags, uploads and mounts, and takes them when there is room', async () => {
    const image = await pushImage(call, 'full/last', 'old');
    const changed = JSON.stringify({ ...(JSON.parse(image) as object), annotations: { 'org.example': 'changed' } });
    const digest = (JSON.parse(image) as { layers: { digest: string }[] }).layers[0]?.digest ?? '';
    const requests = {
      tag: () => call('PUT', '/v2/full/last/manifests/new', { body: image, headers: { 'content-type': types.oci } }),
      manifest: () =>
        call('PUT', '/v2/full/last/manifests/old', { body: changed, headers: { 'content-type': types.oci } }),
      blob: () => call('POST', `/v2/full/last/blobs/uploads/?digest=${digestOf('small')}`, { body: 'small' }),
      mount: () => call('POST', `/v2/full/mounted/blobs/uploads/?mount=${digest}&from=full/last`),
    };
    const filler = join(disk, 'filler');
    await expect(writeFile(filler, Buffer.alloc(24 * 1024 * 1024))).rejects.toThrow('ENOSPC');
    for (const [name, request] of Object.entries(requests)) expect((await request()).status, name).toBe(507);
    expect(await pullImage(call, 'full/last', 'old')).toBe(image);
    expect((await (await call('GET', '/v2/full/last/tags/list')).json()) as object).toMatchObject({ tags: ['old'] });
    expect((await call('GET', `/v2/full/last/manifests/${digestOf(changed)}`)).status).toBe(404);
    expect((await call('HEAD', `/v2/full/mounted/blobs/${digest}`)).status).toBe(404);

    await rm(filler);
    for (const [name, request] of Object.entries(requests)) expect((await request()).status, name).toBe(201);
    expect(await pullImage(call, 'full/last', 'old')).toBe(changed);
    expect(await pullImage(call, 'full/last', 'new')).toBe(image);
    expect(await wrongBlobs(disk)).toEqual([]);
  });
});
