import { randomBytes, randomUUID } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { setImmediate } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import type { ByteSource, SmallObject, StorageDriver } from '../storage-driver.js';
import { InvalidOffset, InvalidPath, PathNotFound } from '../storage-driver.js';

const signal = new AbortController().signal;

/**
 * A source of copies of the given pieces, as whoever takes one may free it; a function among them is called when it is
 * reached, and may throw or wait.
 */
export async function* pieces(
  ...parts: (string | Uint8Array | (() => unknown))[]
): ByteSource & AsyncGenerator<Uint8Array> {
  for (const part of parts) {
    if (typeof part === 'function') await part();
    else yield Buffer.from(part as Uint8Array);
  }
}

function event(): { happen: () => void; happened: Promise<void> } {
  let happen: () => void = () => undefined;
  const happened = new Promise<void>((resolve) => {
    happen = resolve;
  });
  return { happen, happened };
}

/** Small objects, each with its own path as its content. */
export function holdingTheirPaths(paths: readonly string[]): SmallObject[] {
  return paths.map((path) => ({ path, content: Buffer.from(path) }));
}

/** What every driver keeps: run on each of them. `open` gives another driver on the same storage, as another process has. */
export function describeDriver(name: string, open: () => Promise<StorageDriver>): void {
  describe(`${name} keeps the contract of a storage driver`, () => {
    let driver: StorageDriver;
    let base: string;
    beforeEach(async () => {
      driver = await open();
      base = `t/${randomUUID()}`;
    });
    const text = async (path: string) => (await driver.get(path, signal)).toString();

    it('gives back what was put, and the newest after a second put', async () => {
      await driver.put(`${base}/a/b`, Buffer.from('one'), signal);
      expect(await text(`${base}/a/b`)).toBe('one');
      await driver.put(`${base}/a/b`, Buffer.from('second'), signal);
      expect(await text(`${base}/a/b`)).toBe('second');
      expect(await driver.stat(`${base}/a/b`, signal)).toEqual({ size: 6 });
    });

    it('puts several, beside each other and over what is there', async () => {
      await driver.put(`${base}/there/link`, Buffer.from('old'), signal);
      const paths = ['first/data', 'there/link', 'new/one/link', 'new/two/three/link'].map((path) => `${base}/${path}`);
      await driver.putAll(holdingTheirPaths(paths), signal);
      for (const path of paths) expect(await text(path)).toBe(path);
      await driver.putAll([], signal);
    });

    it('lets many put the same at once', async () => {
      const paths = ['blob/data', 'links/one/link'].map((path) => `${base}/${path}`);
      await Promise.all(Array.from({ length: 8 }, async () => (await open()).putAll(holdingTheirPaths(paths), signal)));
      for (const path of paths) expect(await text(path)).toBe(path);
    });

    it('keeps an empty object', async () => {
      await driver.put(`${base}/empty`, Buffer.alloc(0), signal);
      expect(await driver.stat(`${base}/empty`, signal)).toEqual({ size: 0 });
      expect(await buffer(await driver.read(`${base}/empty`, undefined, signal))).toHaveLength(0);
    });

    it('says PathNotFound of what is not there, and of a folder', async () => {
      await driver.put(`${base}/a/b`, Buffer.from('x'), signal);
      for (const path of [`${base}/none`, `${base}/a`, `${base}/a/b/c`]) {
        await expect(driver.stat(path, signal)).rejects.toThrow(PathNotFound);
        await expect(driver.get(path, signal)).rejects.toThrow(PathNotFound);
        await expect(driver.read(path, undefined, signal)).rejects.toThrow(PathNotFound);
      }
      await expect(driver.delete(`${base}/none`, signal)).rejects.toThrow(PathNotFound);
    });

    it('refuses paths that could leave the storage', async () => {
      for (const path of [
        '../x',
        'a/../../x',
        'a//b',
        '/a',
        'a/',
        '',
        '.',
        'a/./b',
        'a\0b',
        'a\\b',
        `a/${'x'.repeat(256)}`,
      ]) {
        await expect(driver.put(path, Buffer.from('x'), signal), path).rejects.toThrow(InvalidPath);
        await expect(driver.get(path, signal), path).rejects.toThrow(InvalidPath);
      }
    });

    it('reads parts', async () => {
      const content = randomBytes(300_000);
      await driver.put(`${base}/blob`, content, signal);
      for (const [start, length] of [
        [0, 300_000],
        [0, 1],
        [299_999, 1],
        [65_535, 65_538],
        [7, 0],
      ] as const) {
        const part = await buffer(await driver.read(`${base}/blob`, { start, length }, signal));
        expect(part.equals(content.subarray(start, start + length))).toBe(true);
      }
    });

    it('shows a streamed object only when it was approved', async () => {
      const path = `${base}/streamed`;
      const content = randomBytes(3_000_000);
      let approved = 0;
      const source = pieces(content.subarray(0, 1), content.subarray(1, 2_500_000), content.subarray(2_500_000));
      await driver.write(
        path,
        source,
        () => {
          approved += 1;
        },
        signal,
      );
      expect(approved).toBe(1);
      expect((await driver.get(path, signal)).equals(content)).toBe(true);
    });

    it('leaves nothing of a stream that was not approved or that broke off', async () => {
      await driver.put(`${base}/old`, Buffer.from('old'), signal);
      for (const path of [`${base}/new`, `${base}/old`]) {
        await expect(
          driver.write(
            path,
            pieces('abc'),
            () => {
              throw new Error('no');
            },
            signal,
          ),
        ).rejects.toThrow('no');
        await expect(
          driver.write(
            path,
            pieces('abc', () => {
              throw new Error('broke');
            }),
            () => undefined,
            signal,
          ),
        ).rejects.toThrow('broke');
      }
      await expect(driver.stat(`${base}/new`, signal)).rejects.toThrow(PathNotFound);
      expect(await text(`${base}/old`)).toBe('old');
    });

    it('lists children in byte order, in pages', async () => {
      const names = ['1', '1-0', '1.0', '1.0.0', '10', 'A', 'Z', '_x', 'a', 'a-b', 'a.b', 'a0', 'ab', 'b'];
      for (const name of names.toReversed()) await driver.put(`${base}/list/${name}/link`, Buffer.from('x'), signal);
      const sorted = names.toSorted();
      for (const limit of [1000, Infinity])
        expect(await driver.list(`${base}/list`, '', limit, signal)).toEqual(sorted);
      for (const size of [1, 2, 3, names.length - 1, names.length]) {
        const seen: string[] = [];
        for (;;) {
          const page = await driver.list(`${base}/list`, seen.at(-1) ?? '', size, signal);
          seen.push(...page);
          if (page.length < size) break;
        }
        expect(seen).toEqual(sorted);
      }
      expect(await driver.list(`${base}/list`, '1-', 2, signal)).toEqual(['1-0', '1.0']);
      expect(await driver.list(`${base}/list`, 'c', 2, signal)).toEqual([]);
      expect(await driver.list(`${base}/nowhere`, '', 10, signal)).toEqual([]);
    });

    it('lists what changed a moment ago', async () => {
      for (let index = 0; index < 20; index += 1) {
        await driver.put(`${base}/quick/${index}/link`, Buffer.from('x'), signal);
        expect(await driver.list(`${base}/quick`, '', 100, signal)).toHaveLength(index + 1);
      }
      await driver.delete(`${base}/quick/7`, signal);
      expect(await driver.list(`${base}/quick`, '', 100, signal)).not.toContain('7');
    });

    it('deletes an object, and a tree without its neighbours', async () => {
      for (const path of ['tree/a', 'tree/b/c', 'tree-2/a', 'treex'])
        await driver.put(`${base}/${path}`, Buffer.from('x'), signal);
      await driver.delete(`${base}/tree`, signal);
      for (const path of ['tree/a', 'tree/b/c'])
        await expect(driver.stat(`${base}/${path}`, signal)).rejects.toThrow(PathNotFound);
      for (const path of ['tree-2/a', 'treex']) await driver.stat(`${base}/${path}`, signal);
      await driver.delete(`${base}/treex`, signal);
      await expect(driver.delete(`${base}/treex`, signal)).rejects.toThrow(PathNotFound);
    });

    it('deletes a tree only while an object in it is what it was', async () => {
      const [path, inside] = [`${base}/held`, `${base}/held/current/link`];
      await driver.put(inside, Buffer.from('new'), signal);
      const only = (content: string) => ({ path: inside, content: Buffer.from(content) });
      await expect(driver.delete(path, signal, [inside], only('old'))).rejects.toThrow(PathNotFound);
      expect(String(await driver.get(inside, signal))).toBe('new');
      await driver.delete(path, signal, [inside], only('new'));
      await expect(driver.get(inside, signal)).rejects.toThrow(PathNotFound);
      await expect(driver.delete(path, signal, [inside], only('new'))).rejects.toThrow(PathNotFound);
    });

    it('lets many write one object at once: all agree on one of them afterwards', async () => {
      const path = `${base}/contended/current/link`;
      await Promise.all(
        Array.from({ length: 24 }, (_, index) => driver.put(path, Buffer.from(`writer ${index}`), signal)),
      );
      expect(await text(path)).toMatch(/^writer \d+$/);
    });

    it('stops when it is told to', async () => {
      const gone = AbortSignal.abort(new Error('gone'));
      await expect(driver.stat(`${base}/x`, gone)).rejects.toThrow('gone');
      await expect(driver.put(`${base}/x`, Buffer.from('x'), gone)).rejects.toThrow();
      await expect(driver.stat(`${base}/x`, signal)).rejects.toThrow(PathNotFound);
    });

    describe('uploads', () => {
      let upload: string;
      beforeEach(async () => {
        upload = randomUUID();
        await driver.beginUpload(upload, signal);
      });
      const kept = async (length: number, start = 0) =>
        (await buffer(await driver.readUpload(upload, { start, length }, signal))).toString();

      it('grow by appending, from any process, and become an object', async () => {
        expect(await driver.uploadSize(upload, signal)).toBe(0);
        expect(await driver.appendUpload(upload, 0, pieces('ab', 'c'), signal)).toBe(3);
        const other = await open();
        expect(await other.uploadSize(upload, signal)).toBe(3);
        expect(await other.appendUpload(upload, 3, pieces('def'), signal)).toBe(6);
        expect(await kept(6)).toBe('abcdef');
        expect(await kept(3, 2)).toBe('cde');
        expect(await kept(2, 4)).toBe('ef');
        await driver.commitUpload(upload, 6, `${base}/blob/data`, signal);
        expect(await text(`${base}/blob/data`)).toBe('abcdef');
        await expect(driver.uploadSize(upload, signal)).rejects.toThrow(PathNotFound);
      });

      it('take more than one buffer', async () => {
        const content = randomBytes(5_000_000);
        await driver.appendUpload(upload, 0, pieces(content.subarray(0, 4_000_001)), signal);
        await driver.appendUpload(upload, 4_000_001, pieces(content.subarray(4_000_001)), signal);
        await driver.commitUpload(upload, content.length, `${base}/big`, signal);
        expect((await driver.get(`${base}/big`, signal)).equals(content)).toBe(true);
      });

      it('refuse another offset and stay as they are', async () => {
        await driver.appendUpload(upload, 0, pieces('abc'), signal);
        for (const offset of [0, 2, 4]) {
          await expect(driver.appendUpload(upload, offset, pieces('xyz'), signal)).rejects.toThrow(InvalidOffset);
          await expect(driver.commitUpload(upload, offset, `${base}/x`, signal)).rejects.toThrow(InvalidOffset);
        }
        expect(await kept(3)).toBe('abc');
      });

      it('keep what came before their source failed', async () => {
        const broken = pieces('abc', () => {
          throw new Error('connection lost');
        });
        await expect(driver.appendUpload(upload, 0, broken, signal)).rejects.toThrow('connection lost');
        expect(await driver.uploadSize(upload, signal)).toBe(3);
        expect(await driver.appendUpload(upload, 3, pieces('def'), signal)).toBe(6);
        expect(await kept(6)).toBe('abcdef');
      });

      it('never mix two writers at one offset: one succeeds, whichever ends first', async () => {
        await driver.appendUpload(upload, 0, pieces('start-'), signal);
        const other = await open();
        const [begun, go] = [event(), event()];
        const source = pieces('aaaa', begun.happen, () => go.happened, 'aaaa');
        const first = driver.appendUpload(upload, 6, source, signal);
        await begun.happened;
        const second = await other.appendUpload(upload, 6, pieces('bbb'), signal).catch((error: unknown) => error);
        go.happen();
        const results = [await first.catch((error: unknown) => error), second];
        expect(results.filter((result) => result instanceof InvalidOffset)).toHaveLength(1);
        const size = await driver.uploadSize(upload, signal);
        expect(results).toContain(size);
        expect(['start-aaaaaaaa', 'start-bbb']).toContain(await kept(size));
      });

      it('stay with their writer when another fails before its first byte', async () => {
        const other = await open();
        const [begun, go] = [event(), event()];
        const source = pieces('a'.repeat(100_000), begun.happen, () => go.happened, 'a');
        const first = driver.appendUpload(upload, 0, source, signal);
        await begun.happened;
        const broken = pieces(() => {
          throw new Error('connection lost');
        });
        await expect(other.appendUpload(upload, 0, broken, signal)).rejects.toThrow('connection lost');
        go.happen();
        expect(await first).toBe(100_001);
      });

      it('end for 8 writers at one offset with the bytes of exactly one', async () => {
        const writers = Array.from({ length: 8 }, (_, index) => String(index).repeat(100_000 + index));
        const results = await Promise.allSettled(
          writers.map(async (content) =>
            (await open()).appendUpload(upload, 0, pieces(content.slice(0, 10), content.slice(10)), signal),
          ),
        );
        for (const result of results)
          if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(InvalidOffset);
        const won = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
        expect(won).toHaveLength(1);
        expect(writers).toContain(await kept(await driver.uploadSize(upload, signal)));
      });

      it('can be read while another writer takes them', async () => {
        await driver.appendUpload(upload, 0, pieces('start-'), signal);
        const read = async () => {
          for (let round = 0; round < 100; round += 1) expect(await kept(6)).toBe('start-');
        };
        const write = async () => {
          for (let size = 6; size < 106; size += 1) await driver.appendUpload(upload, size, pieces('x'), signal);
        };
        await Promise.all([read(), write()]);
      });

      it('are gone when cancelled, and cannot be ended twice', async () => {
        await driver.appendUpload(upload, 0, pieces('abc'), signal);
        await driver.cancelUpload(upload, signal);
        await expect(driver.uploadSize(upload, signal)).rejects.toThrow(PathNotFound);
        await expect(driver.cancelUpload(upload, signal)).rejects.toThrow(PathNotFound);
        await expect(driver.appendUpload(upload, 3, pieces('d'), signal)).rejects.toThrow(PathNotFound);
        await expect(driver.commitUpload(upload, 3, `${base}/x`, signal)).rejects.toThrow(PathNotFound);
      });

      it('are committed with what is put after them', async () => {
        await driver.appendUpload(upload, 0, pieces('abc'), signal);
        const links = ['one', 'two'].map((name) => ({ path: `${base}/links/${name}`, content: Buffer.from(name) }));
        await driver.commitUpload(upload, 3, `${base}/blob/data`, signal, links);
        expect(await text(`${base}/blob/data`)).toBe('abc');
        expect(await text(`${base}/links/one`)).toBe('one');
        expect(await text(`${base}/links/two`)).toBe('two');
      });

      it('may become one object, many at once', async () => {
        const link = { path: `${base}/links/one`, content: Buffer.from('one') };
        await Promise.all(
          Array.from({ length: 8 }, async () => {
            const [mine, another] = [randomUUID(), await open()];
            await another.beginUpload(mine, signal);
            await another.appendUpload(mine, 0, pieces('abc'), signal);
            await another.commitUpload(mine, 3, `${base}/blob/data`, signal, [link]);
            await expect(another.uploadSize(mine, signal)).rejects.toThrow(PathNotFound);
          }),
        );
        expect(await text(`${base}/blob/data`)).toBe('abc');
        expect(await text(link.path)).toBe('one');
      });

      it('may be committed over an object that is there already', async () => {
        await driver.put(`${base}/there/data`, Buffer.from('abc'), signal);
        await driver.appendUpload(upload, 0, pieces('abc'), signal);
        await driver.commitUpload(upload, 3, `${base}/there/data`, signal);
        expect(await text(`${base}/there/data`)).toBe('abc');
      });

      it('are purged when nobody touched them, and only then', async () => {
        await driver.appendUpload(upload, 0, pieces('abc'), signal);
        await driver.purge(new Date(Date.now() - 60_000), signal);
        expect(await driver.uploadSize(upload, signal)).toBe(3);
        expect(await driver.purge(new Date(Date.now() + 60_000), signal)).toBeGreaterThanOrEqual(1);
        await expect(driver.uploadSize(upload, signal)).rejects.toThrow(PathNotFound);
      });

      it('are not purged when they were begun long ago but have grown since', async () => {
        const between = Date.now() + 20;
        // The clock of a file system's time stamps is behind by up to a tick of the kernel.
        while (Date.now() <= between + 20) await setImmediate();
        await driver.appendUpload(upload, 0, pieces('abc'), signal);
        await driver.purge(new Date(between), signal);
        expect(await driver.uploadSize(upload, signal)).toBe(3);
      });
    });
  });
}
