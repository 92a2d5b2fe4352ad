const mine = 'this user may not read or change it: run this as the user that runs the services';
const device = 'it is a device or a pipe: move that away';

/** What keeps us from a file, by the system's code for it, and what to do. */
const problems: Record<string, string> = {
  EACCES: mine,
  EPERM: mine,
  EROFS: 'it is on a file system that is read-only: mount it writable',
  EISDIR: 'it is a folder: move that away',
  ENODEV: device,
  ENXIO: device,
  ENOENT: 'the folder that it is to be in does not exist: make that',
  ENOTDIR: 'a file stands where its folder should be: move that away, or set WHARFIE_DATA to another folder',
  ELOOP: 'symbolic links lead in a circle: remove one of them',
  ENOSPC: 'the disk is full: make room',
  EDQUOT: 'the quota of this user is used up: make room',
};

/** For `catch`: that there is no such file is an answer, any other failure stays one. */
export function missing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
}

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
