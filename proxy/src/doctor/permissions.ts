import { stat } from 'node:fs/promises';
import type { Finding } from './finding.js';

/** Warns when others than its owner may read a file that holds a secret. */
export async function* examinePermissions(about: string, path: string): AsyncGenerator<Finding> {
  const { mode } = await stat(path);
  if ((mode & 0o077) === 0) return;
  yield { state: 'warn', about, text: `others may read ${path}`, remedy: `chmod 600 ${path}` };
}
