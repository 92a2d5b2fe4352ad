/** Why a call of the system failed: its code, or what the error says that has none. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
}

/** What stands in the way of any file, and what to do, by the system's code for it. */
export const obstacles = {
  EISDIR: 'it is a folder: move that away',
  ENODEV: 'it is a device or a pipe: move that away',
  ENOSPC: 'the disk is full: make room',
  EDQUOT: 'the quota of this user is used up: make room',
} as const;
