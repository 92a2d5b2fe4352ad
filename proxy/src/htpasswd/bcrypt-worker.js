import bcrypt from 'bcryptjs';
import { readlinkSync } from 'node:fs';
import { setPriority } from 'node:os';
import { basename } from 'node:path';

// Behind the thread that answers who is in. Linux knows a priority of threads, and alone it names them there.
try {
  setPriority(Number(basename(readlinkSync('/proc/thread-self'))), 5);
} catch {
  // Then all threads are equal.
}

/**
 * Runs in a worker thread, so that no request waits for another one's bcrypt: whether `hash` is that of the password, or,
 * without one, the password's hash with `salt`. JavaScript, so that it is found beside the module that names it both in
 * `src` and in `dist`.
 *
 * @param {{ password: string, hash: string } | { password: string, hash?: never, salt: string }} work
 * @returns {boolean | string}
 */
export default function run(work) {
  return work.hash === undefined
    ? bcrypt.hashSync(work.password, work.salt)
    : bcrypt.compareSync(work.password, work.hash);
}
