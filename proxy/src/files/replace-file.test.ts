import { randomUUID } from 'node:crypto';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { chmod, chown, lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { describeWith } from '../../../e2e/harness/requirements.js';
import { editFile, replaceFile } from './replace-file.js';

describe('replacing files', () => {
  let folder: string;
  let path: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'wharfie-'));
    path = join(folder, 'htpasswd');
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('makes a file that only its owner may read, and leaves nothing beside it', async () => {
    await replaceFile(path, 'one');
    await chmod(path, 0o644);
    await replaceFile(path, 'two');
    expect(await readFile(path, 'utf8')).toBe('two');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(folder)).toEqual(['htpasswd']);
  });

  it('replaces what a symbolic link names, and keeps the link', async () => {
    const target = join(folder, 'elsewhere', 'file');
    await mkdir(join(folder, 'elsewhere'));
    await writeFile(target, 'one');
    await symlink(target, path);
    await editFile(path, (text) => `${text ?? ''} two`);
    expect((await lstat(path)).isSymbolicLink()).toBe(true);
    expect(await readFile(target, 'utf8')).toBe('one two');
  });

  it('makes what a symbolic link names where nothing is there yet, or says that its folder is missing', async () => {
    await symlink('elsewhere/second', path);
    await mkdir(join(folder, 'elsewhere'));
    await symlink('file', join(folder, 'elsewhere', 'second'));
    expect(await editFile(path, () => 'one')).toBe(true);
    expect((await lstat(path)).isSymbolicLink()).toBe(true);
    expect(await readFile(join(folder, 'elsewhere', 'file'), 'utf8')).toBe('one');
    const lost = join(folder, 'lost');
    await symlink('nowhere/file', lost);
    await expect(editFile(lost, () => 'one')).rejects.toThrow(/lost: .*folder.*make that/);
    expect((await lstat(lost)).isSymbolicLink()).toBe(true);
  });

  describeWith(['root'], 'run by root', () => {
    it('leaves a file with its owner', async () => {
      await chown(folder, 4242, 4243);
      await replaceFile(path, 'one');
      expect(await stat(path)).toMatchObject({ uid: 4242, gid: 4243 });
      await chown(path, 4244, 4245);
      await replaceFile(path, 'two');
      expect(await stat(path)).toMatchObject({ uid: 4244, gid: 4245 });
    });

    it.each([
      ['lets the group read a file of root still', { uid: 0, gid: 4243, mode: 0o640 }, 0o640],
      ['lets nobody else do so', { uid: 0, gid: 4243, mode: 0o604 }, 0o600],
      ['does not do so in root’s own group', { uid: 0, gid: 0, mode: 0o640 }, 0o600],
      ['does not do so with a file of another user', { uid: 4242, gid: 4243, mode: 0o640 }, 0o600],
    ])('%s', async (_, { uid, gid, mode }, after) => {
      await writeFile(path, 'one');
      await chown(path, uid, gid);
      await chmod(path, mode);
      await replaceFile(path, 'two');
      expect(await stat(path)).toMatchObject({ uid, gid, mode: 0o100000 | after });
    });
  });

  it('edits anew what another program replaced in between', async () => {
    await writeFile(path, 'one');
    let edits = 0;
    const edit = (text = '') => {
      edits += 1;
      if (edits === 1) {
        writeFileSync(`${path}~`, 'another');
        renameSync(`${path}~`, path);
      }
      return `${text} two`;
    };
    expect(await editFile(path, edit)).toBe(true);
    expect(await readFile(path, 'utf8')).toBe('another two');
    expect(await readdir(folder)).toEqual(['htpasswd']);
  });

  it('loses no edit when many come at once', async () => {
    await Promise.all(Array.from({ length: 10 }, (_, n) => editFile(path, (text = '') => `${text}${n}\n`)));
    const lines = (await readFile(path, 'utf8')).trim().split('\n');
    expect(lines.map(Number).sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(await readdir(folder)).toEqual(['htpasswd']);
  });

  it('removes what a command left that was killed, and nothing else', async () => {
    for (const name of ['htpasswd.old', `htpasswd.${randomUUID()}`]) await writeFile(join(folder, name), 'x');
    await editFile(path, () => 'one');
    expect((await readdir(folder)).sort()).toEqual(['htpasswd', 'htpasswd.old']);
  });

  it('writes nothing when nothing changes, when the edit throws, or when the file is not UTF-8', async () => {
    await writeFile(path, 'one');
    const { ino } = await stat(path);
    expect(await editFile(path, (text = '') => text)).toBe(false);
    await expect(
      editFile(path, () => {
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    expect((await stat(path)).ino).toBe(ino);
    await writeFile(path, Buffer.from('m\xfcller:x', 'latin1'));
    await expect(editFile(path, () => 'two')).rejects.toThrow(/not UTF-8/);
    expect(await readFile(path, 'latin1')).toBe('m\xfcller:x');
  });

  it.each([
    ['EACCES', /run this as the user that runs the services/],
    ['ENOSPC', /make room/],
    ['EROFS', /mount it writable/],
  ])('names the file and what to do after %s, and not the system’s words', async (code, remedy) => {
    const failing = editFile(path, () => {
      throw Object.assign(new Error(`${code}: in its words, open '${path}.lock'`), { code });
    });
    await expect(failing).rejects.toThrow(remedy);
    await expect(failing).rejects.toThrow(`${path}: `);
    await expect(failing).rejects.not.toThrow('in its words');
  });

  it('says so when another command had reason to take the lock over', async () => {
    const heldUp = editFile(path, () => {
      rmSync(`${path}.lock`, { recursive: true });
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 6_000);
      return 'two';
    });
    await expect(heldUp).rejects.toThrow(/another command may have changed it/);
  });
});
