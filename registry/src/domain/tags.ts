import type { Digest, Page } from '@wharfie/shared';
import { OciError, isTag } from '@wharfie/shared';
import type { SmallObject, StorageDriver } from '../storage/storage-driver.js';
import { missingAs } from '../storage/storage-driver.js';
import { manifestsPath, parseLink, readLink, tagLinkPath, tagLinks, tagPath, tagsPath } from './layout.js';
import { listAll } from './list-all.js';

export interface TagPage {
  tags: string[];
  /** Whether there are tags after these. */
  more: boolean;
}

/** Names for manifests. A tag is one small object; the last writer wins. */
export class Tags {
  constructor(private readonly storage: StorageDriver) {}

  /** The manifest that a tag names now, or undefined. */
  find(repository: string, tag: string, signal: AbortSignal): Promise<Digest | undefined> {
    return readLink(this.storage, tagLinkPath(repository, tag), signal);
  }

  /** Removes the tag alone. @throws OciError MANIFEST_UNKNOWN */
  async delete(repository: string, tag: string, signal: AbortSignal): Promise<void> {
    const digest = await this.find(repository, tag, signal);
    if (!(await this.#remove(repository, tag, digest, signal)))
      throw new OciError('MANIFEST_UNKNOWN', `${repository} has no tag ${tag}`, { tag });
  }

  /**
   * Removes the tag if it names `digest`; returns whether it did.
   * @param isBack whether that manifest has been pushed again, and perhaps with this tag
   */
  async deleteFrom(
    repository: string,
    tag: string,
    digest: Digest,
    isBack: () => Promise<boolean>,
    signal: AbortSignal,
  ): Promise<boolean> {
    const path = tagLinkPath(repository, tag);
    const content = await this.storage.get(path, signal).catch(missingAs(undefined));
    if (!content || parseLink(content) !== digest || (await isBack())) return false;
    return this.#remove(repository, tag, digest, signal, { path, content });
  }

  /** Removes a tag that names `digest`, as far as is known; returns whether it was there. */
  #remove(
    repository: string,
    tag: string,
    digest: Digest | undefined,
    signal: AbortSignal,
    only?: SmallObject,
  ): Promise<boolean> {
    const links = digest ? tagLinks(repository, tag, digest).map(({ path }) => path) : [];
    return this.storage.delete(tagPath(repository, tag), signal, links, only).then(() => true, missingAs(false));
  }

  /**
   * Tags after `last` in byte order: `n` of them, or all.
   * @throws OciError NAME_UNKNOWN when nothing was ever pushed to the repository
   */
  async list(repository: string, { n, last = '' }: Page, signal: AbortSignal): Promise<TagPage> {
    const tags: string[] = [];
    const wanted = n === undefined ? Infinity : n + 1;
    for await (const tag of this.all(repository, last, wanted, signal)) {
      tags.push(tag);
      if (tags.length >= wanted) break;
    }
    if (tags.length === 0) await this.#checkRepository(repository, signal);
    return n === undefined || tags.length <= n ? { tags, more: false } : { tags: tags.slice(0, n), more: n > 0 };
  }

  /** Every tag after `after`, in byte order; `size` of them in one call to the storage, or all. */
  async *all(repository: string, after: string, size: number, signal: AbortSignal): AsyncGenerator<string> {
    for await (const name of listAll(this.storage, tagsPath(repository), after, size, signal))
      if (isTag(name)) yield name;
  }

  async #checkRepository(repository: string, signal: AbortSignal): Promise<void> {
    const folders = await this.storage.list(manifestsPath(repository), '', 1, signal);
    if (folders.length === 0)
      throw new OciError('NAME_UNKNOWN', `there is no repository ${repository}`, { name: repository });
  }
}
