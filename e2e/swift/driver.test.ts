import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { registrySettings } from '../../registry/src/settings.js';
import { PathNotFound, StorageUnavailable } from '../../registry/src/storage/storage-driver.js';
import { loginV1 } from '../../registry/src/storage/swift/auth-v1.js';
import { SwiftClient } from '../../registry/src/storage/swift/client.js';
import { SwiftDriver } from '../../registry/src/storage/swift/driver.js';
import { openSwift } from '../../registry/src/storage/swift/open.js';
import { describeDriver, pieces } from '../../registry/src/storage/testing/driver-contract.js';
import { describeWith } from '../harness/requirements.js';
import { Swift } from './swift.js';

const signal = new AbortController().signal;
const container = 'a b%c';
const inUrl = encodeURIComponent(container);
/** Lowered, so that what is too large for one object needs no gigabytes. */
const maxFileSize = 8_000_000;

describeWith(['swift'], 'the Swift driver', () => {
  let swift: Swift;
  const drivers: SwiftDriver[] = [];
  const open = async (env: Record<string, string> = {}): Promise<SwiftDriver> => {
    const driver = await openSwift(registrySettings({ ...swift.settings(container), ...env }));
    drivers.push(driver);
    return driver;
  };
  beforeAll(async () => {
    swift = await Swift.start({ SWIFT_MAX_FILE_SIZE: String(maxFileSize) });
  });
  afterAll(async () => {
    await Promise.all(drivers.map((driver) => driver.close()));
    await swift.dispose();
  });

  describeDriver('Swift', open);

  describe('on objects that Swift does not take in one piece', () => {
    const content = randomBytes(2 * maxFileSize + 12_345);
    const refuse = (): void => {
      throw new Error('no');
    };
    const upload = async (driver: SwiftDriver, path: string): Promise<void> => {
      const id = randomUUID();
      await driver.beginUpload(id, signal);
      await driver.appendUpload(id, 0, pieces(content), signal);
      await driver.commitUpload(id, content.length, path, signal);
    };

    it('makes static large objects of uploads, and reads them whole and in part', async () => {
      const driver = await open();
      await upload(driver, 'large/data');
      expect(await driver.stat('large/data', signal)).toEqual({ size: content.length });
      const whole = await buffer(await driver.read('large/data', undefined, signal));
      expect(whole.equals(content)).toBe(true);
      const part = { start: maxFileSize - 10, length: maxFileSize + 20 };
      const middle = await buffer(await driver.read('large/data', part, signal));
      expect(middle.equals(content.subarray(part.start, part.start + part.length))).toBe(true);
    });

    it('writes them at once when the length is known, only when approved, and leaves nothing else', async () => {
      const driver = await open({ WHARFIE_STORAGE_PREFIX: 'one-shot' });
      const refused = driver.write('blob/data', pieces(content), refuse, signal, content.length);
      await expect(refused).rejects.toThrow('no');
      expect(await swift.names(inUrl, 'one-shot/')).toEqual([]);
      await driver.write('blob/data', pieces(content), () => undefined, signal, content.length);
      expect((await driver.get('blob/data', signal)).equals(content)).toBe(true);
      expect(await swift.names(inUrl, 'one-shot/files/')).toEqual(['one-shot/files/blob/data']);
    });

    it('removes their segments with them, and purges none that is in use', async () => {
      const driver = await open({ WHARFIE_STORAGE_PREFIX: 'kept' });
      await upload(driver, 'blob/data');
      await driver.purge(new Date(Date.now() + 60_000), signal);
      expect((await driver.get('blob/data', signal)).equals(content)).toBe(true);
      await driver.delete('blob/data', signal);
      expect(await swift.names(inUrl, 'kept/')).toEqual([]);
    });

    it('makes large objects of large objects, where one manifest cannot name all segments', async () => {
      const client = new SwiftClient({ login: loginV1(swift.authUrl, 'test:tester', 'testing'), container });
      const driver = new SwiftDriver(client, 'nested', { maxFileSize, manifestEntries: 2 });
      drivers.push(driver);
      const id = randomUUID();
      await driver.beginUpload(id, signal);
      for (const [index, piece] of ['ab', 'cd', 'ef', 'gh', 'i'].entries())
        await driver.appendUpload(id, 2 * index, pieces(piece), signal);
      await driver.commitUpload(id, 9, 'blob/data', signal);
      await driver.purge(new Date(Date.now() + 60_000), signal);
      expect((await driver.get('blob/data', signal)).toString()).toBe('abcdefghi');
      await driver.delete('blob/data', signal);
      expect(await swift.names(inUrl, 'nested/')).toEqual([]);
    });

    it('reads what came in many small chunks segment by segment, which Swift itself reads slowly', async () => {
      await open();
      const client = new SwiftClient({ login: loginV1(swift.authUrl, 'test:tester', 'testing'), container });
      // Of more segments than one manifest may name, too.
      for (const [prefix, manifestEntries] of Object.entries({ small: 1000, groups: 5 })) {
        const driver = new SwiftDriver(client, prefix, { maxFileSize, manifestEntries }, 'a key');
        drivers.push(driver);
        const chunks = Array.from({ length: 14 }, () => randomBytes(70_000));
        const blob = Buffer.concat(chunks);
        const id = randomUUID();
        await driver.beginUpload(id, signal);
        for (const [index, chunk] of chunks.entries())
          await driver.appendUpload(id, index * chunk.length, pieces(chunk), signal);
        await driver.commitUpload(id, blob.length, 'blob/data', signal);
        // Swift asks for segments without passing this by; we do not.
        await swift.faults({ method: 'GET', path: `${prefix}/segments/.*/at/910000`, delay: 0.001 });
        expect((await driver.get('blob/data', signal)).equals(blob)).toBe(true);
        expect(await swift.faulted()).toContain('/segments/');
        await swift.faults();
        const part = { start: 69_990, length: 700_020 };
        const middle = await buffer(await driver.read('blob/data', part, signal));
        expect(middle.equals(blob.subarray(part.start, part.start + part.length))).toBe(true);
        expect(await driver.stat('blob/data', signal)).toEqual({ size: blob.length });
        expect(await driver.address('blob/data', signal)).toBeUndefined();
        await driver.delete('blob/data', signal);
        expect(await swift.names(inUrl, `${prefix}/`)).toEqual([]);
      }
    });

    it('keeps a blob that comes again, and nothing of what came', async () => {
      const driver = await open({ WHARFIE_STORAGE_PREFIX: 'again' });
      await upload(driver, 'blob/data');
      const names = await swift.names(inUrl, 'again/');
      await upload(driver, 'blob/data');
      expect(await swift.names(inUrl, 'again/')).toEqual(names);
      await expect(driver.write('blob/data', pieces(content), refuse, signal, content.length)).rejects.toThrow('no');
      await driver.write('blob/data', pieces(content), () => undefined, signal, content.length);
      expect(await swift.names(inUrl, 'again/')).toEqual(names);
      expect((await driver.get('blob/data', signal)).equals(content)).toBe(true);
    });

    it('replaces a blob of which a segment is lost when it comes again', async () => {
      const driver = await open({ WHARFIE_STORAGE_PREFIX: 'torn' });
      await upload(driver, 'blob/data');
      const [lost = ''] = await swift.names(inUrl, 'torn/segments/');
      await swift.fetch(`${inUrl}/${lost}`, { method: 'DELETE' });
      await expect(driver.get('blob/data', signal)).rejects.toThrow(StorageUnavailable);
      await upload(driver, 'blob/data');
      expect((await driver.get('blob/data', signal)).equals(content)).toBe(true);
    });

    it.each([60_000, 900_000, 5_000_000])('keeps one of %d bytes, too, that came in chunks', async (size) => {
      const driver = await open({ WHARFIE_STORAGE_PREFIX: `again-${size}` });
      const small = content.subarray(0, size);
      const chunked = async (...chunks: Buffer[]): Promise<void> => {
        const id = randomUUID();
        await driver.beginUpload(id, signal);
        let offset = 0;
        for (const chunk of chunks) offset = await driver.appendUpload(id, offset, pieces(chunk), signal);
        await driver.commitUpload(id, size, 'blob/data', signal);
      };
      await chunked(small.subarray(0, 30_000), small.subarray(30_000));
      const names = await swift.names(inUrl, `again-${size}/`);
      expect(names.filter((name) => name.includes('/segments/')).length).toBeGreaterThan(1);
      await chunked(small);
      await driver.write('blob/data', pieces(small), () => undefined, signal, size);
      expect(await swift.names(inUrl, `again-${size}/`)).toEqual(names);
      expect((await driver.get('blob/data', signal)).equals(small)).toBe(true);
      await driver.delete('blob/data', signal);
      expect(await swift.names(inUrl, `again-${size}/`)).toEqual([]);
    });

    it('replaces a dynamic one of which a disk has lost a segment that its container still lists', async () => {
      const driver = await open({ WHARFIE_STORAGE_PREFIX: 'dynamic' });
      const parts = [
        content.subarray(0, 3_000_000),
        content.subarray(3_000_000, 10_000_000),
        content.subarray(10_000_000),
      ];
      for (const [index, part] of parts.entries()) {
        const name = `dynamic/parts/${String(index + 1).padStart(16, '0')}`;
        const put = await swift.fetch(`${inUrl}/${name}`, { method: 'PUT', body: Uint8Array.from(part) });
        expect(put.status).toBe(201);
      }
      const headers = { 'x-object-manifest': `${inUrl}/dynamic/parts/` };
      // Where the driver has its objects.
      await driver.put('dynamic/data', Buffer.from('x'), signal);
      const [made = ''] = (await swift.names(inUrl, 'dynamic/')).filter((name) => name.endsWith('dynamic/data'));
      await swift.fetch(`${inUrl}/${made}`, { method: 'PUT', body: '', headers });
      expect((await driver.get('dynamic/data', signal)).equals(content)).toBe(true);
      // Whole, it stays as it is.
      await upload(driver, 'dynamic/data');
      expect((await swift.fetch(`${inUrl}/${made}`, { method: 'HEAD' })).headers.has('x-object-manifest')).toBe(true);
      await swift.loseFile(3_000_000);
      await expect(driver.get('dynamic/data', signal)).rejects.toThrow(StorageUnavailable);
      await upload(driver, 'dynamic/data');
      expect((await driver.get('dynamic/data', signal)).equals(content)).toBe(true);
    });

    /** An upload with all of the content, of one process and two more. */
    const filled = async (prefix: string): Promise<[string, SwiftDriver, SwiftDriver, SwiftDriver]> => {
      const opened = (): Promise<SwiftDriver> => open({ WHARFIE_STORAGE_PREFIX: prefix });
      const [one, late, other] = [await opened(), await opened(), await opened()];
      const id = randomUUID();
      await one.beginUpload(id, signal);
      await one.appendUpload(id, 0, pieces(content), signal);
      return [id, one, late, other];
    };

    it('keeps what is cancelled in the moment in which another process commits it', async () => {
      const [id, one, late] = await filled('moment');
      await swift.faults({ method: 'PUT', path: 'blob/data.*multipart-manifest=put', delay: 4, times: 1 });
      const committed = late.commitUpload(id, content.length, 'blob/data', signal);
      await swift.faulted();
      await one.cancelUpload(id, signal);
      await committed;
      expect((await one.get('blob/data', signal)).equals(content)).toBe(true);
      await one.purge(new Date(Date.now() + 60_000), signal);
      expect((await one.get('blob/data', signal)).equals(content)).toBe(true);
      await one.delete('blob/data', signal);
      expect(await swift.names(inUrl, 'moment/')).toEqual([]);
    });

    it('keeps a blob whose upload somebody else tried to finish under another digest meanwhile', async () => {
      const [id, one, late, other] = await filled('two');
      const manifest = (algorithm: string): string => `two/${algorithm}/data.*multipart-manifest=put`;
      await swift.faults(
        { method: 'PUT', path: manifest('sha256'), delay: 4, times: 1 },
        { method: 'PUT', path: manifest('sha512'), status: 403, times: 1 },
      );
      const committed = late.commitUpload(id, content.length, 'two/sha256/data', signal);
      await swift.faulted();
      await expect(other.commitUpload(id, content.length, 'two/sha512/data', signal)).rejects.toThrow('403');
      await committed;
      await one.purge(new Date(Date.now() + 60_000), signal);
      expect((await one.get('two/sha256/data', signal)).equals(content)).toBe(true);
    });

    it('loses no upload and no blob by a 404 that Swift gives while it cannot read the container', async () => {
      const [id, one, late] = await filled('unsure');
      await swift.faults(
        { method: 'HEAD', path: `${id}/begun`, status: 404, times: 1 },
        { method: 'GET', path: `${id}/committed-sha256`, status: 404, times: 1 },
        { method: 'GET', path: `${id}/committed-sha512`, status: 404, times: 1 },
        { method: 'DELETE', path: `${id}/begun`, status: 404, times: 1 },
      );
      expect(await late.uploadSize(id, signal)).toBe(content.length);
      await late.commitUpload(id, content.length, 'blob/data', signal);
      expect((await one.get('blob/data', signal)).equals(content)).toBe(true);
      await expect(one.uploadSize(id, signal)).rejects.toThrow(PathNotFound);
    });

    it("purges the others when it cannot purge one, and nothing of somebody else's", async () => {
      const driver = await open({ WHARFIE_STORAGE_PREFIX: 'stuck' });
      // Objects of somebody else's are none of its business.
      const odd = ['', '..', 'a\\b', 'x'.repeat(300)].map((name) => `stuck/files/wharfie/uploads/${name}/begun`);
      for (const name of odd) await swift.fetch(`${inUrl}/${encodeURIComponent(name)}`, { method: 'PUT', body: 'odd' });
      const uploads = [randomUUID(), randomUUID(), randomUUID()].sort();
      for (const id of uploads) {
        await driver.beginUpload(id, signal);
        await driver.appendUpload(id, 0, pieces(content), signal);
      }
      await swift.faults({ method: 'DELETE', path: `segments/wharfie/${uploads[0] ?? ''}/`, status: 403 });
      const purging = driver.purge(new Date(Date.now() + 60_000), signal);
      await expect(purging).rejects.toThrow('2 were removed, at 1 it failed');
      const left = await swift.names(inUrl, 'stuck/');
      expect(left.filter((name) => !name.includes(uploads[0] ?? ''))).toEqual(odd.sort());
      expect(left.length).toBeGreaterThan(odd.length);
      await swift.faults();
      expect(await driver.purge(new Date(Date.now() + 60_000), signal)).toBe(1);
      expect(await swift.names(inUrl, 'stuck/')).toEqual(odd);
    });

    it('removes segments of what was cancelled, and of what was given up', async () => {
      const driver = await open({ WHARFIE_STORAGE_PREFIX: 'ended' });
      for (const end of ['cancel', 'purge'] as const) {
        const id = randomUUID();
        await driver.beginUpload(id, signal);
        await driver.appendUpload(id, 0, pieces(content), signal);
        expect(await swift.names(inUrl, 'ended/segments/')).toHaveLength(3);
        if (end === 'cancel') await driver.cancelUpload(id, signal);
        else await driver.purge(new Date(Date.now() + 60_000), signal);
        expect(await swift.names(inUrl, 'ended/')).toEqual([]);
      }
    });
  });

  describe('on an upload that ends while more of it is on its way', () => {
    const prefix = 'meanwhile';
    /** Appends what ends when another process has ended the upload. */
    const appendTo = async (driver: SwiftDriver, id: string, failing = false): Promise<unknown> => {
      const other = await open({ WHARFIE_STORAGE_PREFIX: prefix });
      const source = pieces(
        randomBytes(2_000_000),
        () => other.purge(new Date(Date.now() + 60_000), signal),
        randomBytes(100_000),
        () => {
          if (failing) throw new Error('left');
        },
      );
      return driver.appendUpload(id, 0, source, signal);
    };
    const begun = async (): Promise<[SwiftDriver, SwiftDriver, string]> => {
      const [one, other] = [
        await open({ WHARFIE_STORAGE_PREFIX: prefix }),
        await open({ WHARFIE_STORAGE_PREFIX: prefix }),
      ];
      const id = randomUUID();
      await one.beginUpload(id, signal);
      return [one, other, id];
    };
    const nothing = async (): Promise<void> => {
      expect(await swift.names(inUrl, `${prefix}/`)).toEqual([]);
    };

    it('says so to who did not begin it, and leaves nothing', async () => {
      const [, other, id] = await begun();
      await expect(appendTo(other, id)).rejects.toThrow(PathNotFound);
      await nothing();
    });

    it('leaves nothing of what broke off', async () => {
      const [one, , id] = await begun();
      await expect(appendTo(one, id, true)).rejects.toThrow(PathNotFound);
      await nothing();
    });

    it('says so to who began it, and leaves nothing', async () => {
      const [one, , id] = await begun();
      await expect(appendTo(one, id)).rejects.toThrow(PathNotFound);
      await nothing();
    });
  });

  describe('on a short upload that ends in the moment in which another process commits it', () => {
    const commitLate = async (path: string, end: (other: SwiftDriver, id: string) => Promise<void>): Promise<void> => {
      const [one, late] = [await open(), await open()];
      const id = randomUUID();
      await one.beginUpload(id, signal);
      await one.appendUpload(id, 0, pieces('short'), signal);
      await swift.faults({ method: 'PUT', path: `/${path}`, delay: 4, times: 1 });
      const committed = late.commitUpload(id, 5, path, signal);
      committed.catch(() => undefined);
      await swift.faulted();
      await end(one, id);
      await committed;
    };

    it('agrees with one that commits it too', async () => {
      await commitLate('twice/data', (one, id) => one.commitUpload(id, 5, 'twice/data', signal));
      expect((await (await open()).get('twice/data', signal)).toString()).toBe('short');
    });

    it('says that it is gone when it was cancelled', async () => {
      const committed = commitLate('cancelled/data', (one, id) => one.cancelUpload(id, signal));
      await expect(committed).rejects.toThrow(PathNotFound);
    });
  });

  describe('on dynamic large objects, which distribution leaves', () => {
    const segments = Array.from({ length: 14 }, () => randomBytes(100_000));
    const content = Buffer.concat(segments);
    const prefix = 'segments/2f6/dynamic/';
    const segmentName = (index: number): string => `${inUrl}/${prefix}${String(index + 1).padStart(16, '0')}`;
    beforeAll(async () => {
      await open();
      for (const [index, body] of segments.entries()) await swift.fetch(segmentName(index), { method: 'PUT', body });
      await swift.fetch(`${inUrl}/files/dynamic/data`, {
        method: 'PUT',
        headers: { 'x-object-manifest': `${inUrl}/${prefix}` },
      });
    });

    it('reads them whole and over the borders of segments', async () => {
      const driver = await open();
      expect(await driver.stat('dynamic/data', signal)).toEqual({ size: content.length });
      expect((await driver.get('dynamic/data', signal)).equals(content)).toBe(true);
      for (const [start, length] of [
        [99_999, 2],
        [150_000, 300_000],
        [1_399_999, 1],
      ] as const) {
        const part = await buffer(await driver.read('dynamic/data', { start, length }, signal));
        expect(part.equals(content.subarray(start, start + length))).toBe(true);
      }
    });

    it('fails loudly when a segment is missing, and removes the rest with the object', async () => {
      const driver = await open();
      await swift.fetch(segmentName(5), { method: 'DELETE' });
      await expect(driver.read('dynamic/data', undefined, signal)).rejects.toThrow(StorageUnavailable);
      await swift.fetch(segmentName(5), { method: 'PUT', body: segments[5] ?? '' });
      await driver.delete('dynamic/data', signal);
      await expect(driver.stat('dynamic/data', signal)).rejects.toThrow(PathNotFound);
      expect(await swift.names(inUrl, prefix)).toEqual([]);
    });
  });

  it('keeps a streamed object as a plain one, with the etag of its bytes', async () => {
    const driver = await open();
    const content = randomBytes(3_000_000);
    await driver.write(
      'plain/data',
      pieces(content.subarray(0, 1_500_000), content.subarray(1_500_000)),
      () => undefined,
      signal,
    );
    const head = await swift.fetch(`${inUrl}/files/plain/data`, { method: 'HEAD' });
    expect(head.headers.get('etag')).toBe(createHash('md5').update(content).digest('hex'));
    expect(head.headers.get('x-static-large-object')).toBeNull();
  });
});
