import { expect, it } from 'vitest';
import { digestOf, mediaTypes } from '@wharfie/shared';
import { MemoryDriver } from '../storage/memory.js';
import { revisionLink } from './layout.js';
import { Referrers, referrerEntry } from './referrers.js';
import { Tags } from './tags.js';

const signal = new AbortController().signal;
const subject = digestOf(Buffer.from('a subject'));

/** A storage whose reads take a turn of the event loop. */
class Slow extends MemoryDriver {
  underWay = 0;
  most = 0;

  override async get(...call: Parameters<MemoryDriver['get']>): Promise<Buffer> {
    this.underWay += 1;
    this.most = Math.max(this.most, this.underWay);
    await new Promise(setImmediate);
    this.underWay -= 1;
    return super.get(...call);
  }
}

it('reads few referrers at once, however many ask for them, and none for a page that is complete', async () => {
  const storage = new Slow();
  for (let index = 0; index < 40; index += 1) {
    const digest = digestOf(Buffer.from(`referrer ${index}`));
    const entry = referrerEntry('a', subject, { mediaType: mediaTypes.ociManifest, digest, size: 1 });
    await storage.putAll([entry, revisionLink('a', digest)], signal);
  }
  const referrers = new Referrers(storage, new Tags(storage));
  const lengths = await Promise.all(
    Array.from({ length: 100 }, async (_, index) => {
      const page = await referrers.list('a', subject, undefined, index % 2 ? { n: 20 } : {}, signal);
      return page.referrers.length;
    }),
  );
  expect(lengths).toEqual(Array.from({ length: 100 }, (_, index) => (index % 2 ? 20 : 40)));
  expect(storage.most).toBeLessThanOrEqual(4 * 16);
  expect(storage.underWay).toBe(0);
});
