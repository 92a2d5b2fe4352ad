import type { StorageDriver } from '../storage/storage-driver.js';

/**
 * Every name in `folder` after `after`, in byte order; `size` of them in one call to the storage, which may read the whole
 * folder for each: Infinity where all are wanted anyway.
 */
export async function* listAll(
  storage: StorageDriver,
  folder: string,
  after: string,
  size: number,
  signal: AbortSignal,
): AsyncGenerator<string> {
  for (let last = after; ;) {
    const names = await storage.list(folder, last, size, signal);
    yield* names;
    if (names.length < size) return;
    last = names.at(-1) ?? '';
  }
}
