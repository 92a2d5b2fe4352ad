import type { FileHandle } from 'node:fs/promises';
import { giveBack, takeBuffer } from '@wharfie/shared';
import type { ByteSource } from './storage-driver.js';

/** Bytes after which what came so far is sent to the disk, which has nothing to do otherwise until the last has come. */
const syncSize = 4 * 1024 * 1024;

/**
 * Writes a source into a file from `offset` and to the disk, reading on while one write is under way; returns the bytes
 * written.
 *
 * The bytes are copied into buffers that are used over and over: a chunk of the source dies young, whereas one that waits
 * for the disk would outlive some collections and then be left lying. It costs a twentieth of what hashing it does.
 */
export async function writeInto(file: FileHandle, offset: number, source: ByteSource): Promise<number> {
  let [filling, waiting] = [takeBuffer(), takeBuffer()];
  let used = 0;
  let position = offset;
  let writing = Promise.resolve();
  let syncing: Promise<void> | undefined;
  let unsynced = 0;
  const flush = async (): Promise<void> => {
    await writing;
    [filling, waiting] = [waiting, filling];
    writing = writeAll(file, waiting.subarray(0, used), position);
    // Awaited at the next flush; until then a failure must not count as unhandled.
    writing.catch(() => undefined);
    position += used;
    unsynced += used;
    used = 0;
    if (unsynced < syncSize) return;
    unsynced = 0;
    await syncing;
    syncing = file.datasync();
    syncing.catch(() => undefined);
  };
  try {
    for await (const chunk of source) {
      for (let taken = 0; taken < chunk.length;) {
        const part = chunk.subarray(taken, taken + filling.length - used);
        filling.set(part, used);
        taken += part.length;
        used += part.length;
        if (used === filling.length) await flush();
      }
    }
    if (used > 0) await flush();
    await writing;
    await syncing;
    await file.datasync();
  } finally {
    // What the disk is still reading from is nobody else's yet.
    await Promise.allSettled([writing, syncing]);
    giveBack(filling, waiting);
  }
  return position - offset;
}

/** A write may be short: the disk is almost full, or a signal came. Writing the rest tells which. */
async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
  }
}
