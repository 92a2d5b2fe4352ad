import { freeBuffer, giveBack, takeBuffer } from '@wharfie/shared';
import type { ByteSource } from './storage-driver.js';
import { blockSize, UncachedFile } from './uncached-file.js';

/** Bytes after which what came so far is sent to the disk, which has nothing to do otherwise until the last has come. */
const syncSize = 4 * 1024 * 1024;

/**
 * Writes a source into a file from `offset` and to the disk, reading on while one write is under way; returns the bytes
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
  let [filling, waiting] = [takeBuffer(), takeBuffer()];
  let position = offset;
  // Bytes have the same place in a block of memory as in the file: only the first buffer may begin in the middle.
  let begin = offset % blockSize;
  let end = begin;
  let writing = Promise.resolve();
  let syncing: Promise<void> | undefined;
  let unsynced = 0;
  const flush = async (): Promise<void> => {
    await writing;
    [filling, waiting] = [waiting, filling];
    writing = file.write(waiting, begin, end, position);
    // Awaited at the next flush; until then a failure must not count as unhandled.
    writing.catch(() => undefined);
    position += end - begin;
    unsynced += end - begin;
    begin = end = 0;
    if (unsynced < syncSize) return;
    unsynced = 0;
    await syncing;
    syncing = file.datasync();
    syncing.catch(() => undefined);
  };
  try {
    for await (const chunk of source) {
      for (let taken = 0; taken < chunk.length;) {
        const part = chunk.subarray(taken, taken + filling.length - end);
        filling.set(part, end);
        taken += part.length;
        end += part.length;
        if (end === filling.length) await flush();
      }
      freeBuffer(chunk);
    }
    if (end > begin) await flush();
    await writing;
    await syncing;
    await file.datasync();
  } finally {
    // What the disk is still reading from is nobody else's yet.
    await Promise.allSettled([writing, syncing]);
    giveBack(filling, waiting);
    await file.close();
  }
  return position - offset;
}
