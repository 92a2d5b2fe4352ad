import { Readable } from 'node:stream';
import type { Digest } from '@wharfie/shared';
import { OciError, algorithmOf } from '@wharfie/shared';
import { LRUCache } from 'lru-cache';
import type { Part, StorageDriver, StoredFile } from '../storage/storage-driver.js';
import { PathNotFound, StorageUnavailable, missingAs } from '../storage/storage-driver.js';
import { RunningHash } from './hashing.js';
import { blobPath, layerLink, layerLinkPath, readLink } from './layout.js';

/** A blob that a repository links. */
export interface Blob {
  /** In bytes. */
  size: number;
  /** The digest under which the storage has it. */
  stored: Digest;
}

/**
 * How long (milliseconds) the bytes of a blob are taken to be where they were. Only a garbage collection removes them, and
 * must not run during a push. A link, which a client can delete, is asked for every time.
 */
const memory = { max: 10_000, ttl: 30_000 };

/** Content by digest. It is stored once, and can be pulled only from the repositories that link it. */
export class Blobs {
  /** Sizes of those that were asked for. */
  readonly #sizes = new LRUCache<Digest, number>(memory);
  /** Those whose bytes came through this process. */
  readonly #stored = new LRUCache<Digest, true>(memory);

  constructor(private readonly storage: StorageDriver) {}

  /** @throws OciError BLOB_UNKNOWN */
  async stat(repository: string, digest: Digest, signal: AbortSignal): Promise<Blob> {
    return (await this.find(repository, digest, signal)) ?? unknown(repository, digest);
  }

  /** A blob that `repository` links, or undefined. */
  async find(repository: string, digest: Digest, signal: AbortSignal): Promise<Blob | undefined> {
    const stored = await this.#linked(repository, digest, signal);
    if (!stored) return undefined;
    const size = this.#sizes.get(stored) ?? (await this.#stat(stored, signal));
    return size === undefined ? undefined : { size, stored };
  }

  /**
   * The digest under which the storage has the bytes of a blob that `repository` links, or undefined. Asks the storage, and
   * not the remembered sizes: a manifest or a mount is about to rely on the answer.
   */
  async held(repository: string, digest: Digest, signal: AbortSignal): Promise<Digest | undefined> {
    const stored = await this.#linked(repository, digest, signal);
    return stored !== undefined && (await this.exists(stored, signal)) ? stored : undefined;
  }

  /** An address at which the storage itself serves the blob for a while, or undefined. @throws OciError BLOB_UNKNOWN */
  async address({ stored }: Blob, signal: AbortSignal): Promise<string | undefined> {
    const address = this.storage.address?.(blobPath(stored), signal);
    return address && this.#present(stored, address);
  }

  /** The file of a blob, where the storage has it in one. @throws OciError BLOB_UNKNOWN */
  async file({ stored, size }: Blob, signal: AbortSignal): Promise<StoredFile | undefined> {
    const file = await this.#present(stored, Promise.resolve(this.storage.file?.(blobPath(stored), signal)));
    return file?.size === size ? file : undefined;
  }

  /**
   * The bytes of a blob, or a part of them. Whole ones that do not lie on this machine are checked: the stream fails before
   * its end when they are not those of the digest.
   * @throws OciError BLOB_UNKNOWN when they were removed a moment ago
   */
  async read({ stored }: Blob, part: Part | undefined, signal: AbortSignal): Promise<Readable> {
    const bytes = await this.#present(stored, this.storage.read(blobPath(stored), part, signal));
    if (part || this.storage.file) return bytes;
    return Readable.from(checked(bytes, stored), { objectMode: false, signal });
  }

  async #present<T>(stored: Digest, call: Promise<T>): Promise<T> {
    try {
      return await call;
    } catch (error) {
      if (!(error instanceof PathNotFound)) throw error;
      this.#sizes.delete(stored);
      throw new OciError('BLOB_UNKNOWN', `the bytes of ${stored} are gone; push the blob again`, { digest: stored });
    }
  }

  /**
   * Whether the bytes of a blob are in the storage, whichever repository links them. That they came through here counts once,
   * as garbage may be collected before the next push.
   */
  async exists(digest: Digest, signal: AbortSignal): Promise<boolean> {
    const isStored = this.#stored.get(digest);
    // It deletes an entry whose time is over as well.
    this.#stored.delete(digest);
    return isStored ?? (await this.#stat(digest, signal)) !== undefined;
  }

  /** Remembers bytes that were just stored, `size` of them if that is known. */
  remember(digest: Digest, size: number | undefined): void {
    this.#stored.set(digest, true);
    if (size !== undefined) this.#sizes.set(digest, size);
  }

  /** Lets a blob be pulled from `repository`, also by the digest under which its bytes are in the storage. */
  link(repository: string, digest: Digest, signal: AbortSignal, stored = digest): Promise<void> {
    const links = stored === digest ? [] : [layerLink(repository, digest, stored)];
    return this.storage.putAll([layerLink(repository, stored), ...links], signal);
  }

  /** The digest under which the storage has what `repository` calls `digest`, or undefined. */
  #linked(repository: string, digest: Digest, signal: AbortSignal): Promise<Digest | undefined> {
    // distribution links a sha512 digest to the sha256 under which it keeps the bytes.
    return readLink(this.storage, layerLinkPath(repository, digest), signal);
  }

  async #stat(stored: Digest, signal: AbortSignal): Promise<number | undefined> {
    const info = await this.storage.stat(blobPath(stored), signal).catch(missingAs(undefined));
    if (info) this.#sizes.set(stored, info.size);
    else this.#sizes.delete(stored);
    return info?.size;
  }

  /** Takes a blob out of this repository alone; its bytes stay until garbage collection. @throws OciError BLOB_UNKNOWN */
  async delete(repository: string, digest: Digest, signal: AbortSignal): Promise<void> {
    await this.stat(repository, digest, signal);
    try {
      await this.storage.delete(layerLinkPath(repository, digest), signal);
    } catch (error) {
      if (error instanceof PathNotFound) unknown(repository, digest);
      throw error;
    }
  }
}

function unknown(repository: string, digest: Digest): never {
  throw new OciError('BLOB_UNKNOWN', `${repository} has no blob ${digest}`, { digest });
}

/** The same bytes; the last of them come only when all are what the digest says. */
async function* checked(bytes: Readable, digest: Digest): AsyncGenerator<Uint8Array> {
  const hash = RunningHash.begin(algorithmOf(digest));
  let last: Uint8Array | undefined;
  for await (const chunk of hash.over(bytes)) {
    if (last) yield last;
    last = chunk;
  }
  if (hash.digest() !== digest) throw new StorageUnavailable(`${digest} came damaged`);
  if (last) yield last;
}
