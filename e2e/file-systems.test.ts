import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Digest } from '@wharfie/shared';
import { expect, it } from 'vitest';
import { blobPath, layerLinkPath } from '../registry/src/domain/layout.js';
import { digestOf, pullImage, pushBlob, pushImage } from './harness/images.js';
import { describeWith } from './harness/requirements.js';
import { must } from './harness/run.js';
import { wrongBlobs } from './harness/storage.js';
import { wharfieOn } from './harness/wharfie-on.js';

describeWith(['root'], 'a folder of distribution that cannot be written at all', () => {
  const digest = digestOf('pushed before') as Digest;
  const { call } = wharfieOn(async (folder) => {
    await must('mount', ['-t', 'tmpfs', 'tmpfs', folder]);
    const files = { [layerLinkPath('old/app', digest)]: digest, [blobPath(digest)]: 'pushed before' };
    for (const [path, content] of Object.entries(files)) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), content);
    }
    return must('mount', ['-o', 'remount,ro', folder]);
  });

  it('can be pulled from, and says at a push that it does not work', async () => {
    const pulled = await call('GET', `/v2/old/app/blobs/${digest}`);
    expect([pulled.status, await pulled.text()]).toEqual([200, 'pushed before']);
    expect((await call('POST', '/v2/old/app/blobs/uploads/')).status).toBe(503);
    const whole = `/v2/old/app/blobs/uploads/?digest=${digestOf('more')}`;
    expect((await call('POST', whole, { body: 'more' })).status).toBe(503);
    expect((await call('DELETE', `/v2/old/app/blobs/${digest}`)).status).toBe(503);
    expect((await call('GET', `/v2/old/app/blobs/${digest}`)).status).toBe(200);
  });
});

describeWith(['root'], 'a file system that can only be written through the kernel’s cache', () => {
  const { disk, call } = wharfieOn((folder) => must('mount', ['-t', 'ramfs', 'ramfs', folder]));

  it('takes long blobs, in one and in chunks of any size, and gives them back', async () => {
    const image = await pushImage(call, 'cached/app', 'latest');
    const chunks = [5_000_000, 1, 70_000, 4096, 3_000_001].map((size) => randomBytes(size));
    const whole = Buffer.concat(chunks);
    for (const pushed of [await pushBlob(call, 'cached/app', whole), await pushBlob(call, 'cached/copy', ...chunks)]) {
      const pulled = await call('GET', `/v2/cached/app/blobs/${pushed}`);
      expect(whole.equals(Buffer.from(await pulled.arrayBuffer()))).toBe(true);
    }
    expect(await pullImage(call, 'cached/app', 'latest')).toBe(image);
    expect(await wrongBlobs(disk())).toEqual([]);
  });
});
