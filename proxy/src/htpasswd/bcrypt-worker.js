import bcrypt from 'bcryptjs';

/**
 * Runs in a worker thread, so that no request waits for another one's bcrypt. JavaScript, so that it is found beside
 * the module that names it both in `src` and in `dist`.
 *
 * @param {{ password: string, hash: string }} check
 * @returns {boolean}
 */
export default function matches({ password, hash }) {
  return bcrypt.compareSync(password, hash);
}
