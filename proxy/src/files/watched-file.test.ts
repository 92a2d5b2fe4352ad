import { SettingsError } from '@wharfie/shared';
import { execFileSync } from 'node:child_process';
import { mkdtemp, open, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WatchedFile } from './watched-file.js';

describe('WatchedFile', () => {
  let folder: string;
  let path: string;
  let file: WatchedFile<string> | undefined;
  const loaded: string[] = [];
  const errors: string[] = [];

  const watch = async () => {
    file = await WatchedFile.open(path, {
      parse: (text) => {
        if (text.includes('bad')) throw new Error('line 1: it is bad');
        return text;
      },
      onLoaded: (value) => loaded.push(value),
      onError: (error) => errors.push(error.message),
    });
    return file;
  };
  const soon = (check: () => void) => vi.waitFor(check, { timeout: 5000, interval: 20 });

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'wharfie-'));
    path = join(folder, 'file');
    loaded.length = 0;
    errors.length = 0;
    await writeFile(path, 'one');
  });
  afterEach(async () => {
    file?.close();
    await rm(folder, { recursive: true });
  });

  it('takes a changed content', async () => {
    const file = await watch();
    expect(file.current).toBe('one');
    await writeFile(path, 'two');
    await soon(() => {
      expect(file.current).toBe('two');
    });
    expect(loaded).toEqual(['one', 'two']);
  });

  it('takes a replacement by rename', async () => {
    const file = await watch();
    await writeFile(`${path}.new`, 'two');
    await rename(`${path}.new`, path);
    await soon(() => {
      expect(file.current).toBe('two');
    });
  });

  it('takes a change that leaves size and time as they were', async () => {
    const { atime, mtime } = await stat(path);
    const file = await watch();
    await writeFile(path, 'two');
    await utimes(path, atime, mtime);
    await soon(() => {
      expect(file.current).toBe('two');
    });
  });

  it('keeps the last good content while the file is wrong, and says so once', async () => {
    const file = await watch();
    await writeFile(path, 'bad');
    await soon(() => {
      expect(errors).toEqual([`${path}: line 1: it is bad`]);
    });
    expect(file.current).toBe('one');
    await writeFile(path, 'one');
    await soon(() => {
      expect(loaded).toEqual(['one', 'one']);
    });
    expect(errors).toHaveLength(1);
  });

  it('keeps the last good content while the file is missing, and takes it when it returns', async () => {
    const file = await watch();
    await rm(path);
    await soon(() => {
      expect(errors).toEqual([`${path}: there is no such file`]);
    });
    expect(file.current).toBe('one');
    await writeFile(path, 'two');
    await soon(() => {
      expect(file.current).toBe('two');
    });
  });

  it('keeps the last good content while a pipe stands in its place, and takes the file when it returns', async () => {
    const file = await watch();
    await rm(path);
    execFileSync('mkfifo', [path]);
    await soon(() => {
      expect(errors).toEqual([`${path}: cannot be read: it is no ordinary file`]);
    });
    await rm(path);
    await writeFile(path, 'two');
    await soon(() => {
      expect(file.current).toBe('two');
    });
  });

  it('takes all of a file that is written slowly', async () => {
    const file = await watch();
    const handle = await open(path, 'w');
    await handle.write('first half');
    await soon(() => {
      expect(file.current).toBe('first half');
    });
    await handle.write(', second half');
    await handle.close();
    await soon(() => {
      expect(file.current).toBe('first half, second half');
    });
  });

  it('ends the start with the file, the line and the reason', async () => {
    await writeFile(path, 'bad');
    await expect(watch()).rejects.toThrow(new SettingsError(path, 'line 1: it is bad'));
    await rm(path);
    await expect(watch()).rejects.toThrow(new SettingsError(path, 'there is no such file'));
  });
});
