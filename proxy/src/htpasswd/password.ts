import bcrypt from 'bcryptjs';
import { randomInt } from 'node:crypto';
import { wasUtf8 } from '../utf8.js';

/** bcrypt reads no more; what `htpasswd` silently cuts off is refused here. */
const maxPasswordBytes = 72;

/** Why `password` cannot be anybody's, or undefined. */
export function passwordProblem(password: string): string | undefined {
  if (password === '') return 'the password is empty: give one';
  // The last two are line breaks to what reads Basic credentials.
  if (/[\r\n\u2028\u2029]/.test(password)) return 'the password holds a line break';
  if (password.includes('\0')) return 'the password holds a NUL character';
  if (!wasUtf8(password))
    return 'the password is not UTF-8: give it in UTF-8, or choose one of ASCII letters and digits';
  if (Buffer.byteLength(password) > maxPasswordBytes) {
    return `the password is longer than ${maxPasswordBytes} bytes, and bcrypt ignores the rest: choose a shorter one`;
  }
  return undefined;
}

/** Why `name` cannot be a new account's name, or undefined. */
export function accountNameProblem(name: string): string | undefined {
  if (name === '') return 'is empty';
  if (!wasUtf8(name)) return 'is not UTF-8';
  if (Buffer.byteLength(name) > 255) return 'is longer than 255 bytes';
  if (name.includes(':')) return 'must not hold a colon';
  // eslint-disable-next-line no-control-regex -- they are what is looked for
  if (/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(name)) return 'must not hold control characters';
  if (name !== name.trim()) return 'must not begin or end with a space';
  // `#` begins a comment in htpasswd, `$` and `@` a word and a group in access.yml.
  if (/^[#$@]/.test(name)) return 'must not begin with #, $ or @';
  return undefined;
}

/**
 * The bcrypt hash of `password` as `htpasswd -B` writes it. It takes 2^cost rounds on the calling thread, in slices.
 */
export async function hashPassword(password: string, cost = 10): Promise<string> {
  return asApacheWrites(await bcrypt.hash(password, cost));
}

/** `$2y$` is crypt_blowfish's name for what others call `$2b$`; Apache's htpasswd writes only the former. */
export function asApacheWrites(hash: string): string {
  return hash.replace(/^\$2b\$/, () => '$2y$');
}

/** A random password of over 140 bits, letters and digits only so that it survives any shell and any copying. */
export function generatePassword(): string {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
  return Array.from({ length: 24 }, () => letters.charAt(randomInt(letters.length))).join('');
}

/**
 * The random part of a bcrypt hash. It is drawn anew whenever a password is set, the same one again included, and stays
 * when only the cost or the kind of the hash is changed: so it tells one setting of a password from another.
 */
export function saltOf(hash: string): string {
  return hash.slice('$2y$10$'.length, '$2y$10$'.length + 22);
}
