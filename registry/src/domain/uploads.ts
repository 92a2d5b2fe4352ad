import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { Digest, DigestAlgorithm } from '@wharfie/shared';
import { OciError, algorithmOf } from '@wharfie/shared';
import { LRUCache } from 'lru-cache';
import type { ByteSource, StorageDriver } from '../storage/storage-driver.js';
import { InvalidOffset, PathNotFound, missingAs } from '../storage/storage-driver.js';
import type { Blobs } from './blobs.js';
import { RunningHash, RunningHashes } from './hashing.js';
import { blobPath, layerLink } from './layout.js';

/** Pauses, in milliseconds, before each look for a blob that another request is just making of the same upload. */
const looks = [0, 50, 100, 200, 400, 800];

/** Uploads whose digest is remembered beyond their end. */
const mostFound = 4_000;

/** An upload as its client knows it: what the signed Location says. The storage has the last word on the size. */
export interface Upload {
  id: string;
  repository: string;
  /** Bytes that the client was told are kept. */
  size: number;
  /** Their digest, when it is known. */
  digest?: Digest | undefined;
  /** The algorithm that the client said it will ask for at the end. */
  algorithm: DigestAlgorithm;
}

/** Bytes that a request brings, and where the client says they belong. */
export interface Chunk {
  source: ByteSource;
  /** From `Content-Range`. */
  range?: { start: number; length: number } | undefined;
  /** From `Content-Length`. */
  length?: number | undefined;
}

/** A hash over an upload's bytes, and the digest by which the storage is to know them: none when they were read just now. */
interface Hashed {
  hash: RunningHash;
  known: Digest | undefined;
}

/** An upload that does not stand where the client believes: carries where it does, so that the client can go on from there. */
export class UploadOffsetError extends OciError {
  constructor(readonly upload: Upload) {
    super('RANGE_INVALID', `the upload stands at byte ${upload.size}; go on from there`, { offset: upload.size });
  }
}

/**
 * Blobs on their way in. Between two requests an upload exists only in the storage and in its Location, so that each
 * request may reach another process.
 */
export class Uploads {
  readonly #hashes = new RunningHashes();
  /** What was found under uploads in the end, also when their Location does not say it: for whoever asks again for their end. */
  readonly #found = new LRUCache<string, Digest>({ max: mostFound });

  constructor(
    private readonly storage: StorageDriver,
    private readonly blobs: Blobs,
  ) {}

  async begin(repository: string, algorithm: DigestAlgorithm, signal: AbortSignal): Promise<Upload> {
    const id = randomUUID();
    await this.storage.beginUpload(id, signal);
    return { id, repository, size: 0, algorithm };
  }

  /** Where the upload really stands, also after a connection broke. @throws OciError BLOB_UPLOAD_UNKNOWN */
  async status(upload: Upload, signal: AbortSignal): Promise<Upload> {
    const size = await this.#orUnknown(upload, this.storage.uploadSize(upload.id, signal));
    const { digest } = upload;
    const isSame = size === upload.size && (digest === undefined || (await this.#has(upload, digest, signal)));
    return isSame ? upload : { ...upload, size, digest: undefined };
  }

  /**
   * Appends a chunk.
   * @throws UploadOffsetError the upload stays as it is
   * @throws OciError BLOB_UPLOAD_UNKNOWN, SIZE_INVALID
   */
  async append(upload: Upload, chunk: Chunk, signal: AbortSignal): Promise<Upload> {
    return this.#append(await this.#onwardFrom(upload, chunk, signal), chunk, signal);
  }

  /**
   * Ends an upload: with the last chunk, the only one, or none. The blob is in the repository when this returns.
   * @throws OciError DIGEST_INVALID when the bytes are others; the upload is gone then
   * @throws UploadOffsetError the upload stays as it is
   */
  async finish(upload: Upload, digest: Digest, chunk: Chunk | undefined, signal: AbortSignal): Promise<void> {
    const current = await this.#onwardFrom(upload, chunk, signal);
    if (current.size === 0) await this.#storeWhole(await this.#standingAt(current, 0, signal), digest, chunk, signal);
    else await this.#complete(current, digest, chunk, signal);
  }

  /** A blob that came in one request, without an upload. @throws OciError DIGEST_INVALID */
  async store(repository: string, digest: Digest, chunk: Chunk, signal: AbortSignal): Promise<void> {
    await this.#write(digest, chunk, signal);
    await this.blobs.link(repository, digest, signal);
  }

  /**
   * Makes a blob of another repository one of this, or says that it cannot. Whoever asks must be allowed to pull it there.
   * @param from the other repository; undefined when every repository may be the one
   */
  async mount(repository: string, digest: Digest, from: string | undefined, signal: AbortSignal): Promise<boolean> {
    const anywhere = async () => ((await this.blobs.exists(digest, signal)) ? digest : undefined);
    const stored = await (from === undefined ? anywhere() : this.blobs.held(from, digest, signal));
    if (stored === undefined) return false;
    await this.blobs.link(repository, digest, signal, stored);
    return true;
  }

  /** @throws OciError BLOB_UPLOAD_UNKNOWN */
  async cancel(upload: Upload, signal: AbortSignal): Promise<void> {
    this.#hashes.forget(upload.id);
    await this.#orUnknown(upload, this.storage.cancelUpload(upload.id, signal));
  }

  /** The upload where `chunk` begins. When the Location says so too, the storage is not asked: it sees to that by itself. */
  async #onwardFrom(upload: Upload, chunk: Chunk | undefined, signal: AbortSignal): Promise<Upload> {
    const start = chunk?.range?.start ?? upload.size;
    return start === upload.size ? upload : this.#standingAt(upload, start, signal);
  }

  async #standingAt(upload: Upload, offset: number, signal: AbortSignal): Promise<Upload> {
    const current = await this.status(upload, signal);
    if (current.size !== offset) throw new UploadOffsetError(current);
    return current;
  }

