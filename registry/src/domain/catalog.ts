import { isRepositoryName, type Page } from '@wharfie/shared';
import type { StorageDriver } from '../storage/storage-driver.js';
import { manifestsPath, repositoriesPath } from './layout.js';
import { listAll } from './list-all.js';
import { concurrency, mapOrdered } from './map-limited.js';

/** Entries of a page when the client does not say, and the most that it gets. */
const defaultSize = 100;
const maxSize = 1000;
/** Names that one call to the storage fetches. */
const batch = 1000;

export interface CatalogPage {
  repositories: string[];
  more: boolean;
}

/** The repositories that hold or held a manifest, in byte order of their whole names. */
export class Catalog {
  constructor(private readonly storage: StorageDriver) {}

  async list({ n = defaultSize, last = '' }: Page, signal: AbortSignal): Promise<CatalogPage> {
    const size = Math.min(n, maxSize);
    const repositories: string[] = [];
    if (size > 0) {
      const folders = this.#below('', last, signal);
      const look = async (name: string) => (await this.#isRepository(name, signal)) && name;
      for await (const name of mapOrdered(folders, Math.min(size + 1, concurrency), look)) {
        if (name !== false && repositories.push(name) > size) break;
      }
    }
    return { repositories: repositories.slice(0, size), more: repositories.length > size };
  }

  /**
   * The folders whose path begins with `prefix` (empty, or ending in `/`), those after `last`. A folder counts twice:
   * as itself at `a`, and for what is below it at `a/`, because in byte order `a-b` and `a.b` stand between the two.
   */
  async *#below(prefix: string, last: string, signal: AbortSignal): AsyncGenerator<string> {
    const within = last.startsWith(prefix);
    if (!within && last > prefix) return;
    const [start = ''] = within ? last.slice(prefix.length).split('/') : [];
    /** What is below folders that were passed already, the next one first. */
    let below = foldersAround(start)
      .map((name) => `${prefix}${name}/`)
      .sort();
    const folder = prefix === '' ? repositoriesPath : `${repositoriesPath}/${prefix.slice(0, -1)}`;
    for await (const name of this.#folders(folder, start, signal)) {
      const path = prefix + name;
      for (; below[0] !== undefined && below[0] < path; below = below.slice(1))
        yield* this.#below(below[0], last, signal);
      if (path > last) yield path;
      below = [...below, `${path}/`].sort();
    }
    for (const next of below) yield* this.#below(next, last, signal);
  }

  async *#folders(folder: string, after: string, signal: AbortSignal): AsyncGenerator<string> {
    for await (const name of listAll(this.storage, folder, after, batch, signal))
      if (isRepositoryName(name)) yield name;
  }

  async #isRepository(name: string, signal: AbortSignal): Promise<boolean> {
    const [first] = await this.storage.list(manifestsPath(name), '', 1, signal);
    return first !== undefined;
  }
}

/**
 * The folder `name`, which need not be one, and those whose content comes after it in byte order although their own name comes
 * before: `a` for `a-b`, as what stands there comes before `/`.
 */
function foldersAround(name: string): string[] {
  const shorter = [...name.matchAll(/[^/-\u{10ffff}]/gu)].map(({ index }) => name.slice(0, index));
  return [...shorter, name].filter(isRepositoryName);
}
