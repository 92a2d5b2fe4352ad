// Who may write to an upload: what the name of the one folder in that of an upload says, and how it is changed.
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { datasync, hasCode, ifPossible, using } from './disk.js';

/** How often a name is looked up again that another process renames all the time. */
export const attempts = 100;

/** The name of an upload's file until another writer goes on with a copy; and that of a blob's. */
export const firstName = 'data';

/** Code of the failure that says that an upload does not stand at the offset, or is another writer's now. */
export const otherOffset = 'OTHER_OFFSET';

/** @typedef {{ upload: string, offset: number, digest: string | undefined }} At where an upload is to stand, and the digest of its bytes where that is known */

/**
 * Takes an upload, from nobody or from another writer; returns the file that is now ours, in a folder that is.
 * @param {At} at @param {string} temporary
 */
export async function take({ upload, offset, digest }, temporary) {
  const claimed = (/** @type {string} */ state, /** @type {string} */ file) =>
    join(upload, `${state}.${file}.${own()}`, file);
  const expected = stateName(offset, digest);
  const free = claimed(expected, firstName);
  if (renamed(join(upload, `${expected}.${firstName}`), dirname(free))) return free;
  const name = nameIn(upload);
  const { state, size, file, claim } = stateOf(name);
  if (size !== offset || (digest !== undefined && state !== expected)) throw isElsewhere(offset);
  const found = claimed(state, file);
  await held(found, offset, () => {
    fs.renameSync(join(upload, name), dirname(found));
  });
  return claim === undefined ? found : copied(found, claimed(state, own()), offset, temporary);
}

/**
 * Goes on with a copy of what counts, as the writer from whom the file was taken may still hold it open. Even a rename of
 * that one may end in our folder, whose path it has looked up before: so the copy has a name that nobody else uses.
 * @param {string} found @param {string} copy @param {number} offset @param {string} temporary
 */
async function copied(found, copy, offset, temporary) {
  const made = join(temporary, basename(copy));
  try {
    await held(found, offset, async () => {
      await copyInTurn(found, made);
      await using(fs.openSync(cut(made, offset), 'r+'), datasync);
      fs.renameSync(made, join(dirname(found), basename(copy)));
      fs.renameSync(dirname(found), dirname(copy));
    });
  } catch (error) {
    fs.rmSync(made, { force: true });
    throw error;
  }
  ifPossible(() => {
    fs.rmSync(join(dirname(copy), basename(found)));
  });
  return copy;
}

/** The last copy that was asked for. @type {Promise<void>} */
let lastCopy = Promise.resolve();

/**
 * Copies a file after those that were asked for before: each holds one of libuv's four threads, and clients that take
 * uploads from themselves, again and again, would have them all.
 * @param {string} from @param {string} to
 */
function copyInTurn(from, to) {
  const copy = lastCopy.then(() => copyFile(from, to, fs.constants.COPYFILE_FICLONE));
  lastCopy = copy.catch(() => undefined);
  return copy;
}

/** Whether it was there, and is renamed now. @param {string} from @param {string} to */
export function renamed(from, to) {
  try {
    fs.renameSync(from, to);
    return true;
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
    return false;
  }
}

/**
 * Runs what needs a claim. When something is missing, another writer has taken it, or only its file has gone.
 * @template Result
 * @param {string} file @param {number} offset @param {() => Result | Promise<Result>} action
 */
export async function held(file, offset, action) {
  try {
    return await action();
  } catch (error) {
    if (hasCode(error, 'ENOENT') && !fs.existsSync(dirname(file))) throw isElsewhere(offset);
    throw error;
  }
}

/**
 * Leaves the bytes of an upload that count; returns the file. On a disk that lies, the name of its folder can be newer than
 * the file after a power cut: a shorter one is refused, not filled with zeros.
 * @param {string} file @param {number} offset
 */
export function cut(file, offset) {
  const { size } = fs.statSync(file);
  if (size < offset) throw isElsewhere(offset);
  if (size > offset) fs.truncateSync(file, offset);
  return file;
}

/** Gives a claimed upload back: as it was, or in another state. @param {string} file @param {string} [state] */
export function give(file, state = stateOf(basename(dirname(file))).state) {
  fs.renameSync(dirname(file), join(dirname(dirname(file)), `${state}.${basename(file)}`));
}

/**
 * Gives a claimed upload back, unless another writer has it; returns the size. That is not synced: a power cut may put the
 * upload back, and whoever appends other bytes then gives it another name.
 * @param {string} file @param {number} size that counts now @param {string | undefined} digest
 */
export function release(file, size, digest) {
  try {
    give(file, stateName(size, digest));
    return size;
  } catch (error) {
    throw hasCode(error, 'ENOENT') ? isElsewhere(size) : error;
  }
}

/**
 * Gives a claimed upload back as it was, if that can be. On a full disk, what does not count gives its room back at once,
 * and not when the upload is purged.
 * @param {string} file @param {number} offset
 */
export function revert(file, offset) {
  // The size in the name is what counts.
  ifPossible(() => cut(file, offset));
  // When that fails, another writer has it.
  ifPossible(() => {
    give(file);
  });
}

/** The one name in the folder of an upload. @param {string} upload */
export function nameIn(upload) {
  // A listing that meets a rename may hold neither the old name nor the new one.
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const [name] = fs.readdirSync(upload);
    if (name !== undefined) return name;
  }
  throw Object.assign(new Error(`${upload} is empty`), { code: 'ENOENT' });
}

/**
 * What the name of the one folder in that of an upload says: how many bytes count, of which file in it, and whose it is now.
 * @param {string} name
 */
export function stateOf(name) {
  const [state = '', file = '', claim] = name.split('.');
  return { state, size: Number(state.split('-')[0]), file, claim };
}

/** The part of that name that says which bytes count. @param {number} size @param {string | undefined} digest where it is known */
export function stateName(size, digest) {
  return digest === undefined ? `${size}` : `${size}-${digest.slice(digest.indexOf(':') + 1).slice(0, 64)}`;
}

/** Whether nothing else is in the file's folder: nobody has gone on with a copy. @param {string} file */
export function isAlone(file) {
  return basename(file) === firstName;
}

/** Part of a name that nobody else gives in an upload: short, as some file systems have room for 143 bytes. */
function own() {
  return randomBytes(8).toString('hex');
}

/** @param {number} offset */
function isElsewhere(offset) {
  return Object.assign(new Error(), { code: otherOffset, offset });
}
