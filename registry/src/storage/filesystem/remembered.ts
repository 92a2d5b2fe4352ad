import { readFileSync, statSync, type BigIntStats } from 'node:fs';
import { open, readFile, readdir, stat, statfs } from 'node:fs/promises';
import { LRUCache } from 'lru-cache';
import { ifMissing } from './failures.js';

/** Names that are remembered, over all folders. */
const mostNames = 400_000;
/** Files of at most so many bytes are remembered, and how many of them: a megabyte or two. */
const smallSize = 256;
const smallFiles = 4_000;
/** How long a file or folder must be unchanged to be remembered: longer than the steps of any file system's clock. */
const restMilliseconds = 1000;

/**
 * Types of file systems on a disk of this machine (statfs(2)): ext4, XFS, Btrfs, tmpfs, ZFS, overlayfs, F2FS, bcachefs. Any
 * other may have to ask a server that does not answer, which the event loop must not wait for.
 */
const localTypes = new Set<number>([
  0xef53, 0x58465342, 0x9123683e, 0x01021994, 0x2fc12fc1, 0x794c7630, 0xf2f52010, 0xca451a4e,
]);

/** A file's content, and how to see that it is still the same: whoever changes it renames another one to its place. */
interface KnownFile {
  changed: bigint;
  inode: bigint;
  content: Buffer;
}
/** What stands for a file that was written and has not been read since: no file is so old. */
const unread: KnownFile = { changed: 0n, inode: 0n, content: Buffer.alloc(0) };

/** Whether a path is on a disk of this machine, and so need not be asked for over a network. */
export async function isOnThisMachine(path: string): Promise<boolean> {
  return localTypes.has((await statfs(path).catch(() => undefined))?.type ?? 0);
}

/** Small files and lists of names, which are read anew only where they have changed (docs/decisions/0011-what-is-remembered.md). */
export class Remembered {
  /** Links, mostly. */
  readonly #files = new LRUCache<string, KnownFile>({ max: smallFiles });
  readonly #names = new LRUCache<string, { changed: bigint; names: string[] }>({
    maxSize: mostNames,
    sizeCalculation: ({ names }) => names.length + 1,
  });

  /** @param isLocal whether the event loop may look whether a small file has changed */
  constructor(private readonly isLocal: boolean) {}

  /** What a file holds. @throws what the file system says */
  async read(file: string, signal: AbortSignal): Promise<Buffer> {
    const known = this.isLocal ? this.#files.get(file) : undefined;
    const now = (known && readNow(file, known)) ?? (await readInThread(file, signal));
    if (now !== known && now.content.length <= smallSize && atRest(now.changed)) this.#files.set(file, now);
    return now.content;
  }

  /** Has a file that was just written read without a thread, if it is small. */
  expect(file: string, { length }: Uint8Array): void {
    if (length <= smallSize) this.#files.set(file, unread);
  }

  /** The sorted names in a folder, by its time of change: the other one is set back by `rsync -a` and `tar`. */
  async names(folder: string): Promise<string[]> {
    const look = this.isLocal ? stat(folder, { bigint: true }) : openedStat(folder);
    // Nor is anything in a link that leads to itself.
    const info = await look.catch(ifMissing(() => undefined, 'ELOOP'));
    if (!info?.isDirectory()) return [];
    const known = this.#names.get(folder);
    if (known?.changed === info.ctimeNs) return known.names;
    const names = (await readdir(folder).catch(ifMissing(() => [] as string[]))).sort();
    if (atRest(info.ctimeNs)) this.#names.set(folder, { changed: info.ctimeNs, names });
    return names;
  }
}

/**
 * A small file as it is now, and the same object when it is still what is known; undefined when it is not small. On the event
 * loop, as what was just read or written is in the kernel's memory: each call in a thread would cost ten times that.
 */
function readNow(file: string, known: KnownFile): KnownFile | undefined {
  const { ctimeNs: changed, ino: inode, size } = statSync(file, { bigint: true });
  if (changed === known.changed && inode === known.inode) return known;
  return size > smallSize ? undefined : { changed, inode, content: readFileSync(file) };
}

async function readInThread(file: string, signal: AbortSignal): Promise<KnownFile> {
  const { ctimeNs: changed, ino: inode } = await stat(file, { bigint: true });
  return { changed, inode, content: await readFile(file, { signal }) };
}

/** Opened, as NFS may answer a bare `stat` from what it knew up to a minute ago. */
async function openedStat(path: string): Promise<BigIntStats> {
  const handle = await open(path, 'r');
  try {
    return await handle.stat({ bigint: true });
  } finally {
    await handle.close();
  }
}

function atRest(changed: bigint): boolean {
  return Date.now() - Number(changed / 1_000_000n) > restMilliseconds;
}
