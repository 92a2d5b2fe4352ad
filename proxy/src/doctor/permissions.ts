import { stat } from 'node:fs/promises';
import type { Finding } from './finding.js';

/** Warns when others than its owner may read a file that holds a secret; where that is root, a group of the services may. */
export async function* examinePermissions(about: string, path: string): AsyncGenerator<Finding> {
  const { mode, uid, gid } = await stat(path);
  const allowed = uid === 0 && gid !== 0 ? 0o040 : 0;
  if ((mode & 0o077 & ~allowed) === 0) return;
  yield { state: 'warn', about, text: `others may read ${path}`, remedy: `chmod 600 ${path}` };
}
