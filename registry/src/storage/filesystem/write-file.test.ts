import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { giveBack, takeBuffer } from '@wharfie/shared';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { describeWith } from '../../../../e2e/harness/requirements.js';
import { pieces } from '../testing/driver-contract.js';
import { UncachedFile } from './uncached-file.js';
import { writeInto } from './write-file.js';

const mebibyte = 1024 * 1024;

describe('writing a source into a file', () => {
  let folder: string;
  let path: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'wharfie-write-'));
    path = join(folder, 'data');
  });
  afterEach(() => rm(folder, { recursive: true }));

  const offsets = [0, 1, 4095, 4096, 5000, mebibyte - 1, mebibyte];
  const lengths = [0, 1, 4095, 4096, 4097, mebibyte - 1, mebibyte, mebibyte + 1, 5 * mebibyte + 12_345];
  const pieceSizes = [700, 65_536, 3 * mebibyte];
  const cases = offsets.flatMap((offset) => lengths.map((length) => [offset, length]));
  test.each(cases)('from %i, %i bytes in pieces of any size', async (offset = 0, length = 0) => {
    const [before, content] = [randomBytes(offset), randomBytes(length)];
    for (const piece of pieceSizes) {
      await writeFile(path, before);
      expect(await writeInto(UncachedFile.open(path, 'r+'), offset, inPieces(content, piece))).toBe(length);
      expect(Buffer.compare(await readFile(path), Buffer.concat([before, content]))).toBe(0);
    }
  });

  test('goes through the cache from where the system refuses to go past it', async () => {
    // What begins anywhere in memory is refused, and these are what is taken next.
    const odd = [0, 1, 2].map(() => Buffer.alloc(mebibyte + 1).subarray(1));
    giveBack(...odd);
    const content = randomBytes(5 * mebibyte + 1);
    expect(await writeInto(UncachedFile.open(path, 'wx'), 0, inPieces(content, 65_536))).toBe(content.length);
    expect(Buffer.compare(await readFile(path), content)).toBe(0);
    // Lest another test takes them.
    for (const _ of odd) expect(odd).toContain(takeBuffer());
  });

  test('gives back each buffer once when the source fails', async () => {
    await writeFile(path, '');
    const source = pieces(randomBytes(9 * mebibyte), () => {
      throw Object.assign(new Error(), { code: 'LEFT' });
    });
    await failsCleanly(() => writeInto(UncachedFile.open(path, 'r+'), 0, source), 'LEFT');
  });

  test('gives back each buffer once when there turns out to be no file', async () => {
    const opening = UncachedFile.open(path, 'r+');
    await failsCleanly(() => writeInto(opening, 0, pieces(randomBytes(3 * mebibyte))), 'ENOENT');
  });

  test('frees the pieces that it has taken', async () => {
    const piece = Buffer.allocUnsafeSlow(65_536);
    await writeInto(UncachedFile.open(path, 'wx'), 0, Readable.from([piece]));
    expect(piece.length).toBe(0);
  });

  test('fails as the system does where there is no such file', async () => {
    await expect(writeInto(UncachedFile.open(path, 'r+'), 0, inPieces(Buffer.from('x'), 1))).rejects.toMatchObject({
      code: 'ENOENT',
    });
  });
});

describeWith(['/dev/full'], 'on a full disk', () => {
  test.each([2, 9])('a write of %i MiB fails, and gives back each buffer once', async (size) => {
    await failsCleanly(
      () => writeInto(UncachedFile.open('/dev/full', 'r+'), 0, pieces(randomBytes(size * mebibyte))),
      'ENOSPC',
    );
  });
});

/** The pool has the same buffers afterwards, each of them once. */
async function failsCleanly(write: () => Promise<number>, code: string): Promise<void> {
  const before = Array.from({ length: 16 }, takeBuffer);
  giveBack(...before);
  await expect(write()).rejects.toMatchObject({ code });
  const after = before.map(takeBuffer);
  expect(new Set(after).size).toBe(before.length);
  expect(new Set([...before, ...after]).size).toBe(before.length);
  giveBack(...after);
}

/** Copies, as whoever takes a piece may free it. */
// eslint-disable-next-line @typescript-eslint/require-await -- an async source of what is there
async function* inPieces(content: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < content.length; start += size) yield Buffer.from(content.subarray(start, start + size));
}
