import type { Readable } from 'node:stream';
import type { Digest } from '@wharfie/shared';
import { OciError } from '@wharfie/shared';
import type { Part, StorageDriver } from '../storage/storage-driver.js';
import { PathNotFound } from '../storage/storage-driver.js';
import { blobPath, layerLinkPath, linkContent, parseLink } from './layout.js';
import { missingAs } from './missing.js';

/** A blob that a repository links. */
export interface Blob {
  /** In bytes. */
  size: number;
  /** The digest under which the storage has it. */
  stored: Digest;
}

/** Content by digest. It is stored once, and can be pulled only from the repositories that link it. */
export class Blobs {
  constructor(private readonly storage: StorageDriver) {}

  /** @throws OciError BLOB_UNKNOWN */
  async stat(repository: string, digest: Digest, signal: AbortSignal): Promise<Blob> {
    return (await this.find(repository, digest, signal)) ?? unknown(repository, digest);
  }

  /** A blob that `repository` links, or undefined. */
  async find(repository: string, digest: Digest, signal: AbortSignal): Promise<Blob | undefined> {
    // Both are asked for at once: the link nearly always holds the digest that names it.
    const [link, direct] = await Promise.all([
      this.storage.get(layerLinkPath(repository, digest), signal).catch(missingAs(undefined)),
      this.storage.stat(blobPath(digest), signal).catch(missingAs(undefined)),
    ]);
    // distribution links a sha512 digest to the sha256 under which it keeps the bytes.
    const stored = link && parseLink(link);
    if (!stored) return undefined;
    const info =
      stored === digest ? direct : await this.storage.stat(blobPath(stored), signal).catch(missingAs(undefined));
    return info && { size: info.size, stored };
  }

  /** The bytes of a blob, or a part of them. */
  read(blob: Blob, part: Part | undefined, signal: AbortSignal): Promise<Readable> {
    return this.storage.read(blobPath(blob.stored), part, signal);
  }

  /** Whether the bytes of a blob are in the storage, whichever repository links them. */
  exists(digest: Digest, signal: AbortSignal): Promise<boolean> {
    return this.storage.stat(blobPath(digest), signal).then(() => true, missingAs(false));
  }

  /** Lets a blob be pulled from `repository`. Its bytes must be in the storage. */
  link(repository: string, digest: Digest, signal: AbortSignal): Promise<void> {
    return this.storage.put(layerLinkPath(repository, digest), linkContent(digest), signal);
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
