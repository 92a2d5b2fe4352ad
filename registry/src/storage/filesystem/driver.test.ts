import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay, setImmediate as immediate } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { FilesystemDriver } from './driver.js';
import { InvalidOffset, PathNotFound, StorageUnavailable } from '../storage-driver.js';
import { describeDriver, holdingTheirPaths, pieces } from '../testing/driver-contract.js';

const signal = new AbortController().signal;
const unending = () => pieces('x'.repeat(100_000), () => new Promise(() => undefined));
let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'wharfie-fs-'));
});
afterAll(() => rm(root, { recursive: true }));

describeDriver('filesystem', () => FilesystemDriver.open(root));
describeDriver('filesystem on a server', () => FilesystemDriver.open(root, false));

describe('filesystem', () => {
  it('leaves no temporary file behind, also after failures', async () => {
    const driver = await FilesystemDriver.open(root);
    await driver.put('left/over', Buffer.from('x'), signal);
    await driver
      .write(
        'left/failed',
        pieces('x', () => Promise.reject(new Error('no'))),
        () => undefined,
        signal,
      )
      .catch(() => undefined);
    await driver.delete('left', signal);
    expect(await readdir(join(root, 'wharfie', 'tmp'))).toEqual([]);
  });

  it('has failed, and not found nothing, when its root is gone', async () => {
    const driver = await FilesystemDriver.open(join(root, 'unmounted'));
    await rm(join(root, 'unmounted'), { recursive: true });
    const content = pieces('x'.repeat(100_000));
    for (const call of [
      () => driver.beginUpload('any', signal),
      () => driver.put('any/link', Buffer.from('x'), signal),
      () => driver.write('any/data', content, () => undefined, signal),
    ])
      await expect(call()).rejects.toThrow(StorageUnavailable);
  });

  it('shows nothing after what it cannot show, and leaves nothing else behind', async () => {
    const driver = await FilesystemDriver.open(root);
    await driver.put('order/folder/x', Buffer.from('x'), signal);
    const objects = holdingTheirPaths(['order/before/link', 'order/folder', 'order/after/link']);
    await expect(driver.putAll(objects, signal)).rejects.toThrow(StorageUnavailable);
    expect((await readdir(join(root, 'order'))).sort()).toEqual(['before', 'folder']);
    expect(await readdir(join(root, 'wharfie', 'tmp'))).toEqual([]);
  });

  it.each([
    ['the folder around it is missing', 'apart/data'],
    ['it is there already', 'given/back/data'],
    ['others are beside it', 'given/beside/data'],
  ])(
    'gives an upload back whose commit fails before its object appears, without a copy, when %s',
    async (_, before) => {
      const driver = await FilesystemDriver.open(root);
      await driver.put(before, Buffer.from('abc'), signal);
      await driver.beginUpload('given', signal);
      await driver.appendUpload('given', 0, pieces('abc'), signal);
      const { ino } = await stat(join(root, 'wharfie', 'uploads', 'given', '3.data', 'data'));
      // Two new files cannot have one name.
      const twice = holdingTheirPaths(['given/new/link', 'given/new/link']);
      await expect(driver.commitUpload('given', 3, 'given/back/data', signal, twice)).rejects.toThrow();
      expect(await readdir(join(root, 'wharfie', 'tmp'))).toEqual([]);
      await driver.commitUpload('given', 3, 'given/back/data', signal);
      expect((await driver.get('given/back/data', signal)).toString()).toBe('abc');
      expect((await stat(join(root, 'given', 'back', 'data'))).ino).toBe(ino);
      await driver.delete('given', signal);
    },
  );

  it.each(['3.data', '3.data.killed'])(
    'refuses to go on with a file that a power cut has left short (%s)',
    async (name) => {
      const driver = await FilesystemDriver.open(root);
      const folder = join(root, 'wharfie', 'uploads', `short-${name}`, name);
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, 'data'), 'a');
      for (const bytes of ['def', 'd'.repeat(100_000)]) {
        await expect(driver.appendUpload(`short-${name}`, 3, pieces(bytes), signal)).rejects.toThrow(InvalidOffset);
      }
      await expect(driver.commitUpload(`short-${name}`, 3, 'short/data', signal)).rejects.toThrow(InvalidOffset);
      await expect(driver.get('short/data', signal)).rejects.toThrow(PathNotFound);
    },
  );

  it('knows bytes from others of the same length, and leaves the upload to whoever knows them', async () => {
    const driver = await FilesystemDriver.open(root);
    const digests = (before: string | undefined, after: string) => ({ before, after: () => after });
    await driver.beginUpload('known', signal);
    expect(await driver.appendUpload('known', 0, pieces('abc'), signal, digests(undefined, 'x:abc'))).toBe(3);
    for (const bytes of ['def', 'd'.repeat(100_000)]) {
      const append = driver.appendUpload('known', 3, pieces(bytes), signal, digests('x:ABC', 'x:ABCdef'));
      await expect(append).rejects.toThrow(InvalidOffset);
    }
    expect(await driver.appendUpload('known', 3, pieces('def'), signal, digests('x:abc', 'x:abcdef'))).toBe(6);
    for (const digest of ['x:ABCDEF', 'x:abc']) {
      await expect(driver.commitUpload('known', 6, 'known/data', signal, [], digest)).rejects.toThrow(InvalidOffset);
    }
    const twice = holdingTheirPaths(['known/new/link', 'known/new/link']);
    const folder = join(root, 'wharfie', 'uploads', 'known', '6-abcdef.data');
    for (const found of [folder, `${folder}.killed`]) {
      if (found !== folder) await rename(folder, found);
      const failed = driver.commitUpload('known', 6, 'known/data', signal, twice);
      await expect(failed).rejects.toThrow(StorageUnavailable);
    }
    await driver.commitUpload('known', 6, 'known/data', signal, [], 'x:abcdef');
    expect((await driver.get('known/data', signal)).toString()).toBe('abcdef');
  });

  it('knows no digest that it was not told, as of bytes that nobody has hashed', async () => {
    const driver = await FilesystemDriver.open(root);
    await driver.beginUpload('untold', signal);
    const digests = { before: undefined, after: (size: number) => (size === 4 ? 'x:abcd' : undefined) };
    expect(await driver.appendUpload('untold', 0, pieces('abc'), signal, digests)).toBe(3);
    expect(await driver.hasUpload('untold', 3, 'x:abc', signal)).toBe(false);
    await expect(driver.commitUpload('untold', 3, 'untold/data', signal, [], 'x:abc')).rejects.toThrow(InvalidOffset);
    expect(await driver.appendUpload('untold', 3, pieces('d'), signal, digests)).toBe(4);
    expect(await driver.hasUpload('untold', 4, 'x:abcd', signal)).toBe(true);
    expect(await driver.hasUpload('untold', 3, 'x:abcd', signal)).toBe(false);
    await driver.commitUpload('untold', 4, 'untold/data', signal, [], 'x:abcd');
    await expect(driver.hasUpload('untold', 4, 'x:abcd', signal)).rejects.toThrow(PathNotFound);
  });

  it('refuses bytes that belong elsewhere at once, however many are yet to come', async () => {
    const driver = await FilesystemDriver.open(root);
    await driver.beginUpload('elsewhere', signal);
    await expect(driver.appendUpload('elsewhere', 3, unending(), signal)).rejects.toThrow(InvalidOffset);
    await expect(driver.appendUpload('nowhere', 0, unending(), signal)).rejects.toThrow(PathNotFound);
    expect(await driver.appendUpload('elsewhere', 0, pieces('ab'), signal)).toBe(2);
  });

  it('says at once that a file cannot be opened, however many bytes are yet to come', async () => {
    const driver = await FilesystemDriver.open(root);
    await driver.beginUpload('socket', signal);
    const file = join(root, 'wharfie', 'uploads', 'socket', '0.data', 'data');
    await rm(file);
    const socket = createServer().listen(file);
    await once(socket, 'listening');
    await expect(driver.appendUpload('socket', 0, unending(), signal)).rejects.toMatchObject({
      code: 'ENXIO',
    });
    expect(await driver.uploadSize('socket', signal)).toBe(0);
    socket.close();
  });

  it('gives an upload to one of many who take it over from each other at once', async () => {
    const drivers = await Promise.all(Array.from({ length: 6 }, () => FilesystemDriver.open(root)));
    for (let round = 0; round < 100; round += 1) {
      const upload = `taken-${round}`;
      await drivers[0]?.beginUpload(upload, signal);
      await drivers[0]?.appendUpload(upload, 0, pieces('abc'), signal);
      const answers = await Promise.allSettled(
        drivers.map((driver, index) => driver.appendUpload(upload, 3, pieces(`def${index}`), signal)),
      );
      const winners = answers.flatMap(({ status }, index) => (status === 'fulfilled' ? [index] : []));
      for (const answer of answers)
        if (answer.status === 'rejected') expect(answer.reason).toBeInstanceOf(InvalidOffset);
      expect(winners).toHaveLength(1);
      await drivers[0]?.commitUpload(upload, 7, 'taken/data', signal);
      expect((await drivers[0]?.get('taken/data', signal))?.toString()).toBe(`abcdef${winners[0]}`);
    }
    expect(await readdir(join(root, 'wharfie', 'tmp'))).toEqual([]);
    await Promise.all(drivers.map((driver) => driver.close()));
  });

  it.runIf(process.platform === 'linux')(
    'keeps its bytes when a slow rival’s call ends in the folder that it has taken',
    async () => {
      const driver = await FilesystemDriver.open(root);
      await driver.beginUpload('slow', signal);
      await driver.appendUpload('slow', 0, pieces('abc'), signal);
      const folder = join(root, 'wharfie', 'uploads', 'slow');
      // A rival that was killed, or has just looked the folder's path up, and is slower than what follows.
      await rename(join(folder, '3.data'), join(folder, '3.data.rival'));
      const lookedUp = await open(join(folder, '3.data.rival'));
      expect(await driver.appendUpload('slow', 3, pieces('def'), signal)).toBe(6);
      await writeFile(join(root, 'late'), 'abc');
      await rename(join(root, 'late'), `/proc/self/fd/${lookedUp.fd}/data`);
      await lookedUp.close();
      expect(await driver.appendUpload('slow', 6, pieces('ghi'), signal)).toBe(9);
      await driver.commitUpload('slow', 9, 'slow/data', signal);
      expect((await driver.get('slow/data', signal)).toString()).toBe('abcdefghi');
      expect(await readdir(join(root, 'slow'))).toEqual(['data']);
      await expect(readdir(folder)).rejects.toThrow('ENOENT');
    },
  );

  it.each(['cancelled', 'purged'])('has an upload either committed or %s, never both', async (how) => {
    const [driver, other] = await Promise.all([FilesystemDriver.open(root), FilesystemDriver.open(root)]);
    const outcomes = new Set<string>();
    for (let round = 0; round < 200; round += 1) {
      const upload = `ended-${round}`;
      const path = `ended/${how}/${round}/data`;
      await driver.beginUpload(upload, signal);
      await driver.appendUpload(upload, 0, pieces('abc'), signal);
      const end = (): Promise<unknown> =>
        how === 'cancelled' ? other.cancelUpload(upload, signal) : other.purge(new Date(Date.now() + 60_000), signal);
      const soon = () => delay(Math.random() * 3);
      const ended = soon().then(end);
      const commit = soon().then(() => driver.commitUpload(upload, 3, path, signal));
      const [committed] = await Promise.allSettled([commit, ended]);
      outcomes.add(committed.status);
      const there = await driver.get(path, signal).then(String, () => undefined);
      expect(there).toBe(committed.status === 'fulfilled' ? 'abc' : undefined);
      if (how === 'cancelled') expect((await Promise.allSettled([ended]))[0].status).not.toBe(committed.status);
      await expect(driver.uploadSize(upload, signal)).rejects.toThrow(PathNotFound);
    }
    expect([...outcomes].sort()).toEqual(['fulfilled', 'rejected']);
    expect(await readdir(join(root, 'wharfie', 'tmp'))).toEqual([]);
    await Promise.all([driver.close(), other.close()]);
  });

  it('has failed, and not found nothing, when the folder of temporary files is gone', async () => {
    const gone = join(root, 'swept');
    const driver = await FilesystemDriver.open(gone);
    await driver.put('tag/link', Buffer.from('x'), signal);
    await rm(join(gone, 'wharfie', 'tmp'), { recursive: true });
    await expect(driver.delete('tag', signal)).rejects.toThrow(StorageUnavailable);
    const write = driver.write('long/data', unending(), () => undefined, signal);
    await expect(write).rejects.toThrow(StorageUnavailable);
    expect((await driver.get('tag/link', signal)).toString()).toBe('x');
  });

  it('lets many put, replace and delete at once what lies in one folder', async () => {
    const drivers = await Promise.all(Array.from({ length: 6 }, () => FilesystemDriver.open(root)));
    for (let round = 0; round < 100; round += 1) {
      const answers = await Promise.allSettled(
        drivers.flatMap((driver, index) => [
          driver.put(`busy/tag/index/${index % 3}/link`, Buffer.from('x'), signal),
          driver.delete(index % 2 ? 'busy/tag' : 'busy/tag/index', signal),
        ]),
      );
      const puts = answers.filter((_, index) => index % 2 === 0);
      expect(puts.filter(({ status }) => status === 'rejected')).toEqual([]);
      for (const answer of answers)
        if (answer.status === 'rejected') expect(answer.reason).toBeInstanceOf(PathNotFound);
    }
    expect(await readdir(join(root, 'wharfie', 'tmp'))).toEqual([]);
    await Promise.all(drivers.map((driver) => driver.close()));
  });

  it('shows objects in their order, also where some share a folder that is missing', async () => {
    const driver = await FilesystemDriver.open(root);
    await driver.put('shown/folder/x', Buffer.from('x'), signal);
    // The second cannot be shown, so that the third must not be.
    const objects = holdingTheirPaths(['shown/one/first', 'shown/folder', 'shown/one/third']);
    await expect(driver.putAll(objects, signal)).rejects.toThrow(StorageUnavailable);
    expect(await readdir(join(root, 'shown', 'one'))).toEqual(['first']);
  });

  it('goes on after a writer that was killed', async () => {
    const driver = await FilesystemDriver.open(root);
    await driver.beginUpload('killed', signal);
    await driver.appendUpload('killed', 0, pieces('abc'), signal);
    // What a killed process leaves: a claim that nobody gives back, and bytes that were never acknowledged.
    const never = new Promise<void>(() => undefined);
    void driver.appendUpload(
      'killed',
      3,
      pieces('lost'.repeat(1_000_000), () => never),
      signal,
    );
    await expect.poll(() => readdir(join(root, 'wharfie', 'uploads', 'killed'))).not.toEqual(['3.data']);
    const other = await FilesystemDriver.open(root);
    expect(await other.uploadSize('killed', signal)).toBe(3);
    expect(await other.appendUpload('killed', 3, pieces('def'), signal)).toBe(6);
    await other.commitUpload('killed', 6, 'killed/data', signal);
    expect((await other.get('killed/data', signal)).toString()).toBe('abcdef');
  });

  it.runIf(process.platform === 'linux')('copies one upload at a time for those who go on with one', async () => {
    const driver = await FilesystemDriver.open(root);
    // A pipe ends neither its reader's open nor its copy until somebody writes; it can be written to once it is read.
    const pipes = ['first', 'second'].map((name) => join(root, 'wharfie', 'uploads', name, '0.data.killed', 'data'));
    for (const pipe of pipes) {
      await mkdir(dirname(pipe), { recursive: true });
      execFileSync('mkfifo', [pipe]);
    }
    const claim = async (upload: string) => (await readdir(join(root, 'wharfie', 'uploads', upload)))[0] ?? '';
    const letGo = async (upload: string) => {
      const path = join(root, 'wharfie', 'uploads', upload, await claim(upload), 'data');
      const pipe = await open(path, constants.O_WRONLY | constants.O_NONBLOCK);
      await pipe.close();
    };
    const appends = [];
    for (const upload of ['first', 'second']) {
      appends.push(driver.appendUpload(upload, 0, pieces('abc'), signal).catch(() => undefined));
      await expect.poll(() => claim(upload)).not.toBe('0.data.killed');
    }
    // The thread takes it up after those, and so does the pool.
    await driver.put('after/both', Buffer.from('x'), signal);
    await expect(letGo('second')).rejects.toMatchObject({ code: 'ENXIO' });
    await letGo('first');
    await vi.waitFor(() => letGo('second'));
    await Promise.all(appends);
    await driver.close();
  });

  it('says that an upload is gone whose file a killed process has moved to its place already', async () => {
    const driver = await FilesystemDriver.open(root);
    await driver.beginUpload('moved', signal);
    await driver.appendUpload('moved', 0, pieces('abc'), signal);
    await rename(join(root, 'wharfie', 'uploads', 'moved', '3.data', 'data'), join(root, 'elsewhere'));
    await expect(driver.readUpload('moved', { start: 0, length: 3 }, signal)).rejects.toThrow(PathNotFound);
    await expect(driver.appendUpload('moved', 3, pieces('def'), signal)).rejects.toThrow(PathNotFound);
    await expect(driver.commitUpload('moved', 3, 'moved/data', signal)).rejects.toThrow(PathNotFound);
  });

  it.each(['folders', 'folders/inner'])(
    'commits into folders that a killed process has left empty: %s',
    async (left) => {
      const driver = await FilesystemDriver.open(root);
      await mkdir(join(root, left), { recursive: true });
      await driver.beginUpload('into', signal);
      await driver.appendUpload('into', 0, pieces('abc'), signal);
      await driver.commitUpload('into', 3, 'folders/inner/data', signal);
      expect((await driver.get('folders/inner/data', signal)).toString()).toBe('abc');
      expect(await readdir(join(root, 'wharfie', 'uploads'))).not.toContain('into');
      await driver.delete('folders', signal);
    },
  );

  it('purges temporary files of processes that were killed long ago', async () => {
    const driver = await FilesystemDriver.open(root);
    const file = join(root, 'wharfie', 'tmp', 'left');
    await writeFile(file, 'x');
    await utimes(file, new Date(0), new Date(0));
    await driver.purge(new Date(Date.now() - 60_000), signal);
    expect(await readdir(join(root, 'wharfie', 'tmp'))).not.toContain('left');
  });

  it('has nothing to purge where nothing was ever pushed', async () => {
    const driver = await FilesystemDriver.open(join(root, 'bare'));
    await rm(join(root, 'bare', 'wharfie'), { recursive: true });
    expect(await driver.purge(new Date(), signal)).toBe(0);
  });

  it('purges the others when it cannot purge one', async () => {
    const driver = await FilesystemDriver.open(root);
    const temporary = join(root, 'wharfie', 'tmp');
    await symlink('a loop', join(temporary, 'a loop'));
    for (const name of ['a file', 'b file']) {
      await writeFile(join(temporary, name), 'x');
      await utimes(join(temporary, name), new Date(0), new Date(0));
    }
    const purging = driver.purge(new Date(Date.now() - 60_000), signal);
    await expect(purging).rejects.toThrow('2 were removed, at 1 it failed');
    await expect(purging).rejects.toMatchObject({ cause: { code: 'ELOOP' } });
    expect(await readdir(temporary)).toEqual(['a loop']);
    await rm(join(temporary, 'a loop'));
  });

  it.each([
    ['remembers', 60_000],
    ['has just written', 0],
  ])(
    'sees at once what another process put in the place of a small object that it %s, or removed',
    async (_, later) => {
      const [driver, other] = [await FilesystemDriver.open(root), await FilesystemDriver.open(root)];
      await driver.put('small/link', Buffer.from('one'), signal);
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + later });
      try {
        for (const content of ['one', 'two', 'six', 'long'.repeat(1000), 'ten']) {
          await other.put('small/link', Buffer.from(content), signal);
          for (let time = 0; time < 2; time += 1)
            expect((await driver.get('small/link', signal)).toString()).toBe(content);
        }
        await other.delete('small/link', signal);
        await expect(driver.get('small/link', signal)).rejects.toThrow(PathNotFound);
        await other.put('small/link/inner', Buffer.from('x'), signal);
        await expect(driver.get('small/link', signal)).rejects.toThrow(PathNotFound);
        await other.delete('small/link', signal);
      } finally {
        vi.useRealTimers();
      }
    },
  );

  it('reads the links that it has just written without waiting for a thread', async () => {
    const driver = await FilesystemDriver.open(root);
    await driver.put('put/link', Buffer.from('put'), signal);
    await driver.beginUpload('linked', signal);
    await driver.appendUpload('linked', 0, pieces('abc'), signal);
    const link = { path: 'committed/link', content: Buffer.from('committed') };
    await driver.commitUpload('linked', 3, 'linked/data', signal, [link]);
    const atOnce = (path: string) => Promise.race([driver.get(path, signal).then(String), immediate('later')]);
    expect([await atOnce('put/link'), await atOnce('committed/link')]).toEqual(['put', 'committed']);
    expect(await atOnce('linked/data')).toBe('later');
  });

  it('never has the event loop wait for a file system that may be on a server', async () => {
    const driver = await FilesystemDriver.open(root, false);
    await driver.put('remote/link', Buffer.from('x'), signal);
    for (let time = 0; time < 2; time += 1)
      expect(await Promise.race([driver.get('remote/link', signal), immediate('later')])).toBe('later');
  });

  it('remembers a small object only when a change of it would show in its time stamps', async () => {
    const driver = await FilesystemDriver.open(root);
    await driver.put('resting/link', Buffer.from('x'), signal);
    const changed = Math.floor((await stat(join(root, 'resting/link'))).ctimeMs);
    const isRemembered = async () =>
      (await driver.get('resting/link', signal)) === (await driver.get('resting/link', signal));
    vi.useFakeTimers({ toFake: ['Date'], now: changed + 1000 });
    try {
      expect(await isRemembered()).toBe(false);
      vi.setSystemTime(changed + 1001);
      expect(await isRemembered()).toBe(true);
    } finally {
      vi.useRealTimers();
    }
  });

  it('lists nothing of what leads to itself', async () => {
    const driver = await FilesystemDriver.open(root);
    await mkdir(join(root, 'loops'));
    await symlink('self', join(root, 'loops', 'self'));
    expect(await driver.list('loops/self', '', 10, signal)).toEqual([]);
  });

  it('lists what came to a folder that got the time of another one, as copies do', async () => {
    const driver = await FilesystemDriver.open(root);
    const folder = join(root, 'copied');
    let changed = 0n;
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 60_000 });
    try {
      for (const names of [['a'], ['a', 'b']]) {
        await driver.put(`copied/${names.at(-1)}`, Buffer.from('x'), signal);
        await vi.waitFor(async () => {
          await utimes(folder, 1, 1);
          const { ctimeNs } = await stat(folder, { bigint: true });
          // Not within one tick of the clock that stamps the folder.
          expect(ctimeNs).not.toBe(changed);
          changed = ctimeNs;
        });
        expect(await driver.list('copied', '', 10, signal)).toEqual(names);
      }
    } finally {
      vi.useRealTimers();
    }
  });
});
