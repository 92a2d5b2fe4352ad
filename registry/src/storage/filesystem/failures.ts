import { NoThread } from '@wharfie/shared';
import { PathNotFound, StorageFull, StorageUnavailable } from '../storage-driver.js';
import { hasCode } from './disk.js';

/** A missing file is an answer, not a failure. */
export function ifMissing<T>(answer: () => T, ...more: string[]): (error: unknown) => T {
  return (error) => {
    if (!hasCode(error, 'ENOENT', 'ENOTDIR', ...more)) throw error;
    return answer();
  };
}

/** What a file system may say that is neither about what is asked for nor about room. */
const failures = [
  ...['EACCES', 'EPERM', 'EROFS', 'EIO', 'EMFILE', 'ENFILE', 'ESTALE', 'ENOMEM', 'EUCLEAN', 'ENOTCONN', 'ETIMEDOUT'],
  ...['EXDEV', 'ELOOP', 'ENAMETOOLONG', 'ENOTEMPTY', 'EEXIST', 'EFBIG'],
];

/** Runs a file operation and speaks of its failure in the driver's words. */
export async function guarded<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'EISDIR')) throw new PathNotFound(path);
    if (hasCode(error, 'ENOSPC', 'EDQUOT')) throw new StorageFull('the storage has no room left', { cause: error });
    if (error instanceof NoThread || hasCode(error, ...failures)) throw failed(error);
    throw error;
  }
}

/** The same for what makes the folders that it needs: what is missing or in the way there is no answer, but a failure. */
export function storing<T>(action: () => Promise<T>): Promise<T> {
  return guarded('', () =>
    action().catch((error: unknown) => {
      throw hasCode(error, 'ENOENT', 'ENOTDIR', 'EISDIR') ? failed(error) : error;
    }),
  );
}

function failed(error: unknown): StorageUnavailable {
  return new StorageUnavailable(`the storage failed: ${(error as Error).message}`, { cause: error });
}
