import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Makes a folder and those around it that are missing; returns whether it was missing. Node's own `recursive` never ends
 * where a folder that is there takes none (`/proc`).
 * @throws what the system says
 */
export async function makeFolder(path: string, mode = 0o777): Promise<boolean> {
  try {
    await mkdir(path, { mode });
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' && (await isFolder(path))) return false;
    if (code !== 'ENOENT' || (await isFolder(dirname(path)))) throw error;
  }
  await makeFolder(dirname(path), mode);
  return makeFolder(path, mode);
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() === true;
}
