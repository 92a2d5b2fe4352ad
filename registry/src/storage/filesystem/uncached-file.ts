import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { hasCode } from './disk.js';

/** What is written past the cache begins and ends at multiples of it, in the file and in memory. */
export const blockSize = 4096;

/**
 * A file that is written past the kernel's cache: a long blob would push out of it what is pulled over and over, only to
 * be copied once more on its way to the disk. Parts of blocks, and all where the file system knows no other way, are
 * written through it.
 */
export class UncachedFile {
  readonly #file: FileHandle;
  /** The same file, opened for whole blocks. */
  #direct: FileHandle | undefined;

  private constructor(file: FileHandle, direct: FileHandle | undefined) {
    this.#file = file;
    this.#direct = direct;
  }

  /** @throws what opening a file throws */
  static async open(path: string, flags: string): Promise<UncachedFile> {
    const file = await open(path, flags, 0o644);
    // Refused where the file system has no such thing.
    const direct = await open(path, constants.O_WRONLY | constants.O_DIRECT).catch(() => undefined);
    return new UncachedFile(file, direct);
  }

  /** Writes what lies from `begin` to `end` of a memory, which is as far from the beginning of a block there as in the file. */
  async write(memory: Buffer, begin: number, end: number, position: number): Promise<void> {
    // A write may be short: the disk is almost full, or a signal came. Writing the rest tells which.
    for (let at = begin; at < end;) {
      at += await this.#writeSome(memory, at, pieceEnd(at, end), position + at - begin);
    }
  }

  datasync(): Promise<void> {
    return this.#file.datasync();
  }

  async close(): Promise<void> {
    try {
      await this.#direct?.close();
    } finally {
      await this.#file.close();
    }
  }

  async #writeSome(memory: Buffer, begin: number, end: number, position: number): Promise<number> {
    const isWhole = begin % blockSize === 0 && end % blockSize === 0;
    const file = (isWhole && this.#direct) || this.#file;
    try {
      return (await file.write(memory, begin, end - begin, position)).bytesWritten;
    } catch (error) {
      if (file === this.#file || !hasCode(error, 'EINVAL')) throw error;
      // Opening said yes, writing says no: larger blocks, or a file system that only passes questions on. Others may be
      // writing: they begin nothing with it from here on, and closing waits for what they have begun.
      this.#direct = undefined;
      await file.close();
      return 0;
    }
  }
}

/** Where a piece ends that is either whole blocks or lies in one. */
function pieceEnd(begin: number, end: number): number {
  const inBlock = begin % blockSize;
  if (inBlock > 0) return Math.min(end, begin - inBlock + blockSize);
  return end - begin < blockSize ? end : end - (end % blockSize);
}