  async #append(upload: Upload, chunk: Chunk, signal: AbortSignal): Promise<Upload> {
    const { hash, known } = await this.#hashed(upload, upload.algorithm, signal);
    const source = hash.over(exactly(chunk));
    // What was hashed and not written, as the client left, has no digest.
    const digests = { before: known, after: (size: number) => (hash.size === size ? hash.digest() : undefined) };
    const append = this.storage.appendUpload(upload.id, upload.size, source, signal, digests);
    const size = await this.#orMoved(upload, append, signal);
    this.#hashes.remember(upload.id, hash);
    return { ...upload, size, digest: hash.digest() };
  }

  /** A hash over what is there: as this process remembers it, if the bytes are still those, and by reading what it does not. */
  async #hashed(upload: Upload, algorithm: DigestAlgorithm, signal: AbortSignal): Promise<Hashed> {
    const remembered = this.#hashes.beginning(upload.id, algorithm, upload.size);
    const isRead = remembered.size === 0;
    const hash = await this.#readOn(upload, remembered, signal);
    if (isRead) return { hash, known: upload.digest };
    const digest = hash.digest();
    const isSame = isOf(algorithm, upload.digest) ? upload.digest === digest : await this.#has(upload, digest, signal);
    if (isSame) return { hash, known: upload.digest ?? digest };
    return { hash: await this.#readOn(upload, RunningHash.begin(algorithm), signal), known: upload.digest };
  }

  /** Whether the bytes of an upload are those of a digest, as far as the storage can tell without reading them. */
  async #has({ id, size }: Upload, digest: Digest, signal: AbortSignal): Promise<boolean> {
    return (await this.storage.hasUpload?.(id, size, digest, signal)) ?? true;
  }

  /** Has a hash go on to the end of an upload. */
  async #readOn(upload: Upload, hash: RunningHash, signal: AbortSignal): Promise<RunningHash> {
    if (hash.size < upload.size) {
      await this.#standingAt(upload, upload.size, signal);
      const rest = { start: hash.size, length: upload.size - hash.size };
      try {
        await hash.consume(await this.#orUnknown(upload, this.storage.readUpload(upload.id, rest, signal)));
      } finally {
        // Whoever is cut off, as this may take longer than clients wait, goes on from there when they ask again.
        this.#hashes.remember(upload.id, hash.copy());
      }
    }
    return hash;
  }

  /** All of an upload at once. */
  async #storeWhole(
    upload: Upload,
    digest: Digest,
    chunk: Chunk = { source: Readable.from([]), length: 0 },
    signal: AbortSignal,
  ): Promise<void> {
    try {
      await this.#write(digest, chunk, signal);
    } catch (error) {
      if (error instanceof OciError && error.code === 'DIGEST_INVALID') await this.cancel(upload, signal);
      throw error;
    }
    await this.blobs.link(upload.repository, digest, signal);
    // Last: who was cut off before finds the upload as it was. Another that did the same may have been faster.
    await this.storage.cancelUpload(upload.id, signal).catch(missingAs(undefined));
  }

  /** An upload of which some is there, and its last chunk if there is one. */
  async #complete(upload: Upload, digest: Digest, chunk: Chunk | undefined, signal: AbortSignal): Promise<void> {
    const whole = chunk ? await this.#append(upload, chunk, signal) : upload;
    const { id, size, repository } = whole;
    try {
      const known = await this.#verify(whole, digest, signal);
      const links = [layerLink(repository, digest)];
      const commit = this.storage.commitUpload(id, size, blobPath(digest), signal, links, known);
      await this.#orMoved(whole, commit, signal);
    } catch (error) {
      if (!(await this.#isCommitted(whole, digest, error, signal))) throw error;
      await this.blobs.link(repository, digest, signal);
    }
    this.blobs.remember(digest, size);
    this.#hashes.forget(id);
  }

  /** Whether an upload is gone because another request has made it a blob, or is about to; waits a little for that. */
  async #isCommitted(
    { id, size, digest: sent }: Upload,
    digest: Digest,
    error: unknown,
    signal: AbortSignal,
  ): Promise<boolean> {
    const isGone =
      error instanceof OciError && (error instanceof UploadOffsetError || error.problem === 'BLOB_UPLOAD_UNKNOWN');
    // Only whoever has sent the bytes, as the signed Location proves, may have the blob for it.
    if (!isGone || (sent !== digest && this.#found.get(id) !== digest)) return false;
    for (const pause of looks) {
      await delay(pause, undefined, { signal });
      const blob = await this.storage.stat(blobPath(digest), signal).catch(missingAs(undefined));
      if (blob?.size === size) return true;
    }
    return false;
  }

  /** Streams bytes to where they belong. They become visible only when they are what the digest says. */
  async #write(digest: Digest, chunk: Chunk, signal: AbortSignal): Promise<void> {
    const hash = RunningHash.begin(algorithmOf(digest));
    const approve = (): void => {
      checkDigest(hash.digest(), digest);
    };
    await this.storage.write(blobPath(digest), hash.over(exactly(chunk)), approve, signal, chunk.length);
    this.blobs.remember(digest, chunk.length);
  }

  /** Returns the digest by which the storage knows the bytes. @throws OciError DIGEST_INVALID when they are others */
  async #verify(upload: Upload, digest: Digest, signal: AbortSignal): Promise<Digest | undefined> {
    const { actual, known } = await this.#digest(upload, algorithmOf(digest), signal);
    if (actual === digest) {
      this.#found.set(upload.id, digest);
    } else {
      await this.cancel(await this.#standingAt(upload, upload.size, signal), signal);
      checkDigest(actual, digest);
    }
    return known;
  }

  async #digest(
    upload: Upload,
    algorithm: DigestAlgorithm,
    signal: AbortSignal,
  ): Promise<{ actual: Digest; known: Digest | undefined }> {
    const { digest } = upload;
    if (isOf(algorithm, digest)) return { actual: digest, known: digest };
    const { hash, known } = await this.#hashed(upload, algorithm, signal);
    return { actual: hash.digest(), known };
  }

  /** Another request, or a power cut, has moved the upload meanwhile: says where it stands now. */
  async #orMoved<T>(upload: Upload, call: Promise<T>, signal: AbortSignal): Promise<T> {
    try {
      return await this.#orUnknown(upload, call);
    } catch (error) {
      if (error instanceof InvalidOffset) throw new UploadOffsetError(await this.status(upload, signal));
      throw error;
    }
  }

  async #orUnknown<T>(upload: Upload, call: Promise<T>): Promise<T> {
    try {
      return await call;
    } catch (error) {
      if (error instanceof PathNotFound) throw unknownUpload(upload.id);
      throw error;
    }
  }
}

function isOf(algorithm: DigestAlgorithm, digest: Digest | undefined): digest is Digest {
  return digest !== undefined && algorithmOf(digest) === algorithm;
}

function unknownUpload(id: string): OciError {
  return new OciError(
    'BLOB_UPLOAD_UNKNOWN',
    `there is no upload ${id}: it has ended, or it never was; begin a new one`,
    { upload: id },
  );
}

/** The bytes of a chunk, which must be as many as its range says. */
async function* exactly({ source, range }: Chunk): AsyncGenerator<Uint8Array> {
  let left = range?.length ?? Infinity;
  for await (const chunk of source) {
    left -= chunk.length;
    if (left < 0) throw wrongSize();
    yield chunk;
  }
  if (range && left > 0) throw wrongSize();
}

function wrongSize(): OciError {
  return new OciError('SIZE_INVALID', 'the body is not as long as its Content-Range says');
}

function checkDigest(actual: Digest, expected: Digest): void {
  if (actual !== expected) {
    throw new OciError('DIGEST_INVALID', `the content is ${actual}, not ${expected}; nothing was stored`, {
      digest: actual,
    });
  }
}
