import { freeBuffer, giveBack, takeBuffer } from '@wharfie/shared';
import type { ByteSource } from './storage-driver.js';
import { blockSize, UncachedFile } from './uncached-file.js';

/** Bytes after which what came so far is sent to the disk, which has nothing to do otherwise until the last has come. */
const syncSize = 4 * 1024 * 1024;

/** Writes under way at most: with one alone, the bytes that come wait for a disk that is a little late. */
const writesAtOnce = 3;

/** What the disk is reading from. */
interface Write {
  buffer: Buffer;
  done: Promise<void>;
}

/**
 * Writes a source into a file from `offset` and to the disk, reading on while some writes are under way; returns the bytes
 * written.
 *
 * The bytes are copied into buffers that are used over and over and begin at a page of memory, as the disk wants it; those of
 * the source are freed. It costs a twentieth of what hashing them does.
 *
 * @param flags of `open`
 * @throws what opening, writing or syncing a file throws
 */
export async function writeInto(path: string, flags: string, offset: number, source: ByteSource): Promise<number> {
  const file = await UncachedFile.open(path, flags);
  const writes: Write[] = [];
  let filling: Buffer | undefined;
  let position = offset;
  // Bytes have the same place in a block of memory as in the file: only the first buffer may begin in the middle.
  let begin = offset % blockSize;
  let end = begin;
  let syncing: Promise<void> | undefined;
  let unsynced = 0;
  const written = (): Promise<unknown> => Promise.all(writes.map(({ done }) => done));
  const nextBuffer = async (): Promise<Buffer> => {
    const [oldest] = writes;
    if (!oldest || writes.length < writesAtOnce) return takeBuffer();
    await oldest.done;
    writes.shift();
    return oldest.buffer;
  };
  const flush = async (buffer: Buffer): Promise<void> => {
    // A part of a block goes through the cache, where it may lie in one page with blocks that go past it.
    const isWhole = begin % blockSize === 0 && end % blockSize === 0;
    if (!isWhole) await written();
    const done = file.write(buffer, begin, end, position);
    // Awaited later; until then a failure must not count as unhandled.
    done.catch(() => undefined);
    writes.push({ buffer, done });
    filling = undefined;
    position += end - begin;
    unsynced += end - begin;
    begin = end = 0;
    if (!isWhole) await done;
    if (unsynced < syncSize) return;
    unsynced = 0;
    await syncing;
    syncing = file.datasync();
    syncing.catch(() => undefined);
  };
  try {
    for await (const chunk of source) {
      for (let taken = 0; taken < chunk.length;) {
        filling ??= await nextBuffer();
        const part = chunk.subarray(taken, taken + filling.length - end);
        filling.set(part, end);
        taken += part.length;
        end += part.length;
        if (end === filling.length) await flush(filling);
      }
      freeBuffer(chunk);
    }
    if (filling) await flush(filling);
    await written();
    await syncing;
    await file.datasync();
  } finally {
    // What the disk is still reading from is nobody else's yet.
    await Promise.allSettled([...writes.map(({ done }) => done), syncing]);
    giveBack(...writes.map(({ buffer }) => buffer), ...(filling ? [filling] : []));
    await file.close();
  }
  return position - offset;
}
