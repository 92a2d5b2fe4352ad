import { freeBuffer, giveBack, takeBuffer } from '@wharfie/shared';
import type { ByteSource } from '../storage-driver.js';
import type { UncachedFile } from './uncached-file.js';
import { blockSize } from './uncached-file.js';

/** Bytes after which what is written so far is sent to the disk, which has nothing to do otherwise until the last has come. */
const syncSize = 4 * 1024 * 1024;

/**
 * Writes under way at most, beside a buffer that is being filled: with one alone, the bytes that come wait for a disk that is
 * a little late. With a sync they are three of libuv's four threads.
 */
const writesAtOnce = 2;

/**
 * Writes a source into a file from `offset` and to the disk, reading on while it writes; returns the bytes written.
 *
 * The bytes are copied into buffers that are used over and over and begin at a page of memory, as the disk wants it; those of
 * the source are freed. It costs a twentieth of what hashing them does.
 *
 * @param opening the first buffer is filled meanwhile
 * @throws what opening, writing or syncing the file throws
 */
export async function writeInto(opening: Promise<UncachedFile>, offset: number, source: ByteSource): Promise<number> {
  // Like all that is under way, awaited later; until then a failure must not count as unhandled.
  opening.catch(() => undefined);
  /** All buffers that were taken, and those that are not being written. */
  const buffers: Buffer[] = [];
  const free: Buffer[] = [];
  /** Writes under way; one that failed stays. */
  const writing = new Set<Promise<void>>();
  /** Holds bytes from `begin` to `end`, and at least one, until it is flushed. */
  let filling: Buffer | undefined;
  let position = offset;
  // Bytes have the same place in a block of memory as in the file: only the first buffer may begin in the middle.
  let begin = offset % blockSize;
  let end = begin;
  let syncing: Promise<void> | undefined;
  let unsynced = 0;
  const oneMore = (): Buffer => {
    const buffer = takeBuffer();
    buffers.push(buffer);
    return buffer;
  };
  const flush = async (buffer: Buffer): Promise<void> => {
    const file = await opening;
    // What begins or ends within a block goes through the cache, maybe by a page in which blocks lie that go past it.
    const isAlone = begin % blockSize !== 0 || end % blockSize !== 0;
    if (isAlone) await Promise.all(writing);
    else if (writing.size === writesAtOnce) await Promise.race(writing);
    const write = file.write(buffer, begin, end, position).then(() => {
      writing.delete(write);
      free.push(buffer);
    });
    write.catch(() => undefined);
    writing.add(write);
    filling = undefined;
    position += end - begin;
    unsynced += end - begin;
    begin = end = 0;
    if (isAlone) await write;
    if (unsynced < syncSize) return;
    unsynced = 0;
    await syncing;
    syncing = file.datasync();
    syncing.catch(() => undefined);
  };
  try {
    for await (const chunk of source) {
      for (let taken = 0; taken < chunk.length;) {
        filling ??= free.pop() ?? oneMore();
        const part = chunk.subarray(taken, taken + filling.length - end);
        filling.set(part, end);
        taken += part.length;
        end += part.length;
        if (end === filling.length) await flush(filling);
      }
      freeBuffer(chunk);
    }
    if (filling) await flush(filling);
    await Promise.all(writing);
    await syncing;
    await (await opening).datasync();
  } finally {
    // What the disk is still reading from is nobody else's yet.
    await Promise.allSettled([...writing, syncing]);
    giveBack(...buffers);
    await (await opening.catch(() => undefined))?.close();
  }
  return position - offset;
}
