import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Whether PATH, or one of the folders, has a program. @param {string} program @param {string[]} folders */
export function isInstalled(program, ...folders) {
  return [...(process.env['PATH'] ?? '').split(delimiter), ...folders].some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
