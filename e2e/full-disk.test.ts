import { randomBytes } from 'node:crypto';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
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
import { wharfieOn } from './harness/wharfie-on.js';

describeWith(['root'], 'a full tmpfs', () => {
  const { disk, call } = wharfieOn((folder) => must('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', folder]));
  isTold(disk, call);

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
    const filler = join(disk(), 'filler');
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
    expect(await wrongBlobs(disk())).toEqual([]);
  });
});

describeWith(['root', 'loop'], 'a full disk, which says so where the kernel’s cache is passed by', () => {
  const { disk, call } = wharfieOn(async (folder) => {
    await must('truncate', ['-s', '32M', `${folder}.image`]);
    await must('mkfs.ext4', ['-q', `${folder}.image`]);
    await must('mount', ['-o', 'loop', `${folder}.image`, folder]);
  });
  isTold(disk, call);
});

function isTold(disk: () => string, call: Call): void {
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
    expect(await readdir(join(disk(), 'wharfie', 'tmp'))).toEqual([]);
    const fits = await pushBlob(call, 'full/app', randomBytes(10_000_000));
    expect((await call('HEAD', `/v2/full/app/blobs/${fits}`)).status).toBe(200);
    expect(await pullImage(call, 'full/app', 'before')).toBe(image);
    await expectStatus(await call('PATCH', first, { body: randomBytes(1_000_000) }), 202);
    expect(await wrongBlobs(disk())).toEqual([]);
  });
}
