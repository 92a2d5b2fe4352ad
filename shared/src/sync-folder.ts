import { open } from 'node:fs/promises';

/** Has the names in a folder on the disk: of what was made, renamed or removed there. @throws what the system says */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
