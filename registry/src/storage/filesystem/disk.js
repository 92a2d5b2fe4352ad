// What the disk is asked for by more than one kind of change.
import * as fs from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';

// Tasks take turns: none waits while another one waits for the disk, copies a file or removes a tree.
const sync = promisify(fs.fsync);
export const datasync = promisify(fs.fdatasync);

/** @param {number} fd @param {Uint8Array} bytes @param {number} position */
export async function writeAll(fd, bytes, position) {
  for (let done = 0; done < bytes.length;) done += fs.writeSync(fd, bytes, done, bytes.length - done, position + done);
  await datasync(fd);
}

/**
 * Renames what a folder holds, or is to hold, and has that on the disk. The folder is opened before, as another process may
 * move it away meanwhile; and where that one has made another in its place, the name can have changed in either.
 * @param {string} folder @param {string} from @param {string} to
 */
export async function renameIn(folder, from, to) {
  await using(fs.openSync(folder, 'r'), async (fd) => {
    fs.renameSync(from, to);
    await sync(fd);
    if (fs.statSync(folder, { throwIfNoEntry: false })?.ino === fs.fstatSync(fd).ino) return;
    await syncFolder(folder).catch((/** @type {unknown} */ error) => {
      // Nothing is in its place: what it held is deleted.
      if (!hasCode(error, 'ENOENT')) throw error;
    });
  });
}

/** Makes a folder and what is missing around it, on the disk: empty, it means nothing. @param {string} path */
export async function makeOnDisk(path) {
  if (fs.statSync(path, { throwIfNoEntry: false })) return;
  await makeOnDisk(dirname(path));
  fs.mkdirSync(path, { recursive: true });
  await syncFolder(dirname(path));
}

/** Has what a folder holds on the disk. @param {string} folder */
export async function syncFolder(folder) {
  await using(fs.openSync(folder, 'r'), sync);
}

/** Removes what nobody looks for. Another process may put a file there in the last moment; what stays is purged later. @param {string} path */
export async function clear(path) {
  const remove = () => rm(path, { recursive: true, force: true });
  await remove()
    .catch(remove)
    .catch(() => undefined);
}

/** @param {number} fd @param {(fd: number) => Promise<void>} action */
export async function using(fd, action) {
  try {
    await action(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** @param {() => void} action on which nothing depends */
export function ifPossible(action) {
  try {
    action();
  } catch {
    // Then not.
  }
}

/** @param {unknown} error @param {string[]} codes */
export function hasCode(error, ...codes) {
  return codes.includes(/** @type {NodeJS.ErrnoException | undefined} */ (error)?.code ?? '');
}
