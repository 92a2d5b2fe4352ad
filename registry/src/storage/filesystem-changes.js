// What changes names below a root: each change is one task of a worker thread, as each of its many calls of the system would
// cost the waking of a thread and of the loop. JavaScript, so that it is found beside the module that names it both in
// `src` and in `dist`.
import { randomBytes, randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import { copyFile, rm } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';

// Tasks take turns: none waits while another one waits for the disk, copies a file or removes a tree.
const [sync, datasync] = [promisify(fs.fsync), promisify(fs.fdatasync)];

/** How often a name is looked up again that another process renames all the time. */
export const attempts = 100;

/** The name of an upload's file until another writer goes on with a copy; and that of a blob's. */
const firstName = 'data';

/** Code of the failure that says that an upload does not stand at the offset, or is another writer's now. */
export const otherOffset = 'OTHER_OFFSET';

/** @typedef {typeof tasks} Tasks */
/** @typedef {{ target: string, content: Uint8Array }} SmallFile */
/** @typedef {{ upload: string, offset: number, digest: string | undefined }} At where an upload is to stand, and the digest of its bytes where that is known */

/**
 * @typedef {object} Appearing
 * @property {string} target
 * @property {(file: string) => Promise<void> | void} fill makes the file before it returns; it is on the disk when that fulfils
 * @property {(file: string) => void} [undo] puts back what `fill` took
 * @property {string | undefined} [from] where the file lies, on the disk, until it appears: nowhere else in between
 */

/** @typedef {{ place: string, stage: string, staged: Appearing[] }} Move */

const tasks = {
  /** Makes small files, or replaces them, one after another. @param {{ objects: SmallFile[], temporary: string }} work */
  async put({ objects, temporary }) {
    await appear(objects.map(written), temporary);
  },

  /** Renames a file that is on the disk to its place. @param {{ target: string, file: string, temporary: string }} work */
  async place({ target, file, temporary }) {
    await appear([moved(file, target)], temporary);
  },

  /**
   * Removes a file or a tree at one stroke: it is gone before its parts are.
   * @param {{ path: string, holding?: SmallFile | undefined, temporary: string }} work `holding`: as long as this file in it is so
   */
  async remove({ path, holding, temporary }) {
    if (holding && !fs.readFileSync(holding.target).equals(holding.content)) {
      throw Object.assign(new Error(`${holding.target} holds something else now`), { code: 'ENOENT' });
    }
    const doomed = join(temporary, randomUUID());
    await renameIn(dirname(path), path, doomed);
    await clear(doomed);
  },

  /**
   * Ends an upload. The folder in it is taken as by a writer: a commit that renames it has it whole, or not at all.
   * @param {{ upload: string, temporary: string }} work
   */
  async cancel({ upload, temporary }) {
    const doomed = join(temporary, randomUUID());
    while (!renamed(join(upload, nameIn(upload)), doomed));
    await clear(doomed);
    await clear(upload);
  },

  /** Not at one stroke, as nobody has been told its name. @param {{ upload: string }} work */
  begin({ upload }) {
    fs.mkdirSync(upload);
    const folder = join(upload, `0.${firstName}`);
    fs.mkdirSync(folder);
    fs.closeSync(fs.openSync(join(folder, firstName), 'wx', 0o644));
  },

  /**
   * Appends a few bytes to an upload; returns its new size.
   * @param {At & { content: Uint8Array, after: string | undefined, temporary: string }} work `after`: what the digest is then
   */
  async append({ upload, offset, digest, content, after, temporary }) {
    const file = await take({ upload, offset, digest }, temporary);
    try {
      const opened = await held(file, offset, () => fs.openSync(cut(file, offset), 'r+'));
      await using(opened, (fd) => writeAll(fd, content, offset));
    } catch (error) {
      revert(file, offset);
      throw error;
    }
    return release(file, offset + content.length, after);
  },

  /**
   * Takes an upload for one writer; returns the file that is now its own, which ends at the offset.
   * @param {At & { temporary: string }} work
   */
  async claim({ upload, offset, digest, temporary }) {
    const file = await take({ upload, offset, digest }, temporary);
    return held(file, offset, () => cut(file, offset));
  },

  /** Gives a claimed upload back with the size that now counts, and returns that. @param {{ file: string, size: number, after: string | undefined }} work */
  release({ file, size, after }) {
    return release(file, size, after);
  },

  /** Gives a claimed upload back as it was. @param {{ file: string, offset: number }} work */
  abandon({ file, offset }) {
    revert(file, offset);
  },

  /**
   * Renames the file of an upload to its place, puts small files after it, and ends the upload. Whoever is killed meanwhile
   * leaves the file in the upload or in its place.
   * @param {{ upload: string, size: number, digest: string | undefined, target: string, more: SmallFile[], temporary: string }} work
   */
  async commit({ upload, size, digest, target, more, temporary }) {
    const file = await take({ upload, offset: size, digest }, temporary);
    try {
      await held(file, size, async () => {
        // The bytes that count were synced when appended; that there are no others was not.
        if (fs.statSync(file).size !== size) await using(fs.openSync(cut(file, size), 'r+'), datasync);
        const whole = { ...moved(file, target), from: file };
        await makeOnDisk(isAlone(file) ? dirname(dirname(target)) : dirname(target));
        await appear([whole, ...more.map(written)], temporary);
      });
    } catch (error) {
      // Given back, it need not be copied by whoever tries again.
      ifPossible(() => {
        give(file);
      });
      throw error;
    }
    try {
      fs.rmdirSync(upload);
    } catch {
      await clear(upload);
    }
  },
};

/** Whether nothing else is in the file's folder: nobody has gone on with a copy. @param {string} file */
function isAlone(file) {
  return basename(file) === firstName;
}

/**
 * Does a task. Tells a failure as an object, as an Error would lose its code on the way between threads.
 * @param {{ task: keyof Tasks, work: { temporary?: string } }} order
 */
export default async function run({ task, work }) {
  const { temporary } = work;
  try {
    return { done: await tasks[task](/** @type {never} */ (work)) };
  } catch (error) {
    const { message, code, offset = 0 } = /** @type {NodeJS.ErrnoException & { offset?: number }} */ (error);
    // Nothing can be said of what is there while the folder of temporary files is missing.
    const failed = code === 'ENOENT' && temporary !== undefined && !fs.existsSync(temporary) ? 'ESTALE' : code;
    return { failed: { message, code: failed, offset } };
  }
}

/** Removes what nobody looks for. Another process may put a file there in the last moment; what stays is purged later. @param {string} path */
async function clear(path) {
  const remove = () => rm(path, { recursive: true, force: true });
  await remove()
    .catch(remove)
    .catch(() => undefined);
}

/** A file to write. @param {SmallFile} file @returns {Appearing} */
function written({ target, content }) {
  return { target, fill: (file) => using(fs.openSync(file, 'wx', 0o644), (fd) => writeAll(fd, content, 0)) };
}

/** A file that is on the disk already. @param {string} from @param {string} target @returns {Appearing} */
function moved(from, target) {
  return {
    target,
    fill: (file) => {
      fs.renameSync(from, file);
    },
    undo: (file) => {
      fs.renameSync(file, from);
    },
  };
}

/**
 * Has files appear at their places, one after another, and with each, at one stroke, the folders that are missing around
 * it: so a crash never leaves an empty one (which would be a tag without a manifest). Each and its folders are on the disk
 * before, and afterwards the folder that they are in. Neighbours around which the same folder is missing appear together.
 * When that fails, what has not appeared is as it was.
 * @param {Appearing[]} files @param {string} temporary
 */
async function appear(files, temporary) {
  /** What is renamed to which place. @type {Move[]} */
  const moves = [];
  /** @type {Set<string>} */
  const folders = new Set();
  /** @type {(() => void)[]} */
  const undos = [];
  try {
    const fills = files.map(async ({ target, fill, undo, from }) => {
      const place = topmostMissing(target);
      let move = moves.at(-1);
      if (move?.place !== place) {
        const ready = from && readyAt(place, from, target);
        move = { place, stage: ready ?? join(temporary, randomUUID()), staged: [] };
        moves.push(move);
        // Not its parents: where those are missing, the disk itself is.
        if (!ready && place !== target) fs.mkdirSync(move.stage);
      }
      const file = join(move.stage, relative(place, target));
      move.staged.push({ ...moved(file, target), from: file === from ? from : undefined });
      const around = foldersAround(file, move.stage);
      if (around.length > 1) fs.mkdirSync(dirname(file), { recursive: true });
      for (const one of around) folders.add(one);
      undos.push(() => {
        undo?.(file);
      });
      await fill(file);
    });
    // All are filled now, and nothing of it can be seen: synced at once, the file system does it in one commit.
    await Promise.all([...fills, ...[...folders].map(syncFolder)]);
    for (const move of moves) await show(move, temporary);
  } catch (error) {
    undos.forEach(ifPossible);
    // An upload stays for whoever tries again.
    for (const { stage } of moves) if (dirname(stage) === temporary) await clear(stage);
    throw error;
  }
}

/** What of a file that is on the disk can be renamed to `place` as it is: itself, or its folder. @param {string} place @param {string} from @param {string} target */
function readyAt(place, from, target) {
  if (place === target) return from;
  return place === dirname(target) && isAlone(from) ? dirname(from) : undefined;
}

/** Makes a folder and what is missing around it, on the disk: empty, it means nothing. @param {string} path */
async function makeOnDisk(path) {
  if (fs.statSync(path, { throwIfNoEntry: false })) return;
  await makeOnDisk(dirname(path));
  fs.mkdirSync(path, { recursive: true });
  await syncFolder(dirname(path));
}

/** Renames what is on the disk to its place. @param {Move} move @param {string} temporary */
async function show({ place, stage, staged }, temporary) {
  try {
    await renameIn(dirname(place), stage, place);
  } catch (error) {
    // Another process has made the folder meanwhile, or removed the one around it.
    if (!hasCode(error, 'ENOTEMPTY', 'EEXIST', 'ENOENT')) throw error;
    await appear(staged, temporary);
    await clear(stage);
  }
}

/** The folders that `file` is in, up to `outermost`; none where that is the file itself. @param {string} file @param {string} outermost @returns {string[]} */
function foldersAround(file, outermost) {
  return file === outermost ? [] : [dirname(file), ...foldersAround(dirname(file), outermost)];
}

/** Of a path and the folders around it, the outermost that is missing; the path itself where its folder is there. @param {string} path @returns {string} */
function topmostMissing(path) {
  const folder = dirname(path);
  return fs.statSync(folder, { throwIfNoEntry: false }) ? path : topmostMissing(folder);
}

/**
 * Takes an upload, from nobody or from another writer; returns the file that is now ours, in a folder that is.
 * @param {At} at @param {string} temporary
 */
async function take({ upload, offset, digest }, temporary) {
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
function renamed(from, to) {
  try {
    fs.renameSync(from, to);
    return true;
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
    return false;
  }
}

/**
 * Leaves the bytes of an upload that count; returns the file. On a disk that lies, the name of its folder can be newer than
 * the file after a power cut: a shorter one is refused, not filled with zeros.
 * @param {string} file @param {number} offset
 */
function cut(file, offset) {
  const { size } = fs.statSync(file);
  if (size < offset) throw isElsewhere(offset);
  if (size > offset) fs.truncateSync(file, offset);
  return file;
}

/** Gives a claimed upload back: as it was, or in another state. @param {string} file @param {string} [state] */
function give(file, state = stateOf(basename(dirname(file))).state) {
  fs.renameSync(dirname(file), join(dirname(dirname(file)), `${state}.${basename(file)}`));
}

/**
 * Gives a claimed upload back, unless another writer has it; returns the size. That is not synced: a power cut may put the
 * upload back, and whoever appends other bytes then gives it another name.
 * @param {string} file @param {number} size that counts now @param {string | undefined} digest
 */
function release(file, size, digest) {
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
function revert(file, offset) {
  // The size in the name is what counts.
  ifPossible(() => cut(file, offset));
  // When that fails, another writer has it.
  ifPossible(() => {
    give(file);
  });
}

/** @param {() => void} action on which nothing depends */
function ifPossible(action) {
  try {
    action();
  } catch {
    // Then not.
  }
}

/**
 * Runs what needs a claim. When something is missing, another writer has taken it, or only its file has gone.
 * @template Result
 * @param {string} file @param {number} offset @param {() => Result | Promise<Result>} action
 */
async function held(file, offset, action) {
  try {
    return await action();
  } catch (error) {
    if (hasCode(error, 'ENOENT') && !fs.existsSync(dirname(file))) throw isElsewhere(offset);
    throw error;
  }
}

/** The one name in the folder of an upload. @param {string} upload */
function nameIn(upload) {
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

/** Part of a name that nobody else gives in an upload: short, as some file systems have room for 143 bytes. */
function own() {
  return randomBytes(8).toString('hex');
}

/** @param {number} fd @param {Uint8Array} bytes @param {number} position */
async function writeAll(fd, bytes, position) {
  for (let done = 0; done < bytes.length;) done += fs.writeSync(fd, bytes, done, bytes.length - done, position + done);
  await datasync(fd);
}

/**
 * Renames what a folder holds, or is to hold, and has that on the disk. The folder is opened before, as another process may
 * move it away meanwhile; and where that one has made another in its place, the name can have changed in either.
 * @param {string} folder @param {string} from @param {string} to
 */
async function renameIn(folder, from, to) {
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

/** Has what a folder holds on the disk. @param {string} folder */
async function syncFolder(folder) {
  await using(fs.openSync(folder, 'r'), sync);
}

/** @param {number} fd @param {(fd: number) => Promise<void>} action */
async function using(fd, action) {
  try {
    await action(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** @param {unknown} error @param {string[]} codes */
export function hasCode(error, ...codes) {
  return codes.includes(/** @type {NodeJS.ErrnoException | undefined} */ (error)?.code ?? '');
}

/** @param {number} offset */
function isElsewhere(offset) {
  return Object.assign(new Error(), { code: otherOffset, offset });
}
