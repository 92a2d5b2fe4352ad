import type { Digest, Page } from '@wharfie/shared';
import { OciError, mediaTypes, parseDigest } from '@wharfie/shared';
import type { SmallObject, StorageDriver } from '../storage/storage-driver.js';
import { PathNotFound } from '../storage/storage-driver.js';
import { blobPath, referrerPath, referrersPath, referrersTag, revisionLinkPath } from './layout.js';
import { listAll } from './list-all.js';
import type { Manifest } from './manifest.js';
import { maxManifestSize, parseManifest } from './manifest.js';
import { missingAs } from './missing.js';
import type { Tags } from './tags.js';

/** Referrers that one page holds at most, and their bytes: clients refuse an index over 4 MiB. */
const maxEntries = 500;
const maxBytes = 3 * 1024 * 1024;

/** An entry of the list. https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers */
export interface Referrer {
  mediaType: string;
  digest: Digest;
  size: number;
  artifactType?: string;
  annotations?: Record<string, string>;
}

export interface ReferrerPage {
  referrers: Referrer[];
  more: boolean;
}

/**
 * Which manifests name another as their subject. Every referrer is one object below its subject, so that any number of
 * them can be pushed at the same time; nothing is read, changed and written.
 */
export class Referrers {
  constructor(
    private readonly storage: StorageDriver,
    private readonly tags: Tags,
  ) {}

  async remove(repository: string, subject: Digest, referrer: Digest, signal: AbortSignal): Promise<void> {
    await this.storage.delete(referrerPath(repository, subject, referrer), signal).catch(missingAs(undefined));
  }

  /** The referrers of `subject` in the order of their digests, those of one artifact type when it is given. */
  async list(
    repository: string,
    subject: Digest,
    artifactType: string | undefined,
    { n = maxEntries, last = '' }: Page,
    signal: AbortSignal,
  ): Promise<ReferrerPage> {
    const size = Math.min(n, maxEntries);
    const referrers: Referrer[] = [];
    let bytes = 0;
    for await (const referrer of this.#after(repository, subject, last, signal)) {
      if (artifactType !== undefined && referrer.artifactType !== artifactType) continue;
      bytes += Buffer.byteLength(JSON.stringify(referrer));
      if (referrers.length >= size || (bytes > maxBytes && referrers.length > 0)) return { referrers, more: size > 0 };
      referrers.push(referrer);
    }
    return { referrers, more: false };
  }

  async *#after(repository: string, subject: Digest, last: string, signal: AbortSignal): AsyncGenerator<Referrer> {
    const listed = await this.#listedByClients(repository, subject, signal);
    let pending = listed.filter((digest) => digest > last).sort();
    for await (const digest of this.#stored(repository, subject, last, signal)) {
      for (; pending[0] !== undefined && pending[0] < digest; pending = pending.slice(1)) {
        const referrer = await this.#fromManifest(repository, subject, pending[0], signal);
        if (referrer) yield referrer;
      }
      pending = pending.filter((other) => other !== digest);
      const referrer = await this.#fromEntry(repository, subject, digest, signal);
      if (referrer) yield referrer;
    }
    for (const digest of pending) {
      const referrer = await this.#fromManifest(repository, subject, digest, signal);
      if (referrer) yield referrer;
    }
  }

  async *#stored(repository: string, subject: Digest, after: string, signal: AbortSignal): AsyncGenerator<Digest> {
    for await (const name of listAll(this.storage, referrersPath(repository, subject), after, maxEntries, signal)) {
      const digest = parseDigest(name);
      if (digest) yield digest;
    }
  }

  /** An entry of ours counts only while its manifest is there: distribution's garbage collector knows nothing of entries. */
  async #fromEntry(
    repository: string,
    subject: Digest,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<Referrer | undefined> {
    const [content] = await Promise.all([
      this.storage.get(referrerPath(repository, subject, digest), signal),
      this.storage.stat(revisionLinkPath(repository, digest), signal),
    ]).catch(missingAs([undefined]));
    return content && (JSON.parse(content.toString()) as Referrer);
  }

  /**
   * What clients listed under the tag of the fallback schema while the registry had no such list: it must be shown too.
   * https://github.com/opencontainers/distribution-spec/blob/main/spec.md#enabling-the-referrers-api
   */
  async #listedByClients(repository: string, subject: Digest, signal: AbortSignal): Promise<Digest[]> {
    const index = await this.tags.find(repository, referrersTag(subject), signal);
    const manifest = index && (await this.#manifest(repository, index, signal))?.manifest;
    return manifest?.children ?? [];
  }

  async #fromManifest(
    repository: string,
    subject: Digest,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<Referrer | undefined> {
    const found = await this.#manifest(repository, digest, signal);
    return found?.manifest.subject === subject ? referrerOf(digest, found.size, found.manifest) : undefined;
  }

  async #manifest(
    repository: string,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<{ manifest: Manifest; size: number } | undefined> {
    try {
      await this.storage.stat(revisionLinkPath(repository, digest), signal);
      const { size } = await this.storage.stat(blobPath(digest), signal);
      if (size > maxManifestSize) return undefined;
      return { manifest: parseManifest(await this.storage.get(blobPath(digest), signal)), size };
    } catch (error) {
      // Whatever a client listed there: what is no manifest of this repository is no referrer.
      if (error instanceof PathNotFound || error instanceof OciError) return undefined;
      throw error;
    }
  }
}

/** What lists a manifest among the referrers of its subject, which may be missing. */
export function referrerEntry(repository: string, subject: Digest, referrer: Referrer): SmallObject {
  return {
    path: referrerPath(repository, subject, referrer.digest),
    content: Buffer.from(JSON.stringify(referrer)),
  };
}

export function referrerOf(digest: Digest, size: number, { mediaType, artifactType, annotations }: Manifest): Referrer {
  return {
    mediaType,
    digest,
    size,
    ...(artifactType ? { artifactType } : {}),
    ...(annotations ? { annotations } : {}),
  };
}

/** The answer's body: an image index. */
export function referrersIndex(referrers: Referrer[]): object {
  return { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: referrers };
}
