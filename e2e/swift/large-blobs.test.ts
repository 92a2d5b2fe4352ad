import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { digestOf, expectStatus, locationOf, pushBlob, type Call } from '../harness/images.js';
import { describeWith } from '../harness/requirements.js';
import { Wharfie } from '../harness/wharfie.js';
import { Swift } from './swift.js';

/** Lowered, so that what is too large for one object needs no gigabytes; also below what is taken into memory. */
const limits = [8_000_000, 300_000];

describeWith(['swift'], 'a blob larger than an object of Swift may be', () => {
  describe.each(limits)('which is %d bytes,', (maxFileSize) => {
    describeLargeBlobs(maxFileSize);
  });
});

function describeLargeBlobs(maxFileSize: number): void {
  let swift: Swift;
  let wharfie: Wharfie;
  beforeAll(async () => {
    swift = await Swift.start({ SWIFT_MAX_FILE_SIZE: String(maxFileSize) });
    wharfie = await Wharfie.start({ env: swift.settings('large') });
  });
  afterAll(async () => {
    await wharfie.dispose();
    await swift.dispose();
  });
  const call: Call = (method, path, init) => wharfie.fetch(path, { ...init, method });
  const begin = async (): Promise<string> =>
    locationOf(await expectStatus(await call('POST', '/v2/large/blobs/uploads/'), 202));
  /** A body whose length the registry learns at its end. */
  const unannounced = (blob: Uint8Array): RequestInit => ({
    body: new Blob([Uint8Array.from(blob)]).stream(),
    duplex: 'half',
  });

  const ways: Record<string, (blob: Buffer) => Promise<unknown>> = {
    'in one PUT': async (blob) =>
      expectStatus(
        await call('PUT', `${await begin()}&digest=${digestOf(blob)}`, { body: Uint8Array.from(blob) }),
        201,
      ),
    'in one PUT that does not say how long it is': async (blob) =>
      expectStatus(await call('PUT', `${await begin()}&digest=${digestOf(blob)}`, unannounced(blob)), 201),
    'in one POST': async (blob) =>
      expectStatus(
        await call('POST', `/v2/large/blobs/uploads/?digest=${digestOf(blob)}`, { body: Uint8Array.from(blob) }),
        201,
      ),
    'in one PATCH': (blob) => pushBlob(call, 'large', blob),
    'in chunks': (blob) => pushBlob(call, 'large', blob.subarray(0, maxFileSize + 1), blob.subarray(maxFileSize + 1)),
  };

  it.each(Object.keys(ways))('comes %s, and is read back whole and over the borders of its pieces', async (way) => {
    const blob = randomBytes(2 * maxFileSize + 12_345);
    await ways[way]?.(blob);
    const path = `/v2/large/blobs/${digestOf(blob)}`;
    const whole = await expectStatus(await call('GET', path), 200);
    expect(Buffer.from(await whole.arrayBuffer()).equals(blob)).toBe(true);
    const headers = { range: `bytes=${maxFileSize - 5}-${maxFileSize + 5}` };
    const part = await expectStatus(await call('GET', path, { headers }), 206);
    expect(Buffer.from(await part.arrayBuffer()).equals(blob.subarray(maxFileSize - 5, maxFileSize + 6))).toBe(true);
  });

  it('is refused when it is not what its digest says, and leaves nothing', async () => {
    const blob = randomBytes(2 * maxFileSize);
    const before = await swift.names('large');
    const wrong = digestOf('something else');
    await expectStatus(await call('PUT', `${await begin()}&digest=${wrong}`, { body: Uint8Array.from(blob) }), 400);
    expect(await swift.names('large')).toEqual(before);
  });
}
