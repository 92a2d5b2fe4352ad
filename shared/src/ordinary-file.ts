import { constants } from 'node:fs';
import { open } from 'node:fs/promises';

/**
 * The bytes of an ordinary file: a pipe would hold its reader until somebody writes, a device may have no end.
 * @throws what the system says, or an error with the code EISDIR or ENODEV
 */
export async function readOrdinaryFile(path: string): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const info = await file.stat();
    if (info.isFile()) return await file.readFile();
    throw Object.assign(new Error('it is no ordinary file'), { code: info.isDirectory() ? 'EISDIR' : 'ENODEV' });
  } finally {
    await file.close();
  }
}

/** For `catch`: that there is no such file is an answer, any other failure stays one. */
export function missing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
}
