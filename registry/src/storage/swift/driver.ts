import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { freeBuffer } from '@wharfie/shared';
import type { ByteSource, ObjectInfo, Part, SmallObject, StorageDriver } from '../storage-driver.js';
import { PathNotFound } from '../storage-driver.js';
import type { SwiftClient } from './client.js';
import { taking } from '../intake.js';
import { dynamicSegments, openObject, staticSegments } from './large-object.js';
import { listNames, namesBelow } from './listing.js';
import { Names } from './names.js';
import { getWhole, inspect, putSmall, putStream, remove, removeAll, removeWhole } from './objects.js';
import { temporaryUrl } from './temp-url.js';
import { SwiftUploads, smallSize } from './uploads.js';

export interface SwiftLimits {
  /** Bytes of one object at most. */
  maxFileSize: number;
  /** Entries of a large object's manifest at most. */
  manifestEntries: number;
}

/** Bytes of a segment: a thousand of them make a large blob, and to lose one costs little. */
const segmentSize = 256 * 1024 * 1024;

/**
 * Objects in a container of OpenStack Swift, under the names that distribution 2.x gives them; what it wrote is read as it
 * is. Nothing is kept in a process. Small objects are read in their newest version, which matters for tags; large ones
 * never change.
 */
export class SwiftDriver implements StorageDriver {
  readonly #names: Names;
  readonly #uploads: SwiftUploads;

