import type { Digest, Page } from '@wharfie/shared';
import { OciError, algorithmOf, digestOf, mediaTypes, parseDigest } from '@wharfie/shared';
import { LRUCache } from 'lru-cache';
import type { SmallObject, StorageDriver } from '../storage/storage-driver.js';
import { PathNotFound, missingAs } from '../storage/storage-driver.js';
import { blobPath, hasManifest, referrerPath, referrersPath, referrersTag, revisionLinkPath } from './layout.js';
import { listAll } from './list-all.js';
import type { Manifest } from './manifest.js';
import { maxManifestSize, parseManifest } from './manifest.js';
import { concurrency, limited, mapOrdered } from './map-limited.js';
import type { Tags } from './tags.js';

/** Referrers that one page holds at most, and their bytes: clients refuse an index over 4 MiB. */
const maxEntries = 500;
const maxBytes = 3 * 1024 * 1024;
/** What one page looks at: others may be of another type, or no referrers. */
const mostLooked = 1000;
/** Pages that are put together at once: each may hold as many referrers as it reads at a time, of up to 4 MiB each. */
const pagesAtOnce = 4;
/** Manifests whose subject is remembered. */
const memory = 10_000;
/** Digests in the lists of clients that are remembered, over all lists: some ten megabytes. */
const rememberedListed = 100_000;

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
  /** The page after this one holds those after it; undefined when there may be none. */
  next?: Digest;
}

interface Candidate {
  digest: Digest;
  /** There is an entry of ours; else only a client says so. */
  isStored: boolean;
}

/**
 * Which manifests name another as their subject. Every referrer is one object below its subject, so that any number of
 * them can be pushed at the same time; nothing is read, changed and written.
 */
