// How files appear at their places: whole, on the disk, and with all that is missing around them.
import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { clear, hasCode, ifPossible, renameIn, syncFolder, using, writeAll } from './disk.js';
import { isAlone } from './claim.js';

/** @typedef {{ target: string, content: Uint8Array }} SmallFile */

/**
 * @typedef {object} Appearing
 * @property {string} target
 * @property {(file: string) => Promise<void> | void} fill makes the file before it returns; it is on the disk when that fulfils
 * @property {(file: string) => void} [undo] puts back what `fill` took
 * @property {string | undefined} [from] where the file lies, on the disk, until it appears: nowhere else in between
 */

/** @typedef {{ place: string, stage: string, staged: Appearing[] }} Move */

/** A file to write. @param {SmallFile} file @returns {Appearing} */
export function written({ target, content }) {
  return { target, fill: (file) => using(fs.openSync(file, 'wx', 0o644), (fd) => writeAll(fd, content, 0)) };
}

/** A file that is on the disk already. @param {string} from @param {string} target @returns {Appearing} */
export function moved(from, target) {
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
export async function appear(files, temporary) {
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