  constructor(
    private readonly client: SwiftClient,
    prefix: string,
    private readonly limits: SwiftLimits,
    /** Signs addresses for those who read blobs past us; none are given when undefined. */
    private readonly urlKey?: string,
  ) {
    this.#names = new Names(prefix);
    this.#uploads = new SwiftUploads(client, this.#names, {
      segmentSize: Math.min(segmentSize, limits.maxFileSize),
      manifestEntries: limits.manifestEntries,
    });
  }

  get(path: string, signal: AbortSignal): Promise<Buffer> {
    return named(path, () => getWhole(this.client, this.#names.object(path), signal));
  }

  put(path: string, content: Uint8Array, signal: AbortSignal): Promise<void> {
    return named(path, () => putSmall(this.client, this.#names.object(path), content, signal));
  }

  async putAll(objects: readonly SmallObject[], signal: AbortSignal): Promise<void> {
    for (const { path, content } of objects) await this.put(path, content, signal);
  }

  stat(path: string, signal: AbortSignal): Promise<ObjectInfo> {
    return named(path, async () => {
      const { size, dynamic } = await inspect(this.client, this.#names.object(path), signal);
      return { size: dynamic === '' ? size : (await dynamicSegments(this.client, dynamic, signal)).size };
    });
  }

  read(path: string, part: Part | undefined, signal: AbortSignal): Promise<Readable> {
    return named(path, async () => {
      const reading = await openObject(this.client, { name: this.#names.object(path) }, part, signal);
      const stream = Readable.from(reading.bytes, { objectMode: false, signal });
      return stream.once('close', () => {
        reading.close();
      });
    });
  }

  /** Not of what Swift itself reads slowly. */
  address(path: string, signal: AbortSignal): Promise<string | undefined> {
    return named(path, async () => {
      if (this.urlKey === undefined) return undefined;
      const name = this.#names.object(path);
      const { slow } = await inspect(this.client, name, signal);
      return slow ? undefined : temporaryUrl(await this.client.address(name, signal), this.urlKey, Date.now());
    });
  }

  /** In one piece when that is known to be short enough for Swift, else in several. */
  write(path: string, source: ByteSource, approve: () => void, signal: AbortSignal, length?: number): Promise<void> {
    return named(path, async () => {
      const name = this.#names.object(path);
      if (length === undefined || length > this.limits.maxFileSize) {
        await this.#writeLarge(path, source, approve, signal);
        return;
      }
      await taking(source, signal, async (intake) => {
        const check = (): void => {
          intake.check();
          approve();
        };
        const first = await intake.gather(smallSize);
        if (intake.ended) {
          check();
          await this.#uploads.putBlob(name, first, signal);
        } else if (await this.#uploads.isThere(name, length, signal, true)) {
          // To replace it would leave its segments behind. Its digest is checked all the same.
          for await (const chunk of intake.portion(Infinity)) freeBuffer(chunk);
          check();
        } else await putStream(this.client, name, { head: first, intake, most: Infinity }, check, signal);
      });
    });
  }

  list(directory: string, after: string, limit: number, signal: AbortSignal): Promise<string[]> {
    return named(directory, () => listNames(this.client, `${this.#names.object(directory)}/`, after, limit, signal));
  }

  delete(path: string, signal: AbortSignal, within: readonly string[] = [], only?: SmallObject): Promise<void> {
    return named(path, async () => {
      const name = this.#names.object(path);
      if (within.length > 0) {
        await this.#deleteTree(name, within, only, signal);
        return;
      }
      try {
        await this.#deleteObject(name, signal);
      } catch (error) {
        if (!(error instanceof PathNotFound)) throw error;
        await this.#deleteTree(name, [], only, signal);
      }
    });
  }

  beginUpload(upload: string, signal: AbortSignal): Promise<void> {
    return this.#uploads.begin(upload, signal);
  }

  async uploadSize(upload: string, signal: AbortSignal): Promise<number> {
    return (await this.#uploads.state(upload, {}, signal)).size;
  }

  appendUpload(upload: string, offset: number, source: ByteSource, signal: AbortSignal): Promise<number> {
    return this.#uploads.append(upload, offset, source, signal);
  }

  async readUpload(upload: string, part: Part, signal: AbortSignal): Promise<Readable> {
    return Readable.from(await this.#uploads.read(upload, part, signal), { objectMode: false, signal });
  }

  async commitUpload(
    upload: string,
    size: number,
    path: string,
    signal: AbortSignal,
    more: readonly SmallObject[] = [],
  ): Promise<void> {
    await this.#uploads.commit(upload, size, path, signal);
    await this.putAll(more, signal);
  }

  cancelUpload(upload: string, signal: AbortSignal): Promise<void> {
    return this.#uploads.cancel(upload, signal);
  }

  purge(before: Date, signal: AbortSignal): Promise<number> {
    return this.#uploads.purge(before.getTime(), signal);
  }

  close(): Promise<void> {
    return this.client.close();
  }

  async #writeLarge(path: string, source: ByteSource, approve: () => void, signal: AbortSignal): Promise<void> {
    const upload = randomUUID();
    await this.#uploads.begin(upload, signal);
    try {
      const size = await this.#uploads.append(upload, 0, source, signal);
      approve();
      await this.#uploads.commit(upload, size, path, signal);
    } catch (error) {
      await this.#uploads.cancel(upload, signal).catch(() => undefined);
      throw error;
    }
  }

  /** Removes an object and the segments that it consists of. @throws PathNotFound */
  async #deleteObject(name: string, signal: AbortSignal): Promise<void> {
    const { dynamic, static: isStatic } = await inspect(this.client, name, signal, true);
    const parts = dynamic === '' ? undefined : await dynamicSegments(this.client, dynamic, signal);
    const marks = isStatic ? this.#uploads.committedMarks(name, await staticSegments(this.client, name, signal)) : [];
    await (isStatic ? removeWhole : remove)(this.client, name, signal);
    await removeAll(this.client, marks, signal);
    if (!parts) return;
    const names = parts.segments.map((segment) => segment.name);
    await removeAll(this.client, names, signal, parts.container);
  }

  /** Removes what is listed below a name, and what is known to be, whether it is listed or not. @throws PathNotFound */
  async #deleteTree(
    name: string,
    within: readonly string[],
    only: SmallObject | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const listed = await namesBelow(this.client, `${name}/`, signal);
    const known = within.map((path) => this.#names.object(path));
    // Last, for Swift cannot compare and delete at one stroke.
    if (only && !(await this.get(only.path, signal)).equals(only.content)) throw new PathNotFound(name);
    const found = await removeAll(this.client, [...new Set([...known, ...listed])], signal);
    if (!found) throw new PathNotFound(name);
  }
}

/** Speaks of paths where Swift's part speaks of names in the container. */
async function named<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw error instanceof PathNotFound ? new PathNotFound(path) : error;
  }
}
