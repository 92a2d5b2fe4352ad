import { randomUUID } from 'node:crypto';
import {
  access,
  constants,
  open,
  readdir,
  readlink,
  realpath,
  rename,
  rm,
  stat,
  type FileHandle,
} from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { missing, readOrdinaryFile, syncFolder } from '@wharfie/shared';
import { lock } from 'proper-lockfile';
import { withFile } from './file-problem.js';

/**
 * Reads the file at `path`, and replaces it by what `edit` makes of it, under a lock that every command takes. `edit`
 * gets undefined when there is no file; nothing is written when it changes nothing or throws. It is called again when
 * a program that takes no lock, such as an editor, has changed the file meanwhile. Returns whether it was changed.
 * @throws Error in one line that says what to do
 */
export async function editFile(path: string, edit: (text: string | undefined) => string): Promise<boolean> {
  return withFile(path, async () => {
    const target = await realPath(path);
    return withFileLock(target, async () => {
      for (;;) {
        const before = await readText(target);
        const after = edit(before);
        if (after === before) return false;
        await removeLeft(target);
        if (await replaceFile(target, after, async () => (await readText(target)) === before)) return true;
      }
    });
  });
}

/**
 * Replaces the file at `path`, or makes it, mode 0600: a reader sees the old content or the new one, whatever dies
 * when. When `path` is a symbolic link the file that it names is replaced. Done by root, it stays with its owner, and
 * where that is root, a group of the services that could read it still can (0640); another user than its owner may not.
 * Returns whether it was replaced, which `still`, asked right before, can refuse.
 * @throws Error in one line that says what to do
 */
export async function replaceFile(path: string, content: string, still?: () => Promise<boolean>): Promise<boolean> {
  const target = await realPath(path);
  const folder = dirname(target);
  const temporary = `${target}.${randomUUID()}`;
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(content);
      if (process.getuid?.() === 0) {
        const there = await stat(target).catch(() => undefined);
        const { uid, gid } = there ?? (await stat(folder));
        await file.chown(uid, gid);
        if (there && uid === 0 && gid !== 0 && there.mode & constants.S_IRGRP) await file.chmod(0o640);
      } else if (await isAnothers(target, file)) {
        throw Object.assign(new Error(`${target} is another user's`), { code: 'EPERM' });
      }
      await file.sync();
    } finally {
      await file.close();
    }
    if (still && !(await still())) {
      await rm(temporary);
      return false;
    }
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true });
    if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
    throw new Error(`${target} is mounted as a single file and cannot be replaced: mount its folder instead`, {
      cause: error,
    });
  }
  await syncFolder(folder);
  return true;
}

/**
 * Runs `work` while no other command holds the lock of `path`, a folder `path.lock`. A lock whose holder died, or was
 * held up, is taken over after ten seconds.
 */
async function withFileLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  // The lock would be tried again and again in a folder in which nothing can be made.
  await access(dirname(path), constants.W_OK | constants.X_OK);
  const retries = { retries: 60, factor: 1.2, minTimeout: 20, maxTimeout: 250 };
  let lost: Error | undefined;
  const onCompromised = (error: Error) => {
    lost = error;
  };
  const release = await lock(path, { realpath: false, retries, onCompromised }).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ELOCKED') throw error;
    throw new Error(`${path} is being changed by another command: try again when that one is done`, { cause: error });
  });
  const result = await work().finally(() => (lost ? undefined : release()));
  if (!lost) return result;
  const message = `${path}: another command may have changed it while this one was held up: look what is in it now`;
  throw new Error(message, { cause: lost });
}

async function readText(path: string): Promise<string | undefined> {
  const bytes = await readOrdinaryFile(path).catch(missing);
  if (!bytes) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new Error(`${path} is not UTF-8, so changing it would spoil it: convert it first`, { cause: error });
  }
}

/** Where the file is, or would be: symbolic links to nothing are followed, too. */
async function realPath(path: string): Promise<string> {
  const real = await realpath(path).catch(missing);
  if (real !== undefined) return real;
  const link = await readlink(path).catch(() => undefined);
  return link === undefined ? path : realPath(resolve(await realpath(dirname(path)), link));
}

/** Whether a new file would be somebody else's than the one that it is to replace. */
async function isAnothers(target: string, file: FileHandle): Promise<boolean> {
  const there = await stat(target).catch(() => undefined);
  return there !== undefined && there.uid !== (await file.stat()).uid;
}

/** Removes what commands left that were killed while they replaced the file; its lock is held. */
async function removeLeft(target: string): Promise<void> {
  const folder = dirname(target);
  const prefix = `${basename(target)}.`;
  for (const name of await readdir(folder)) {
    const isLeft = name.startsWith(prefix) && /^[0-9a-f-]{36}$/.test(name.slice(prefix.length));
    if (isLeft) await rm(join(folder, name), { force: true });
  }
}
