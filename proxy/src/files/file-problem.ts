import { obstacles } from '@wharfie/shared';

const mine = 'this user may not read or change it: run this as the user that runs the services';

/** What keeps us from a file, by the system's code for it, and what to do. */
const problems: Record<string, string> = {
  ...obstacles,
  EACCES: mine,
  EPERM: mine,
  EROFS: 'it is on a file system that is read-only: mount it writable',
  ENXIO: obstacles.ENODEV,
  ENOENT: 'the folder that it is to be in does not exist: make that',
  ENOTDIR: 'a file stands where its folder should be: move that away, or set WHARFIE_DATA to another folder',
  ELOOP: 'symbolic links lead in a circle: remove one of them',
};

/**
 * What `work` does with the file at `path`.
 * @throws Error that names the file and says what to do, where the system refuses it in a way that somebody can mend
 */
export async function withFile<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    const problem = problems[code];
    throw problem === undefined ? error : new Error(`${path}: ${problem} (${code})`, { cause: error });
  }
}
