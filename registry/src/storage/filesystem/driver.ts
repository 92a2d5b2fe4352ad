import { randomUUID } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { access, open, readdir, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { Threads, makeFolder } from '@wharfie/shared';
import type { Intake } from '../intake.js';
import { taking } from '../intake.js';
import { purgeEach } from '../purge-each.js';
import type {
  ByteSource,
  ObjectInfo,
  Part,
  SmallObject,
  StorageDriver,
  StoredFile,
  UploadDigests,
} from '../storage-driver.js';
import { InvalidOffset, PathNotFound, StorageUnavailable, checkPath } from '../storage-driver.js';
import type { Tasks } from './changes.js';
import { attempts, otherOffset, stateName, stateOf } from './claim.js';
import { hasCode } from './disk.js';
import { guarded, ifMissing, storing } from './failures.js';
import { Remembered, isOnThisMachine } from './remembered.js';
import { UncachedFile } from './uncached-file.js';
import { writeInto } from './write-file.js';

const readSize = 256 * 1024;
/** What is at most so long is written by the thread that gives it its name. */
const shortSize = 64 * 1024;
/** Tasks that the thread has begun at most, as they wait for the disk; and how long it stays idle, in milliseconds. */
const tasksAtOnce = 64;
const idleTimeout = 600_000;

type Work<Task extends keyof Tasks> = Parameters<Tasks[Task]>[0];
interface Order {
  task: keyof Tasks;
  work: Work<keyof Tasks>;
}
type Outcome<Task extends keyof Tasks> =
  | { done: Awaited<ReturnType<Tasks[Task]>>; failed?: never }
  | { done?: never; failed: { message: string; code: string | undefined; offset: number } };

/**
 * Objects as files below a root that any number of processes may share, on any POSIX file system.
 *
 * What is being written lies below `wharfie/`, on the same file system as the objects, and is renamed into place when it
 * is whole and on the disk. An upload is `wharfie/uploads/<id>/<state>.<file>/<file>`: the folder's name says how many bytes
 * count, of which file, and what their digest is where it is known (`<size>-<hex>`). Whoever appends renames that folder to
 * `<state>.<file>.<random>` and, when the bytes are on the disk, to the new state. A rename succeeds for one process only, so
 * this is the lock, and it needs no clean-up: after a crash, or when two append at once, the next writer takes the folder by
 * the same rename and goes on with a copy of the bytes that count.
 */
export class FilesystemDriver implements StorageDriver {
  readonly #root: string;
  readonly #temporary: string;
  readonly #uploads: string;
  readonly #remembered: Remembered;
  readonly #changes = new Threads<Order, unknown>({
    module: new URL('./changes.js', import.meta.url),
    most: 1,
    tasksAtOnce,
    idleTimeout,
  });

  private constructor(root: string, isLocal: boolean) {
    this.#root = root;
    this.#remembered = new Remembered(isLocal);
    this.#temporary = join(root, 'wharfie', 'tmp');
    this.#uploads = join(root, 'wharfie', 'uploads');
  }

  /**
   * Makes the root when it is missing and can be made.
   * @param isLocal whether all of it is on this machine, and so need not be asked for over a network
   * @throws what the file system says, also of folders that another user has filled
   */
  static async open(root: string, isLocal?: boolean): Promise<FilesystemDriver> {
    await makeFolder(root).catch(unlessReadOnly);
    const driver = new FilesystemDriver(root, isLocal ?? (await isOnThisMachine(root)));
    for (const folder of [driver.#temporary, driver.#uploads]) await makeFolder(folder).catch(unlessReadOnly);
    const filled = ['blobs', 'repositories'].map((name) => join(root, 'docker', 'registry', 'v2', name));
    for (const folder of [driver.#temporary, driver.#uploads, ...filled]) {
      await access(folder, constants.W_OK).catch((error: unknown) => {
        if (hasCode(error, 'EACCES', 'EPERM')) throw error;
      });
    }
    return driver;
  }

  get(path: string, signal: AbortSignal): Promise<Buffer> {
    return guarded(path, async () => {
      signal.throwIfAborted();
      return this.#remembered.read(this.#file(path), signal);
    });
  }

  put(path: string, content: Uint8Array, signal: AbortSignal): Promise<void> {
    return this.putAll([{ path, content }], signal);
  }

  putAll(objects: readonly SmallObject[], signal: AbortSignal): Promise<void> {
    return storing(async () => {
      signal.throwIfAborted();
      await this.#change('put', { objects: this.#placed(objects), temporary: this.#temporary });
      this.#expect(objects);
    });
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
    return storing(async () => {
      const target = this.#file(path);
      signal.throwIfAborted();
      await taking(source, signal, async (intake) => {
        const approved = (): void => {
          intake.check();
          approve();
        };
        const content = await intake.whole(shortSize);
        if (content === undefined) return this.#writeLong(target, intake, approved);
        approved();
        await this.#change('put', { objects: [{ target, content }], temporary: this.#temporary });
      });
    });
  }

  list(directory: string, after: string, limit: number, signal: AbortSignal): Promise<string[]> {
    return guarded(directory, async () => {
      signal.throwIfAborted();
      const names = await this.#remembered.names(this.#file(directory));
      const start = firstAfter(names, after);
      return names.slice(start, start + limit);
    });
  }

  delete(path: string, signal: AbortSignal, _within?: readonly string[], only?: SmallObject): Promise<void> {
    return guarded(path, async () => {
      signal.throwIfAborted();
      const [holding] = this.#placed(only ? [only] : []);
      await this.#change('remove', { path: this.#file(path), holding, temporary: this.#temporary });
    });
  }

  beginUpload(upload: string, signal: AbortSignal): Promise<void> {
    return storing(async () => {
      signal.throwIfAborted();
      await this.#change('begin', { upload: this.#upload(upload) });
    });
  }

  uploadSize(upload: string, signal: AbortSignal): Promise<number> {
    return guarded(upload, async () => {
      signal.throwIfAborted();
      return (await this.#state(upload)).size;
    });
  }

  hasUpload(upload: string, size: number, digest: string, signal: AbortSignal): Promise<boolean> {
    return guarded(upload, async () => {
      signal.throwIfAborted();
      return (await this.#state(upload)).state === stateName(size, digest);
    });
  }

  appendUpload(
    upload: string,
    offset: number,
    source: ByteSource,
    signal: AbortSignal,
    digests?: UploadDigests,
  ): Promise<number> {
    return guarded(upload, async () => {
      const at = { upload: this.#upload(upload), offset, digest: digests?.before, temporary: this.#temporary };
      return taking(source, signal, async (intake) => {
        const content = await intake.whole(shortSize);
        // Nothing came: another writer keeps the upload.
        if (content?.length === 0) intake.check();
        const size = content
          ? await this.#change('append', { ...at, content, after: digests?.after(offset + content.length) })
          : await this.#appendLong(at, intake, digests);
        intake.check();
        return size;
      });
    });
  }

  readUpload(upload: string, part: Part, signal: AbortSignal): Promise<Readable> {
    return guarded(upload, async () => {
      // When a writer has renamed the folder meanwhile, it has another name now, or is gone.
      for (let attempt = 0; attempt < attempts; attempt += 1) {
        const { path } = await this.#state(upload);
        const stream = await openFile(path, part, signal).catch(ifMissing(() => undefined));
        if (stream) return stream;
      }
      // Whoever committed this was killed between the file's rename and the folder's end.
      throw new PathNotFound(upload);
    });
  }

  commitUpload(
    upload: string,
    size: number,
    path: string,
    signal: AbortSignal,
    more: readonly SmallObject[] = [],
    digest?: string,
  ): Promise<void> {
    return guarded(upload, async () => {
      signal.throwIfAborted();
      await this.#change('commit', {
        upload: this.#upload(upload),
        size,
        digest,
        target: this.#file(path),
        more: this.#placed(more),
        temporary: this.#temporary,
      });
      this.#expect(more);
    });
  }

  cancelUpload(upload: string, signal: AbortSignal): Promise<void> {
    return guarded(upload, async () => {
      signal.throwIfAborted();
      await this.#change('cancel', { upload: this.#upload(upload), temporary: this.#temporary });
    });
  }

  async purge(before: Date, signal: AbortSignal): Promise<number> {
    const folders = [this.#uploads, this.#temporary];
    const paths = await Promise.all(
      // Missing where the file system was read-only from the start.
      folders.map(async (folder) => {
        const names = await readdir(folder).catch(ifMissing(() => [] as string[]));
        return names.map((name) => join(folder, name));
      }),
    );
    const purge = async (path: string): Promise<boolean> => {
      if ((await lastTouched(path)) >= before.getTime()) return false;
      if (dirname(path) === this.#uploads) {
        // One that was killed before its folder was in it, or after that was a blob, has none.
        await this.#change('cancel', { upload: path, temporary: this.#temporary }).catch(ifMissing(() => undefined));
      }
      await rm(path, { recursive: true, force: true });
      return true;
    };
    return purgeEach(paths.flat(), purge, signal);
  }

  close(): Promise<void> {
    return this.#changes.close();
  }

  async #writeLong(target: string, intake: Intake, approve: () => void): Promise<void> {
    const name = join(this.#temporary, randomUUID());
    try {
      await writeAll(UncachedFile.open(name, 'wx'), 0, intake);
      approve();
      await this.#change('place', { target, file: name, temporary: this.#temporary });
    } catch (error) {
      await rm(name, { force: true });
      throw error;
    }
  }

  async #appendLong(at: Work<'claim'>, intake: Intake, digests: UploadDigests | undefined): Promise<number> {
    const claimed = this.#change('claim', at);
    let written: number;
    try {
      const opening = claimed.then((file) => UncachedFile.open(file, 'r+'));
      written = await writeAll(opening, at.offset, intake);
    } catch (error) {
      await this.#change('abandon', { file: await claimed, offset: at.offset });
      // The claim has just found the file there: now only another writer can have taken it.
      throw hasCode(error, 'ENOENT') ? new InvalidOffset(at.offset) : error;
    }
    const size = at.offset + written;
    return this.#change('release', { file: await claimed, size, after: digests?.after(size) });
  }

  /** Has a thread change what lies below the root. @throws InvalidOffset, and what the file system says */
  async #change<Task extends keyof Tasks>(task: Task, work: Work<Task>): Promise<Awaited<ReturnType<Tasks[Task]>>> {
    const { done, failed } = (await this.#changes.run({ task, work })) as Outcome<Task>;
    if (!failed) return done;
    throw failed.code === otherOffset ? new InvalidOffset(failed.offset) : Object.assign(new Error(), failed);
  }

  /** Has small objects that were just written read without a thread. */
  #expect(objects: readonly SmallObject[]): void {
    for (const { path, content } of objects) this.#remembered.expect(this.#file(path), content);
  }

  #placed(objects: readonly SmallObject[]): { target: string; content: Uint8Array }[] {
    return objects.map(({ path, content }) => ({ target: this.#file(path), content }));
  }

  #file(path: string): string {
    checkPath(path);
    return join(this.#root, path);
  }

  #upload(upload: string): string {
    checkPath(upload);
    return join(this.#uploads, upload);
  }

  /** The file of an upload, and which bytes of it count. */
  async #state(upload: string): Promise<{ path: string; state: string; size: number }> {
    // A listing that meets a rename may hold neither the old name nor the new one.
    for (let attempt = 0; attempt < attempts; attempt += 1) {
      const [name] = await readdir(this.#upload(upload));
      if (name === undefined) continue;
      const { state, size, file } = stateOf(name);
      return { path: join(this.#upload(upload), name, file), state, size };
    }
    throw new PathNotFound(upload);
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

/** Writes all that comes into a file. When that cannot be opened, nobody waits for a client that is slow to send it. */
function writeAll(opening: Promise<UncachedFile>, offset: number, intake: Intake): Promise<number> {
  opening.catch((error: unknown) => {
    intake.cutOff(error);
  });
  return writeInto(opening, offset, intake.portion(Infinity));
}

/** Then nothing is pushed either: a file system that is read-only can still be pulled from. */
function unlessReadOnly(error: unknown): void {
  if (!hasCode(error, 'EROFS')) throw error;
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
