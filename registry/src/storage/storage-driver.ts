import type { Readable } from 'node:stream';

/** A part of an object: `length` bytes from `start`. */
export interface Part {
  start: number;
  length: number;
}

/** What fits into memory: a link, a manifest. */
export interface SmallObject {
  path: string;
  content: Uint8Array;
}

export interface ObjectInfo {
  /** In bytes. */
  size: number;
}

/** Digests of an upload's bytes, by which a storage in which a power cut may undo an append knows one history from another. */
export interface UploadDigests {
  /** Of those up to the offset, where it is known. */
  before: string | undefined;
  /** Of all, when the source is taken and the upload is so long; undefined when that is not known. */
  after: (size: number) => string | undefined;
}

/** A file that is an object. Objects are replaced by a rename, so that other content is another file. */
export interface StoredFile extends ObjectInfo {
  path: string;
  device: string;
  inode: string;
}

/** What is written piece by piece: a request's body, or any other source of bytes. Whoever takes a piece may free it. */
export type ByteSource = AsyncIterable<Uint8Array>;

/**
 * Bytes under paths: all that the domain asks of a storage. Paths are relative, of plain components joined by `/`.
 *
 * - Objects appear and are replaced as a whole: a reader sees the old content or the new, never a mixture or a part.
 * - What a call has acknowledged survives the death of this process at once, and objects (not unfinished uploads) the
 *   machine's too.
 * - Any number of processes may use one storage at the same time; nothing is kept in a process.
 *
 * Beside what a method names, it may throw StorageUnavailable, StorageFull and InvalidPath, or the signal's reason.
 */
export interface StorageDriver {
  /** The whole of a small object. @throws PathNotFound */
  get(path: string, signal: AbortSignal): Promise<Buffer>;

  /** Writes a small object, or replaces it. */
  put(path: string, content: Uint8Array, signal: AbortSignal): Promise<void>;

  /** Writes several in this order: whoever sees one of them, also after a crash, finds those before it. */
  putAll(objects: readonly SmallObject[], signal: AbortSignal): Promise<void>;

  /** @throws PathNotFound */
  stat(path: string, signal: AbortSignal): Promise<ObjectInfo>;

  /**
   * The bytes of an object, or of a part that lies within it. The stream fails when bytes are missing; whoever opens it
   * reads it to its end or destroys it, and may free its pieces.
   * @throws PathNotFound
   */
  read(path: string, part: Part | undefined, signal: AbortSignal): Promise<Readable>;

  /**
   * An address at which whoever has it can GET the object for some minutes, past this process; undefined where the storage
   * has none, for this object or at all.
   * @throws PathNotFound
   */
  address?(path: string, signal: AbortSignal): Promise<string | undefined>;

  /**
   * The object as a file of this machine, where it is one: its path and what `stat` says of it.
   * @throws PathNotFound
   */
  file?(path: string, signal: AbortSignal): Promise<StoredFile>;

  /**
   * Streams an object to its path. When all bytes of `source` are taken, `approve` is called: the object becomes visible
   * only after it returned; when it (or the source) throws, nothing has happened.
   * @param length of the source, when it is known before
   */
  write(path: string, source: ByteSource, approve: () => void, signal: AbortSignal, length?: number): Promise<void>;

  /**
   * The names directly below a directory, those after `after`, in byte order, at most `limit`, which may be Infinity. A
   * page costs a page, unless the directory has just changed. An empty list when there is no such directory. A listing may
   * lag behind on some storages: nothing's correctness may rest on it.
   */
  list(directory: string, after: string, limit: number, signal: AbortSignal): Promise<string[]>;

  /**
   * Removes an object, or everything below a directory.
   * @param within objects below it that may be there though a listing does not show them yet; then it is a directory
   * @param only an object below it: when that holds anything else now, nothing is removed
   * @throws PathNotFound
   */
  delete(path: string, signal: AbortSignal, within?: readonly string[], only?: SmallObject): Promise<void>;

