import { randomBytes, randomUUID } from 'node:crypto';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { PathNotFound, StorageUnavailable } from '../../registry/src/storage/storage-driver.js';
import { loginV1 } from '../../registry/src/storage/swift/auth-v1.js';
import { SwiftClient } from '../../registry/src/storage/swift/client.js';
import { SwiftDriver } from '../../registry/src/storage/swift/driver.js';
import { pieces } from '../../registry/src/storage/testing/driver-contract.js';
import { describeWith } from '../harness/requirements.js';
import { Swift } from './swift.js';

const signal = new AbortController().signal;
const drivers: SwiftDriver[] = [];

/** A driver that gives up sooner than one at work. */
function impatient(swift: Swift, timeout = 20_000): SwiftDriver {
  const login = loginV1(swift.authUrl, 'test:tester', 'testing');
  const client = new SwiftClient({ login, container: 'faults', pause: 10, timeout });
  const driver = new SwiftDriver(client, '', { maxFileSize: 5 * 1024 ** 3, manifestEntries: 1000 });
  drivers.push(driver);
  return driver;
}

describeWith(['swift'], 'when Swift goes wrong', () => {
  let swift: Swift;
  let driver: SwiftDriver;
  let path: string;
  const content = randomBytes(4_000_000);
  beforeAll(async () => {
    swift = await Swift.start();
    await swift.fetch('faults', { method: 'PUT' });
    driver = impatient(swift);
  });
  afterEach(() => swift.faults());
  afterAll(async () => {
    await Promise.all(drivers.map((one) => one.close()));
    await swift.dispose();
  });
  const fresh = async (bytes: Uint8Array = content): Promise<string> => {
    path = `t/${randomUUID()}`;
    await driver.put(path, bytes, signal);
    return path;
  };

  it.each([503, 498, 429, 500])('outlives a burst of %d', async (status) => {
    await swift.faults({ path: '/files/t/', status, times: 3 });
    await fresh(Buffer.from('kept'));
    await swift.faults({ path: '/files/t/', status, times: 3 });
    expect((await driver.get(path, signal)).toString()).toBe('kept');
  });

  it('says so when it does not pass, and works when it has passed', async () => {
    await fresh();
    await swift.faults({ path: '/files/t/', status: 503 });
    await expect(driver.get(path, signal)).rejects.toThrow(StorageUnavailable);
    await expect(driver.put(path, content, signal)).rejects.toThrow(StorageUnavailable);
    await swift.faults();
    expect((await driver.get(path, signal)).equals(content)).toBe(true);
  });

  it('loses nothing when an answer is lost after the work was done', async () => {
    const cases = [
      ['begun', driver],
      ['/at/0', driver],
      ...['/0/conflict', '/1/x', '/1/y', '/1/proposal', '/decision', '/segments/'].map(
        // Who did not begin an upload has to ask more.
        (name) => [name, impatient(swift)] as const,
      ),
    ] as const;
    for (const [name, appending] of cases) {
      const upload = randomUUID();
      await swift.faults({ method: 'PUT', path: name, status: 503, after: true, times: 1 });
      await driver.beginUpload(upload, signal);
      expect(await appending.appendUpload(upload, 0, pieces('abc'), signal)).toBe(3);
      await swift.faults();
      expect(await impatient(swift).uploadSize(upload, signal)).toBe(3);
      await driver.commitUpload(upload, 3, `t/${upload}`, signal);
      expect((await driver.get(`t/${upload}`, signal)).toString()).toBe('abc');
    }
  });

  it('goes on where a body was cut short', async () => {
    await fresh();
    await swift.faults({ method: 'GET', path: '/files/t/', truncate: 1_500_000, times: 2 });
    expect((await driver.get(path, signal)).equals(content)).toBe(true);
    await swift.faults({ method: 'GET', path: '/files/t/', truncate: 1_000_000, times: 2 });
    const part = { start: 1000, length: 3_500_000 };
    const read = await buffer(await driver.read(path, part, signal));
    expect(read.equals(content.subarray(1000, 3_501_000))).toBe(true);
  });

  it('fails a reading whose bytes do not come, and never ends it short', async () => {
    await fresh();
    await swift.faults({ method: 'GET', path: '/files/t/', truncate: 0 });
    await expect(driver.read(path, undefined, signal).then(buffer)).rejects.toThrow(StorageUnavailable);
  });

  it('deletes what no listing shows yet', async () => {
    const [link, other] = ['t/lag/tag/current/link', 't/lag/tag/index/link'];
    await driver.put(other, Buffer.from('listed'), signal);
    await swift.down('container-1');
    await driver.put(link, Buffer.from('new'), signal);
    await swift.up('container-1');
    expect(await driver.list('t/lag/tag', '', 10, signal)).toEqual(['index']);
    await driver.delete('t/lag/tag', signal, [link]);
    await expect(driver.get(link, signal)).rejects.toThrow(PathNotFound);
    await expect(driver.get(other, signal)).rejects.toThrow(PathNotFound);
    await expect(driver.delete('t/lag/tag', signal, [link])).rejects.toThrow(PathNotFound);
  });

  it('gives up a request that is not answered in time', async () => {
    await fresh();
    await swift.faults({ method: 'GET', path: '/files/t/', delay: 10, times: 1 });
    await swift.requests();
    expect((await impatient(swift, 1000).get(path, signal)).equals(content)).toBe(true);
    expect((await swift.requests()).filter((asked) => asked.includes(path))).toHaveLength(2);
  });

  it('logs in again when every token was revoked, also in the middle of an upload', async () => {
    const upload = randomUUID();
    await driver.beginUpload(upload, signal);
    const half = content.subarray(0, 2_000_000);
    const source = pieces(half, () => swift.forgetTokens(), content.subarray(2_000_000));
    expect(await driver.appendUpload(upload, 0, source, signal)).toBe(content.length);
    await swift.forgetTokens();
    await driver.commitUpload(upload, content.length, `t/${upload}`, signal);
    await swift.forgetTokens();
    expect((await driver.get(`t/${upload}`, signal)).equals(content)).toBe(true);
  });

  it('works again after memcached was down', async () => {
    await fresh();
    await swift.down('memcached');
    await expect(driver.get(path, signal)).rejects.toThrow();
    await swift.up('memcached');
    expect((await driver.get(path, signal)).equals(content)).toBe(true);
  });
});

