// What changes names below a root: each change is one task of a worker thread, as each of its many calls of the system would
// cost the waking of a thread and of the loop. JavaScript, as are the modules that it rests on, so that it is found beside the
// module that names it both in `src` and in `dist`.
import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import { dirname, join } from 'node:path';
import { appear, moved, written } from './appear.js';
import { cut, firstName, give, held, isAlone, nameIn, release, renamed, revert, take } from './claim.js';
import { clear, datasync, ifPossible, makeOnDisk, renameIn, using, writeAll } from './disk.js';

/** @typedef {typeof tasks} Tasks */
/** @typedef {import('./appear.js').SmallFile} SmallFile */
/** @typedef {import('./claim.js').At} At */

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
