import { Readable } from 'node:stream';
import type { ByteSource, ObjectInfo, Part, SmallObject, StorageDriver } from './storage-driver.js';
import { InvalidOffset, PathNotFound, checkPath } from './storage-driver.js';

interface Upload {
  content: Buffer;
  touched: number;
  /** The writer whose bytes will count; a later one takes its place. */
  writer?: symbol;
}

/** Everything in this process's memory: for tests, and for trying things out. */
export class MemoryDriver implements StorageDriver {
  readonly #objects = new Map<string, Buffer>();
  readonly #uploads = new Map<string, Upload>();

  get(path: string, signal: AbortSignal): Promise<Buffer> {
    return attempt(signal, () => this.#object(path));
  }

  put(path: string, content: Uint8Array, signal: AbortSignal): Promise<void> {
    return this.putAll([{ path, content }], signal);
  }

  putAll(objects: readonly SmallObject[], signal: AbortSignal): Promise<void> {
    return attempt(signal, () => {
      for (const { path, content } of objects) this.#set(path, Buffer.from(content));
    });
  }

  stat(path: string, signal: AbortSignal): Promise<ObjectInfo> {
    return attempt(signal, () => ({ size: this.#object(path).length }));
  }

  read(path: string, part: Part | undefined, signal: AbortSignal): Promise<Readable> {
    return attempt(signal, () => {
      const content = this.#object(path);
      return stream(part ? content.subarray(part.start, part.start + part.length) : content, signal);
    });
  }

  async write(path: string, source: ByteSource, approve: () => void, signal: AbortSignal): Promise<void> {
    checkPath(path);
    const chunks: Uint8Array[] = [];
    for await (const chunk of source) chunks.push(chunk);
    signal.throwIfAborted();
    approve();
    this.#set(path, Buffer.concat(chunks));
  }

  list(directory: string, after: string, limit: number, signal: AbortSignal): Promise<string[]> {
    return attempt(signal, () => {
      const prefix = `${directory}/`;
      const names = new Set<string>();
      for (const path of this.#objects.keys()) {
        if (path.startsWith(prefix)) names.add(path.slice(prefix.length).split('/', 1)[0] ?? '');
      }
      return [...names]
        .filter((name) => name > after)
        .sort()
        .slice(0, limit);
    });
  }

  delete(path: string, signal: AbortSignal, _within?: readonly string[], only?: SmallObject): Promise<void> {
    return attempt(signal, () => {
      checkPath(path);
      if (only && this.#objects.get(only.path)?.equals(only.content) !== true) throw new PathNotFound(path);
      const doomed = [...this.#objects.keys()].filter((key) => key === path || key.startsWith(`${path}/`));
      if (doomed.length === 0) throw new PathNotFound(path);
      for (const key of doomed) this.#objects.delete(key);
    });
  }

  beginUpload(upload: string, signal: AbortSignal): Promise<void> {
    return attempt(signal, () => {
      this.#uploads.set(upload, { content: Buffer.alloc(0), touched: Date.now() });
    });
  }

  uploadSize(upload: string, signal: AbortSignal): Promise<number> {
    return attempt(signal, () => this.#upload(upload).content.length);
  }

  async appendUpload(upload: string, offset: number, source: ByteSource, signal: AbortSignal): Promise<number> {
    signal.throwIfAborted();
    const state = this.#upload(upload);
    const writer = Symbol();
    const chunks: Uint8Array[] = [];
    const check = (): void => {
      if (state.content.length !== offset) throw new InvalidOffset(offset);
    };
    const take = (): void => {
      check();
      state.writer = writer;
    };
    const keep = (): number => {
      if (this.#uploads.get(upload) !== state) throw new PathNotFound(upload);
      if (state.writer !== writer) throw new InvalidOffset(offset);
      delete state.writer;
      state.content = Buffer.concat([state.content, ...chunks]);
      state.touched = Date.now();
      return state.content.length;
    };
    check();
    try {
      for await (const chunk of source) {
        if (chunks.length === 0) take();
        chunks.push(Buffer.from(chunk));
      }
      if (chunks.length === 0) take();
    } catch (error) {
      if (chunks.length > 0) keep();
      throw error;
    }
    return keep();
  }

  readUpload(upload: string, { start, length }: Part, signal: AbortSignal): Promise<Readable> {
    return attempt(signal, () => stream(this.#upload(upload).content.subarray(start, start + length), signal));
  }

  async commitUpload(
    upload: string,
    size: number,
    path: string,
    signal: AbortSignal,
    more: readonly SmallObject[] = [],
  ): Promise<void> {
    await attempt(signal, () => {
      const { content, writer } = this.#upload(upload);
      if (content.length !== size || writer) throw new InvalidOffset(size);
      this.#set(path, content);
      this.#uploads.delete(upload);
    });
    await this.putAll(more, signal);
  }

  cancelUpload(upload: string, signal: AbortSignal): Promise<void> {
    return attempt(signal, () => {
      this.#upload(upload);
      this.#uploads.delete(upload);
    });
  }

  purge(before: Date, signal: AbortSignal): Promise<number> {
    return attempt(signal, () => {
      const abandoned = [...this.#uploads].filter(([, { touched }]) => touched < before.getTime());
      for (const [upload] of abandoned) this.#uploads.delete(upload);
      return abandoned.length;
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #object(path: string): Buffer {
    checkPath(path);
    const content = this.#objects.get(path);
    if (!content) throw new PathNotFound(path);
    return content;
  }

  #set(path: string, content: Buffer): void {
    checkPath(path);
    this.#objects.set(path, content);
  }

  #upload(upload: string): Upload {
    const state = this.#uploads.get(upload);
    if (!state) throw new PathNotFound(upload);
    return state;
  }
}

/** Runs `action` as the asynchronous call that it would be elsewhere. */
async function attempt<T>(signal: AbortSignal, action: () => T): Promise<T> {
  await Promise.resolve();
  signal.throwIfAborted();
  return action();
}

/** A copy: whoever reads may free what it is given. */
function stream(content: Buffer, signal: AbortSignal): Readable {
  return Readable.from(content.length > 0 ? [Buffer.from(content)] : [], { objectMode: false, signal });
}