  /** Begins an upload. Its name is one component; no two begin with the same. */
  beginUpload(upload: string, signal: AbortSignal): Promise<void>;

  /** How many bytes of an upload are kept. @throws PathNotFound */
  uploadSize(upload: string, signal: AbortSignal): Promise<number>;

  /**
   * Appends to an upload and returns its new size. `offset`, here and in what follows, is a size that this or another
   * process has returned before. Of several writers at one offset exactly one succeeds, and their bytes
   * never mix. When the source fails, what came before is kept and the failure passed on; when that
   * was nothing, no other writer hears of it.
   * @param digests by which a storage with `hasUpload` sees that these are the bytes
   * @throws PathNotFound
   * @throws InvalidOffset when the upload is not `offset` bytes long, has other bytes, or another writer was faster
   */
  appendUpload(
    upload: string,
    offset: number,
    source: ByteSource,
    signal: AbortSignal,
    digests?: UploadDigests,
  ): Promise<number>;

  /**
   * Whether the upload has `size` bytes and they are those of this digest, as `appendUpload` was told. Where a storage has no
   * such method, no append is ever undone.
   * @throws PathNotFound
   */
  hasUpload?(upload: string, size: number, digest: string, signal: AbortSignal): Promise<boolean>;

  /** A part of what an upload keeps. @throws PathNotFound */
  readUpload(upload: string, part: Part, signal: AbortSignal): Promise<Readable>;

  /**
   * Makes an upload of `size` bytes the object at `path`, without moving its bytes through this process, and ends it.
   * `more` is put after it, as by `putAll`.
   * @param digest of its bytes, as `appendUpload` was told; undefined where they were read
   * @throws PathNotFound
   * @throws InvalidOffset when the upload is not `size` bytes long, or has other bytes
   */
  commitUpload(
    upload: string,
    size: number,
    path: string,
    signal: AbortSignal,
    more?: readonly SmallObject[],
    digest?: string,
  ): Promise<void>;

  /** Ends an upload and removes what it kept. @throws PathNotFound */
  cancelUpload(upload: string, signal: AbortSignal): Promise<void>;

  /**
   * Removes what uploads and writes left that nobody has touched since `before`; returns how many.
   * @throws Error after the rest was removed when some could not be
   */
  purge(before: Date, signal: AbortSignal): Promise<number>;

  /** Frees what the driver holds open. */
  close(): Promise<void>;
}

/** There is nothing under this path. */
export class PathNotFound extends Error {
  override readonly name = 'PathNotFound';

  constructor(readonly path: string) {
    super(`${path} is not in the storage`);
  }
}

/** For `catch`: what is not in the storage is an answer, every other failure stays one. */
export function missingAs<T>(answer: T): (error: unknown) => T {
  return failureAs(PathNotFound, answer);
}

/** The same for failures of another kind. */
export function failureAs<T>(kind: abstract new (...args: never) => Error, answer: T): (error: unknown) => T {
  return (error) => {
    if (error instanceof kind) return answer;
    throw error;
  };
}

/** No object can have this path. */
export class InvalidPath extends Error {
  override readonly name = 'InvalidPath';

  constructor(path: string) {
    super(`${JSON.stringify(path)} is not a path of the storage`);
  }
}

/** An upload does not stand where the caller believes. */
export class InvalidOffset extends Error {
  override readonly name = 'InvalidOffset';

  constructor(readonly offset: number) {
    super(`the upload does not stand at ${offset}`);
  }
}

/** The storage cannot do its work just now. */
export class StorageUnavailable extends Error {
  override readonly name = 'StorageUnavailable';
}

/** The storage has no room. */
export class StorageFull extends Error {
  override readonly name = 'StorageFull';
}

/** Refuses what could leave the storage's root or mean something to a file system. */
export function checkPath(path: string): void {
  const valid = path
    .split('/')
    .every((part) => part !== '' && part !== '.' && part !== '..' && Buffer.byteLength(part) <= 255);
  if (!valid || /[\0\\]/.test(path)) throw new InvalidPath(path);
}
