import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { pullImage, pushBlob, pushImage } from './harness/images.js';
import { describeWith } from './harness/requirements.js';
import { must } from './harness/run.js';
import { wrongBlobs } from './harness/storage.js';
import { wharfieOn } from './harness/wharfie-on.js';

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
