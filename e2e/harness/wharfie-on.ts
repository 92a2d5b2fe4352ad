import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import type { Call } from './images.js';
import { must } from './run.js';
import { Wharfie } from './wharfie.js';

/** Starts Wharfie on a file system of its own. */
export function wharfieOn(mount: (folder: string) => Promise<unknown>): { disk: () => string; call: Call } {
  let folder: string;
  let wharfie: Wharfie;
  const disk = () => join(folder, 'disk');
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'wharfie-disk-'));
    await mkdir(disk());
    await mount(disk());
    wharfie = await Wharfie.start({ env: { WHARFIE_STORAGE_ROOT: disk() } });
  });
  afterAll(async () => {
    await wharfie.dispose();
    await must('umount', [disk()]);
    await rm(folder, { recursive: true });
  });
  return { disk, call: (method, path, init) => wharfie.fetch(path, { ...init, method }) };
}
