import { randomUUID } from 'node:crypto';
import { createReadStream, statSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { copyFile, mkdir, open, readFile, readdir, rename, rm, rmdir, stat, truncate } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { LRUCache } from 'lru-cache';
import type { ByteSource, ObjectInfo, Part, StorageDriver, StoredFile } from './storage-driver.js';
import { InvalidOffset, PathNotFound, StorageFull, StorageUnavailable, checkPath } from './storage-driver.js';
import { Interrupted, writeInto } from './write-file.js';

const readSize = 256 * 1024;
/** Names of listed directories that are remembered, over all directories. */
const rememberedNames = 400_000;
/** Files of at most so many bytes are remembered, and how many of them: a megabyte or two. */
const smallSize = 256;
const smallFiles = 4_000;
/** How often a name is looked up again that another process renames all the time. */
const attempts = 100;
/** How long a file or directory must have been at rest to be remembered: above any file system's time stamps. */
const restMilliseconds = 1000;

/**
 * Objects as files below a root that any number of processes may share, on any POSIX file system.
 *
 * What is being written lies below `wharfie/`, on the same file system as the objects, and is renamed into place when it
 * is whole and on the disk. An upload is `wharfie/uploads/<id>/<size>/data`: the folder's name says how many bytes count.
 * Whoever appends renames that folder to `<size>.<random>` and, when the bytes are on the disk, to the new size. A rename
 * succeeds for one process only, so this is the lock, and it needs no clean-up: after a crash, or when two append at
 * once, the next writer takes the folder by the same rename and goes on with a copy of the bytes that count.
 */
export class FilesystemDriver implements StorageDriver {
  readonly #root: string;
  readonly #temporary: string;
  readonly #uploads: string;
  readonly #listings = new LRUCache<string, { modified: bigint; names: string[] }>({
    maxSize: rememberedNames,
    sizeCalculation: ({ names }) => names.length + 1,
  });
  /** Links, mostly. Objects are replaced by a rename, so that other content is another file, or one that changed later. */
  readonly #small = new LRUCache<string, { changed: bigint; inode: bigint; content: Buffer }>({ max: smallFiles });

  private constructor(root: string) {
    this.#root = root;
    this.#temporary = join(root, 'wharfie', 'tmp');
    this.#uploads = join(root, 'wharfie', 'uploads');
  }

  /** Makes the root when it is missing. */
  static async open(root: string): Promise<FilesystemDriver> {
    const driver = new FilesystemDriver(root);
    await mkdir(driver.#temporary, { recursive: true });
    await mkdir(driver.#uploads, { recursive: true });
    return driver;
  }

  get(path: string, signal: AbortSignal): Promise<Buffer> {
    return guarded(path, async () => {
      signal.throwIfAborted();
      const file = this.#file(path);
      const known = this.#small.get(file);
      // On the event loop, as what was read before is in the kernel's memory: a thread would cost ten times the call.
      const now = known && statSync(file, { bigint: true, throwIfNoEntry: false });
      if (known && now?.ctimeNs === known.changed && now.ino === known.inode) return known.content;
      const { ctimeNs: changed, ino: inode } = await stat(file, { bigint: true });
      const content = await readFile(file, { signal });
      if (content.length <= smallSize && atRest(changed)) this.#small.set(file, { changed, inode, content });
      return content;
    });
  }

  async put(path: string, content: Uint8Array, signal: AbortSignal): Promise<void> {
    await this.write(path, once(content), () => undefined, signal);
  }

  stat(path: string, signal: AbortSignal): Promise<ObjectInfo> {
    return guarded(path, async () => {
      signal.throwIfAborted();
      const info = await stat(this.#file(path));
      if (!info.isFile()) throw new PathNotFound(path);
      return { size: info.size };
    });
  }

  read(path: string, part: Part | undefined, signal: AbortSignal): Promise<Readable> {
    return guarded(path, () => openFile(this.#file(path), part, signal));
  }

  file(path: string, signal: AbortSignal): Promise<StoredFile> {
    return guarded(path, async () => {
      signal.throwIfAborted();
      const file = resolve(this.#file(path));
      const { dev, ino, size } = await stat(file, { bigint: true });
      return { path: file, device: String(dev), inode: String(ino), size: Number(size) };
    });
  }

  write(path: string, source: ByteSource, approve: () => void, signal: AbortSignal): Promise<void> {
    return guarded(path, async () => {
      const target = this.#file(path);
      const temporary = join(this.#temporary, randomUUID());
      try {
        await using(await open(temporary, 'wx', 0o644), async (file) => {
          await writeInto(file, 0, source, signal);
          approve();
          await file.datasync();
        });
        signal.throwIfAborted();
        await this.#place(temporary, target);
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
    });
  }

  list(directory: string, after: string, limit: number, signal: AbortSignal): Promise<string[]> {
    return guarded(directory, async () => {
      signal.throwIfAborted();
      const names = await this.#names(this.#file(directory));
      const start = firstAfter(names, after);
      return names.slice(start, start + limit);
    });
  }

  delete(path: string, signal: AbortSignal): Promise<void> {
    return guarded(path, async () => {
      signal.throwIfAborted();
      await this.#remove(this.#file(path));
    });
  }

  beginUpload(upload: string, signal: AbortSignal): Promise<void> {
    return guarded(upload, async () => {
      signal.throwIfAborted();
      const stage = join(this.#temporary, randomUUID());
      await mkdir(join(stage, '0'), { recursive: true });
      await (await open(join(stage, '0', 'data'), 'wx', 0o644)).close();
      await rename(stage, this.#upload(upload));
    });
  }

  uploadSize(upload: string, signal: AbortSignal): Promise<number> {
    return guarded(upload, async () => {
      signal.throwIfAborted();
      return (await this.#state(upload)).size;
    });
  }

  appendUpload(upload: string, offset: number, source: ByteSource, signal: AbortSignal): Promise<number> {
    return guarded(upload, async () => {
      const claim = await this.#claim(upload, offset);
      const data = join(claim, 'data');
      let size = offset;
      try {
        size += await using(await open(data, 'r+').catch(lost(claim, offset)), async (file) => {
          await file.truncate(offset);
          return writeInto(file, offset, source, signal, true);
        });
      } catch (error) {
        const kept = error instanceof Interrupted ? offset + error.written : offset;
        // On a full disk, what does not count gives its room back at once, and not when the upload is purged.
        if (kept === offset) await truncate(data, offset).catch(() => undefined);
        await this.#release(claim, upload, kept).catch(() => undefined);
        throw error instanceof Interrupted ? error.cause : error;
      }
      await this.#release(claim, upload, size).catch(() => {
        throw new InvalidOffset(offset);
      });
      return size;
    });
  }

  readUpload(upload: string, part: Part, signal: AbortSignal): Promise<Readable> {
    return guarded(upload, async () => {
      // When a writer has renamed the folder meanwhile, it has another name now, or is gone.
      for (let attempt = 0; attempt < attempts; attempt += 1) {
        const { name } = await this.#state(upload);
        const file = join(this.#upload(upload), name, 'data');
        const stream = await openFile(file, part, signal).catch(ifMissing(() => undefined));
        if (stream) return stream;
      }
      // Whoever committed this was killed between the file's rename and the folder's end.
      throw new PathNotFound(upload);
    });
  }

  commitUpload(upload: string, size: number, path: string, signal: AbortSignal): Promise<void> {
    return guarded(upload, async () => {
      const target = this.#file(path);
      signal.throwIfAborted();
      const claim = await this.#claim(upload, size);
      const file = join(claim, 'data');
      // After a power cut the folder's name can be newer than its file. The bytes themselves were synced when appended.
      if ((await stat(file)).size !== size) throw new InvalidOffset(size);
      await this.#place(file, target);
      await this.#clear(claim);
    });
  }

  cancelUpload(upload: string, signal: AbortSignal): Promise<void> {
    return guarded(upload, async () => {
      signal.throwIfAborted();
      await this.#remove(this.#upload(upload));
    });
  }

  async purge(before: Date, signal: AbortSignal): Promise<number> {
    let purged = 0;
    for (const folder of [this.#uploads, this.#temporary]) {
      for (const name of await readdir(folder)) {
        signal.throwIfAborted();
        const path = join(folder, name);
        if ((await lastTouched(path)) >= before.getTime()) continue;
        await rm(path, { recursive: true, force: true });
        purged += 1;
      }
    }
    return purged;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #file(path: string): string {
    checkPath(path);
    return join(this.#root, path);
  }

  #upload(upload: string): string {
    checkPath(upload);
    return join(this.#uploads, upload);
  }

  /** Removes the folders of an upload that has ended. Whatever else lies there is what another writer left. */
  async #clear(claim: string): Promise<void> {
    try {
      await rmdir(claim);
      await rmdir(dirname(claim));
    } catch {
      await rm(dirname(claim), { recursive: true, force: true });
    }
  }

  /** Removes a file or a tree at one stroke: it is gone before its parts are. */
  async #remove(path: string): Promise<void> {
    const doomed = join(this.#temporary, randomUUID());
    await rename(path, doomed);
    await syncFolder(dirname(path));
    await rm(doomed, { recursive: true, force: true });
  }

  /**
   * Renames a finished file to its place. Folders that are missing are made around it first and appear together with it,
   * so that a crash never leaves an empty one (which would be a tag without a manifest). Everything is on the disk
   * afterwards: the file, then the new folders, then the one that they are in.
   */
  async #place(file: string, target: string): Promise<void> {
    for (;;) {
      const missing = await rename(file, target).then(
        () => undefined,
        ifMissing(() => topmostMissing(dirname(target))),
      );
      if (missing === undefined) {
        await syncFolder(dirname(target));
        return;
      }
      const stage = join(this.#temporary, randomUUID());
      const inside = join(stage, relative(missing, target));
      await mkdir(dirname(inside), { recursive: true });
      await rename(file, inside);
      // In whichever order, as nothing of it can be seen: at once, so that the file system does it in one commit.
      await Promise.all(foldersBetween(stage, dirname(inside)).map(syncFolder));
      try {
        await rename(stage, missing);
        await syncFolder(dirname(missing));
        return;
      } catch (error) {
        // Another process has made the folder meanwhile: take the file back and put it there.
        if (!hasCode(error, 'ENOTEMPTY', 'EEXIST', 'ENOENT')) throw error;
        await rename(inside, file);
        await rm(stage, { recursive: true, force: true });
      }
    }
  }

  /** The one folder of an upload: its name, and the size that counts. */
  async #state(upload: string): Promise<{ name: string; size: number }> {
    // A listing that meets a rename may hold neither the old name nor the new one.
    for (let attempt = 0; attempt < attempts; attempt += 1) {
      const [name] = await readdir(this.#upload(upload));
      if (name !== undefined) return { name, size: Number(name.split('.', 1)[0]) };
    }
    throw new PathNotFound(upload);
  }

  /** Takes an upload for this call, from nobody or from another writer, and returns the folder that is now ours. */
  async #claim(upload: string, offset: number): Promise<string> {
    const { name, size } = await this.#state(upload);
    if (size !== offset) throw new InvalidOffset(offset);
    const folder = this.#upload(upload);
    const claim = join(folder, `${offset}.${randomUUID()}`);
    await rename(join(folder, name), claim).catch(lost(claim, offset));
    if (name !== String(offset)) {
      // Another writer may still hold the file open: leave it to that one, and go on with a copy of what counts.
      const data = join(claim, 'data');
      await copyFile(data, `${data}.copy`).catch(lost(claim, offset));
      await truncate(`${data}.copy`, offset).catch(lost(claim, offset));
      await rename(`${data}.copy`, data).catch(lost(claim, offset));
    }
    return claim;
  }

  /** Gives a claimed upload back with the size that now counts; fails when another writer has taken it. */
  async #release(claim: string, upload: string, size: number): Promise<void> {
    await rename(claim, join(this.#upload(upload), String(size)));
  }

  /** The sorted names of a directory, remembered for as long as its time of change stays the same. */
  async #names(folder: string): Promise<string[]> {
    const info = await stat(folder, { bigint: true }).catch(ifMissing(() => undefined));
    if (!info?.isDirectory()) return [];
    const known = this.#listings.get(folder);
    if (known?.modified === info.mtimeNs) return known.names;
    const names = (await readdir(folder).catch(ifMissing(() => [] as string[]))).sort();
    if (atRest(info.mtimeNs)) this.#listings.set(folder, { modified: info.mtimeNs, names });
    return names;
  }
}

async function openFile(file: string, part: Part | undefined, signal: AbortSignal): Promise<Readable> {
  const handle = await open(file, 'r');
  const info = await handle.stat();
  const { start, length } = part ?? { start: 0, length: info.size };
  if (info.isFile() && length > 0 && start + length <= info.size) {
    return createReadStream(file, { fd: handle, highWaterMark: readSize, signal, start, end: start + length - 1 });
  }
  await handle.close();
  if (!info.isFile()) throw new PathNotFound(file);
  if (length > 0) throw new StorageUnavailable(`${file} has ${info.size} bytes where ${start + length} should be`);
  return Readable.from([]);
}

async function using<T>(file: FileHandle, action: (file: FileHandle) => Promise<T>): Promise<T> {
  try {
    return await action(file);
  } finally {
    await file.close();
  }
}

// eslint-disable-next-line @typescript-eslint/require-await -- an async source of one piece
async function* once(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content;
}

async function syncFolder(folder: string): Promise<void> {
  await using(await open(folder, 'r'), (handle) => handle.sync());
}

/** `outer`, `inner`, and what lies between. */
function foldersBetween(outer: string, inner: string): string[] {
  return inner === outer ? [outer] : [inner, ...foldersBetween(outer, dirname(inner))];
}

async function topmostMissing(folder: string): Promise<string> {
  const parent = dirname(folder);
  const there = await stat(parent).catch(ifMissing(() => undefined));
  return there ? folder : topmostMissing(parent);
}

/** When anything of a file or tree was last written, in milliseconds; a tree that vanishes meanwhile counts as new. */
async function lastTouched(path: string): Promise<number> {
  const info = await stat(path).catch(ifMissing(() => undefined));
  if (!info) return Infinity;
  if (!info.isDirectory()) return info.mtimeMs;
  const names = await readdir(path).catch(ifMissing(() => [] as string[]));
  const times = await Promise.all(names.map((name) => lastTouched(join(path, name))));
  return Math.max(info.mtimeMs, ...times);
}

function atRest(changed: bigint): boolean {
  return Date.now() - Number(changed / 1_000_000n) > restMilliseconds;
}

/** Index of the first name after `last` in a sorted list. */
function firstAfter(names: readonly string[], last: string): number {
  let [low, high] = [0, names.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((names[middle] ?? '') > last) high = middle;
    else low = middle + 1;
  }
  return low;
}

function hasCode(error: unknown, ...codes: string[]): boolean {
  return codes.includes((error as NodeJS.ErrnoException | undefined)?.code ?? '');
}

/** A missing file is an answer, not a failure. */
function ifMissing<T>(answer: () => T): (error: unknown) => T {
  return (error) => {
    if (!hasCode(error, 'ENOENT', 'ENOTDIR')) throw error;
    return answer();
  };
}

/** Something of our claim is missing: another writer has taken it, or only its file has gone (see `readUpload`). */
function lost(claim: string, offset: number): (error: unknown) => Promise<never> {
  return async (error) => {
    if (!hasCode(error, 'ENOENT')) throw error;
    const isOurs = await stat(claim).catch(ifMissing(() => undefined));
    throw isOurs ? new PathNotFound(claim) : new InvalidOffset(offset);
  };
}

/** Runs a file operation and speaks of its failure in the driver's words. */
async function guarded<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'EISDIR')) throw new PathNotFound(path);
    if (hasCode(error, 'ENOSPC', 'EDQUOT')) throw new StorageFull('the storage has no room left', { cause: error });
    if (hasCode(error, 'EACCES', 'EPERM', 'EROFS', 'EIO', 'EMFILE', 'ENFILE', 'ESTALE')) {
      throw new StorageUnavailable(`the storage failed: ${(error as Error).message}`, { cause: error });
    }
    throw error;
  }
}
