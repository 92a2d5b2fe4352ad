import type { Digest, Reference } from '@wharfie/shared';
import { OciError, algorithmOf, digestOf } from '@wharfie/shared';
import { LRUCache } from 'lru-cache';
import type { StorageDriver } from '../storage/storage-driver.js';
import { StorageUnavailable, failureAs, missingAs } from '../storage/storage-driver.js';
import type { Blobs } from './blobs.js';
import { blobPath, hasManifest, readLink, revisionLink, revisionLinkPath, revisionPath, tagLinks } from './layout.js';
import type { Manifest } from './manifest.js';
import { describeStored, parseManifest } from './manifest.js';
import { mapLimited } from './map-limited.js';
import type { Referrers } from './referrers.js';
import { referrerEntry, referrerOf } from './referrers.js';
import type { Tags } from './tags.js';

/** How often a manifest is written again that others delete at the same moment. */
const mostRepeats = 5;
/** Digests that a refusal names, which is enough to know what went wrong. */
const mostMissing = 100;
/** Bytes of manifests that are remembered. */
const memorySize = 16 * 1024 * 1024;

interface Known {
  content: Buffer;
  mediaType: string;
  subject?: Digest;
}

export interface StoredManifest {
  digest: Digest;
  mediaType: string;
  content: Buffer;
}

/** The bytes under a digest are others. To push the manifest again mends it. */
class DamagedManifest extends StorageUnavailable {}