describeWith(['swift'], 'on three nodes', () => {
  let swift: Swift;
  let driver: SwiftDriver;
  beforeAll(async () => {
    swift = await Swift.start({ SWIFT_NODES: '3' });
    await swift.fetch('faults', { method: 'PUT' });
    driver = impatient(swift);
  });
  afterAll(async () => {
    await driver.close();
    await swift.dispose();
  });

  describe('with one of them away', () => {
    it('reads the newest tag, also after that node came back with an old one', async () => {
      await driver.put('tag/current/link', Buffer.from('old'), signal);
      await swift.down('object-2');
      await driver.put('tag/current/link', Buffer.from('new'), signal);
      await swift.up('object-2');
      for (let round = 0; round < 12; round += 1)
        expect((await driver.get('tag/current/link', signal)).toString()).toBe('new');
    });

    it('takes an upload to its end, whose old state on that node misleads nobody', async () => {
      const upload = randomUUID();
      await driver.beginUpload(upload, signal);
      await driver.appendUpload(upload, 0, pieces('abc'), signal);
      await swift.down('object-1');
      await driver.appendUpload(upload, 3, pieces('def'), signal);
      await swift.up('object-1');
      const other = impatient(swift);
      expect(await other.uploadSize(upload, signal)).toBe(6);
      await other.commitUpload(upload, 6, 'three/data', signal);
      expect((await driver.get('three/data', signal)).toString()).toBe('abcdef');
    });
  });

  it('reads what is right when one of three copies is not', async () => {
    const content = Buffer.from(randomUUID());
    await driver.put('rotten/link', content, signal);
    const folder = join(swift.folder, 'data');
    const files = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('.data'));
    const contents = await Promise.all(files.map((name) => readFile(join(folder, name))));
    const copies = files.filter((_, index) => contents[index]?.equals(content));
    expect(copies).toHaveLength(3);
    await writeFile(join(folder, copies[0] ?? ''), randomUUID());
    for (let round = 0; round < 12; round += 1)
      expect((await driver.get('rotten/link', signal)).equals(content)).toBe(true);
  });

  it('says that it is unavailable with two of them away, and is well afterwards', async () => {
    await driver.put('two/a', Buffer.from('a'), signal);
    await swift.down('object-2');
    await swift.down('object-3');
    await expect(driver.put('two/b', Buffer.from('b'), signal)).rejects.toThrow(StorageUnavailable);
    expect((await driver.get('two/a', signal)).toString()).toBe('a');
    await swift.up('object-2');
    await swift.up('object-3');
    await driver.put('two/b', Buffer.from('b'), signal);
    expect((await driver.get('two/b', signal)).toString()).toBe('b');
  });
});
