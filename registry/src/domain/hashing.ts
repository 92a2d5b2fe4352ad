import { createHash, type Hash } from 'node:crypto';
import type { Digest, DigestAlgorithm } from '@wharfie/shared';
import { freeBuffer } from '@wharfie/shared';
import { LRUCache } from 'lru-cache';
import type { ByteSource } from '../storage/storage-driver.js';

/** A hash over the bytes that pass; with OpenSSL, at 1.4 to 1.9 GB/s. */
export class RunningHash {
  private constructor(
    readonly algorithm: DigestAlgorithm,
    private readonly hash: Hash,
    private bytes: number,
  ) {}

  static begin(algorithm: DigestAlgorithm): RunningHash {
    return new RunningHash(algorithm, createHash(algorithm), 0);
  }

  /** How many bytes passed. */
  get size(): number {
    return this.bytes;
  }

  update(chunk: Uint8Array): void {
    this.hash.update(chunk);
    this.bytes += chunk.length;
  }

  /** The digest of what passed so far; more may follow. */
  digest(): Digest {
    return `${this.algorithm}:${this.hash.copy().digest('hex')}`;
  }

  copy(): RunningHash {
    return new RunningHash(this.algorithm, this.hash.copy(), this.bytes);
  }

  /** Passes bytes on and counts them in. */
  async *over(source: ByteSource): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      this.update(chunk);
      yield chunk;
    }
  }

  /** Counts bytes in, and frees them. */
  async consume(source: ByteSource): Promise<void> {
    for await (const chunk of source) {
      this.update(chunk);
      freeBuffer(chunk);
    }
  }
}

/** Uploads whose hash is remembered between two chunks; each takes less than a kilobyte. */
const most = 4_000;

/**
 * Where the hashes of this process' uploads stand. Their state cannot leave the process: another one, or this one after a
 * restart, begins anew or where it stood itself, and reads what it missed (docs/decisions/0002-uploads-on-a-file-system.md).
 */
export class RunningHashes {
  readonly #hashes = new LRUCache<string, RunningHash>({ max: most });

  /** A hash over the beginning of an upload, no longer than `size`; it is the caller's own. */
  beginning(upload: string, algorithm: DigestAlgorithm, size: number): RunningHash {
    const known = this.#hashes.get(upload);
    return known?.algorithm === algorithm && known.size <= size ? known.copy() : RunningHash.begin(algorithm);
  }

  remember(upload: string, hash: RunningHash): void {
    this.#hashes.set(upload, hash);
  }

  forget(upload: string): void {
    this.#hashes.delete(upload);
  }
}