export class Referrers {
  /**
   * What manifests name as their subject that clients have listed, '' for nothing: to find that out, one of 4 MiB is parsed
   * for a quarter of a second.
   */
  readonly #subjects = new LRUCache<Digest, Digest | ''>({ max: memory });
  /** What lists of clients hold, in its order: one may have 4 MiB, too. */
  readonly #lists = new LRUCache<Digest, Digest[]>({
    maxSize: rememberedListed,
    sizeCalculation: (digests) => digests.length + 1,
  });
  readonly #limited = limited(pagesAtOnce);

  constructor(
    private readonly storage: StorageDriver,
    private readonly tags: Tags,
  ) {}

  async remove(repository: string, subject: Digest, referrer: Digest, signal: AbortSignal): Promise<void> {
    await this.storage.delete(referrerPath(repository, subject, referrer), signal).catch(missingAs(undefined));
  }

  /** The referrers of `subject` in the order of their digests, those of one artifact type when it is given. */
  list(
    repository: string,
    subject: Digest,
    artifactType: string | undefined,
    page: Page,
    signal: AbortSignal,
  ): Promise<ReferrerPage> {
    return this.#limited(() => this.#page(repository, subject, artifactType, page, signal));
  }

  async #page(
    repository: string,
    subject: Digest,
    artifactType: string | undefined,
    { n = maxEntries, last = '' }: Page,
    signal: AbortSignal,
  ): Promise<ReferrerPage> {
    const size = Math.min(n, maxEntries);
    const referrers: Referrer[] = [];
    if (size === 0) return { referrers };
    let [looked, bytes] = [0, 0];
    let before: Digest | undefined;
    const candidates = this.#candidates(repository, subject, last, signal);
    const read = async ({ digest, isStored }: Candidate) => {
      const referrer = isStored
        ? await this.#fromEntry(repository, subject, digest, signal)
        : await this.#fromManifest(repository, subject, digest, signal);
      return { digest, referrer };
    };
    for await (const { digest, referrer } of mapOrdered(candidates, Math.min(size + 1, concurrency), read)) {
      if (looked === mostLooked && before) return { referrers, next: before };
      looked += 1;
      if (referrer && (artifactType === undefined || referrer.artifactType === artifactType)) {
        let length = lengthOf(referrer);
        // A page for itself would be too long as well.
        if (length > maxBytes) {
          delete referrer.annotations;
          length = lengthOf(referrer);
        }
        bytes += length;
        if (before && (referrers.length >= size || (bytes > maxBytes && referrers.length > 0)))
          return { referrers, next: before };
        referrers.push(referrer);
      }
      before = digest;
    }
    return { referrers };
  }

  /** Digests after `last` that may be those of referrers, in their order. */
  async *#candidates(
    repository: string,
    subject: Digest,
    last: string,
    signal: AbortSignal,
  ): AsyncGenerator<Candidate> {
    const listed = (await this.#listedByClients(repository, subject, signal)).filter((digest) => digest > last);
    let index = 0;
    for await (const digest of this.#stored(repository, subject, last, signal)) {
      for (let other; (other = listed[index]) !== undefined && other <= digest; index += 1)
        if (other < digest) yield { digest: other, isStored: false };
      yield { digest, isStored: true };
    }
    for (const digest of listed.slice(index)) yield { digest, isStored: false };
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
    return content && (parseEntry(content, digest) ?? this.#fromManifest(repository, subject, digest, signal));
  }

  /**
   * What clients listed under the tag of the fallback schema while the registry had no such list: it must be shown too.
   * https://github.com/opencontainers/distribution-spec/blob/main/spec.md#enabling-the-referrers-api
   */
  async #listedByClients(repository: string, subject: Digest, signal: AbortSignal): Promise<Digest[]> {
    const index = await this.tags.find(repository, referrersTag(subject), signal);
    if (!index) return [];
    const known = this.#lists.get(index);
    if (known) return (await hasManifest(this.storage, repository, index, signal)) ? known : [];
    const found = await this.#manifest(repository, index, signal);
    const listed = found?.manifest?.children.sort() ?? [];
    if (found) this.#lists.set(index, listed);
    return listed;
  }

  async #fromManifest(
    repository: string,
    subject: Digest,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<Referrer | undefined> {
    if ((this.#subjects.get(digest) ?? subject) !== subject) return undefined;
    const found = await this.#manifest(repository, digest, signal);
    if (!found) return undefined;
    const { manifest, size } = found;
    this.#subjects.set(digest, manifest?.subject ?? '');
    return manifest?.subject === subject ? referrerOf(digest, size, manifest) : undefined;
  }

  /** Undamaged content of this repository, with what it is as a manifest, if it is one: a client may list anything. */
  async #manifest(
    repository: string,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<{ manifest: Manifest | undefined; size: number } | undefined> {
    try {
      await this.storage.stat(revisionLinkPath(repository, digest), signal);
      const { size } = await this.storage.stat(blobPath(digest), signal);
      if (size > maxManifestSize) return undefined;
      const content = await this.storage.get(blobPath(digest), signal);
      return digestOf(content, algorithmOf(digest)) === digest ? { manifest: parseIfValid(content), size } : undefined;
    } catch (error) {
      if (error instanceof PathNotFound) return undefined;
      throw error;
    }
  }
}

function lengthOf(referrer: Referrer): number {
  return Buffer.byteLength(JSON.stringify(referrer));
}

function parseIfValid(content: Buffer): Manifest | undefined {
  try {
    return parseManifest(content);
  } catch (error) {
    if (error instanceof OciError) return undefined;
    throw error;
  }
}

/** What an entry says, unless it is damaged. */
function parseEntry(content: Buffer, digest: Digest): Referrer | undefined {
  try {
    const referrer = JSON.parse(content.toString()) as Referrer | null;
    return referrer?.digest === digest ? referrer : undefined;
  } catch {
    return undefined;
  }
}

/** What lists a manifest among the referrers of its subject, which may be missing. */
export function referrerEntry(repository: string, subject: Digest, referrer: Referrer): SmallObject {
  return {
    path: referrerPath(repository, subject, referrer.digest),
    content: Buffer.from(JSON.stringify(referrer)),
  };
}

/** A manifest as lists of referrers describe it. https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers */
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