/** Manifests of a repository: kept as the bytes that came, found by digest or by tag. */
export class Manifests {
  /** What is under a digest never changes; whether a repository has it is asked for every time. */
  readonly #known = new LRUCache<Digest, Known>({
    maxSize: memorySize,
    sizeCalculation: ({ content }) => content.length + 500,
  });

  constructor(
    private readonly storage: StorageDriver,
    private readonly blobs: Blobs,
    private readonly tags: Tags,
    private readonly referrers: Referrers,
  ) {}

  /** @throws OciError MANIFEST_UNKNOWN, also when there is no such repository */
  async get(repository: string, reference: Reference, signal: AbortSignal): Promise<StoredManifest> {
    const digest = reference.digest ?? (await this.tags.find(repository, reference.tag, signal));
    const found = digest && (await this.#find(repository, digest, signal));
    if (!found) throw unknown(repository, reference);
    return { digest, content: found.content, mediaType: found.mediaType };
  }

  /**
   * Stores a manifest and lets `reference`, and every one of `tags`, name it. All that it consists of must be in the
   * repository; its subject need not be.
   * @throws OciError MANIFEST_INVALID, DIGEST_INVALID, MANIFEST_BLOB_UNKNOWN (one detail a missing digest)
   */
  async put(
    repository: string,
    reference: Reference,
    tags: readonly string[],
    content: Buffer,
    contentType: string | undefined,
    signal: AbortSignal,
  ): Promise<{ digest: Digest; subject?: Digest }> {
    const digest = digestOf(content, reference.digest && algorithmOf(reference.digest));
    if (reference.digest && reference.digest !== digest) {
      throw new OciError('DIGEST_INVALID', `the manifest is ${digest}, not ${reference.digest}`, { digest });
    }
    const manifest = parseManifest(content, contentType);
    await this.#checkContents(repository, manifest, signal);

    const { subject } = manifest;
    const names = reference.tag === undefined ? tags : [reference.tag];
    const [first, ...others] = names.map((tag) => tagLinks(repository, tag, digest));
    const objects = [
      { path: blobPath(digest), content },
      revisionLink(repository, digest),
      ...(subject ? [referrerEntry(repository, subject, referrerOf(digest, content.length, manifest))] : []),
      ...(first ?? []),
    ];
    const write = async (): Promise<void> => {
      await this.storage.putAll(objects, signal);
      await mapLimited(others, (links) => this.storage.putAll(links, signal));
    };
    await write();
    for (let repeats = 0; !(await this.#stands(repository, names, digest, signal)); repeats += 1) {
      if (repeats === mostRepeats) throw deletedMeanwhile(digest);
      await write();
    }
    this.#known.set(digest, { content, ...describeStored(content) });
    return { digest, ...(subject ? { subject } : {}) };
  }

  /**
   * By tag: the tag alone. By digest: the manifest, every tag that names it, and its entry among referrers; what an
   * interrupted one has left of them, too.
   * @throws OciError MANIFEST_UNKNOWN
   */
  async delete(repository: string, reference: Reference, signal: AbortSignal): Promise<void> {
    if (reference.tag !== undefined) {
      await this.tags.delete(repository, reference.tag, signal);
      return;
    }
    const { digest } = reference;
    // Of a damaged one, which can be deleted all the same, nobody knows what it names as its subject.
    const found = await this.#find(repository, digest, signal).catch(failureAs(DamagedManifest, undefined));
    // To its end, also when the client leaves.
    const { signal: own } = new AbortController();
    if (found?.subject) await this.referrers.remove(repository, found.subject, digest, own);
    // distribution leaves the folder of what it deletes, which is empty then.
    const wasLinked = await this.#isLinked(repository, digest, own);
    // Before its tags: whoever pushes them at the same moment finds it gone, and writes all anew.
    let deleted = await this.storage
      .delete(revisionPath(repository, digest), own, [revisionLinkPath(repository, digest)])
      .then(() => wasLinked, missingAs(false));
    const isBack = () => this.#isLinked(repository, digest, own);
    await mapLimited(this.tags.all(repository, '', Infinity, own), async (tag) => {
      if (await this.tags.deleteFrom(repository, tag, digest, isBack, own)) deleted = true;
    });
    if (!deleted) throw unknown(repository, reference);
  }

  /**
   * Whether what was just stored is still there, under each of its tags unless that names another manifest by now: someone
   * may have deleted this one, or the one that a tag named before, at the same moment.
   */
  async #stands(repository: string, tags: readonly string[], digest: Digest, signal: AbortSignal): Promise<boolean> {
    let stands = tags.length === 0 || (await this.#isLinked(repository, digest, signal));
    await mapLimited(tags, async (tag) => {
      if ((await this.tags.find(repository, tag, signal)) === undefined) stands = false;
    });
    return stands;
  }

  /** Whether the repository links a manifest now: unlike a `stat`, this reads the newest copy. */
  #isLinked(repository: string, digest: Digest, signal: AbortSignal): Promise<boolean> {
    return this.storage.get(revisionLinkPath(repository, digest), signal).then(() => true, missingAs(false));
  }

  /** A manifest that this repository links. */
  async #find(repository: string, digest: Digest, signal: AbortSignal): Promise<Known | undefined> {
    const stored = await readLink(this.storage, revisionLinkPath(repository, digest), signal);
    return stored && this.#read(stored, signal);
  }

  async #read(digest: Digest, signal: AbortSignal): Promise<Known | undefined> {
    const known = this.#known.get(digest);
    if (known) return known;
    const content = await this.storage.get(blobPath(digest), signal).catch(missingAs(undefined));
    if (!content) return undefined;
    const actual = digestOf(content, algorithmOf(digest));
    if (actual !== digest) throw new DamagedManifest(`the manifest ${digest} is damaged: its bytes are ${actual}`);
    const found = { content, ...describeStored(content) };
    this.#known.set(digest, found);
    return found;
  }

  async #checkContents(repository: string, { blobs, children }: Manifest, signal: AbortSignal): Promise<void> {
    const missing: Digest[] = [];
    const check = async (digest: Digest, isThere: () => Promise<boolean>): Promise<void> => {
      if (missing.length < mostMissing && !(await isThere())) missing.push(digest);
    };
    const isBlob = async (digest: Digest) => (await this.blobs.held(repository, digest, signal)) !== undefined;
    const isManifest = (digest: Digest) => hasManifest(this.storage, repository, digest, signal);
    await mapLimited(blobs, (digest) => check(digest, () => isBlob(digest)));
    await mapLimited(children, (digest) => check(digest, async () => (await isManifest(digest)) || isBlob(digest)));
    if (missing.length > 0) {
      throw new OciError(
        'MANIFEST_BLOB_UNKNOWN',
        `the manifest names what is not in ${repository}; push that first`,
        missing.sort().map((digest) => ({ digest })),
      );
    }
  }
}

function deletedMeanwhile(digest: Digest): OciError {
  const message = `${digest} is being deleted at the same moment; try again`;
  return new OciError('UNAVAILABLE', message, undefined, { 'Retry-After': '5' });
}

function unknown(repository: string, reference: Reference): OciError {
  return new OciError(
    'MANIFEST_UNKNOWN',
    `${repository} has no manifest ${reference.tag ?? reference.digest}`,
    reference,
  );
}
