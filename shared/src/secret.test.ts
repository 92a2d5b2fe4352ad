import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { deriveKey, loadSecret } from './secret.js';

let folder: string;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wharfie-'));
  path = join(folder, 'secret');
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

describe('the secret', () => {
  it('is made on the first start, for its owner alone, and stays', async () => {
    const made = await loadSecret(path);
    expect(made.length).toBeGreaterThanOrEqual(32);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await loadSecret(path)).toEqual(made);
  });

  it('is the same for everybody who comes at once, and leaves nothing else behind', async () => {
    const secrets = await Promise.all(Array.from({ length: 20 }, () => loadSecret(path)));
    expect(new Set(secrets.map((secret) => secret.toString('latin1'))).size).toBe(1);
    expect(await readdir(folder)).toEqual(['secret']);
  });

  it('leaves nothing behind when it cannot be made', async () => {
    const program = `import { loadSecret } from '${new URL('../dist/secret.js', import.meta.url).href}'; await loadSecret('${path}')`;
    // No file may hold a byte, as on a full disk.
    const limited = ['-c', 'ulimit -f 0; exec "$0" --input-type=module -e "$1"', process.execPath, program];
    await expect(promisify(execFile)('sh', limited)).rejects.toThrow('cannot be read or made (EFBIG)');
    expect(await readdir(folder)).toEqual([]);
  });

  it('that is no ordinary file is refused with what to do', async () => {
    await mkdir(path);
    await expect(loadSecret(path)).rejects.toThrow(`${path} cannot be read or made (EISDIR): it is a folder: move`);
    const pipe = join(folder, 'pipe');
    await promisify(execFile)('mkfifo', [pipe]);
    await expect(loadSecret(pipe)).rejects.toThrow('(ENODEV): it is a device or a pipe: move that away');
    await symlink('nothing', join(folder, 'link'));
    await expect(loadSecret(join(folder, 'link'))).rejects.toThrow(
      '(EEXIST): a symbolic link leads to what does not exist',
    );
  });

  it('differs from one data folder to the next', async () => {
    expect(await loadSecret(path)).not.toEqual(await loadSecret(join(folder, 'other')));
  });

  it('may be written by hand, with or without a line end', async () => {
    await writeFile(path, `${'k'.repeat(32)}\n`);
    expect((await loadSecret(path)).toString()).toBe('k'.repeat(32));
  });

  it.each(['', '\n', 'short', `${'k'.repeat(31)}\n\n\n`])('is refused when it is too short: %j', async (content) => {
    await writeFile(path, content);
    await expect(loadSecret(path)).rejects.toThrow(/^WHARFIE_SECRET_FILE: .* at least 32 characters/);
    expect(await readFile(path, 'utf8')).toBe(content);
  });

  it('that cannot be read or made names the setting', async () => {
    await expect(loadSecret(folder)).rejects.toThrow(/^WHARFIE_SECRET_FILE: /);
    await writeFile(path, 'file in place of a folder');
    await chmod(path, 0o600);
    const below = join(path, 'secret');
    const problem = `${below} cannot be read or made (ENOTDIR): give its folder to the user that runs this, or set`;
    const sourceOf = (source: string) => [{ setting: 'WHARFIE_SECRET_FILE', value: below, source }];
    for (const [source, variable] of [
      ['WHARFIE_SECRET_FILE', 'WHARFIE_SECRET_FILE'],
      ['default', 'WHARFIE_DATA'],
    ] as const)
      await expect(loadSecret(below, sourceOf(source))).rejects.toThrow(
        `${variable}: ${problem} ${variable} to another`,
      );
  });

  it('gives a key of its own for each purpose', () => {
    const secret = Buffer.alloc(32, 1);
    expect(deriveKey(secret, 'identity')).toEqual(deriveKey(secret, 'identity'));
    expect(deriveKey(secret, 'identity')).not.toEqual(deriveKey(secret, 'uploads'));
    expect(deriveKey(secret, 'identity')).not.toEqual(deriveKey(Buffer.alloc(32, 2), 'identity'));
  });
});
