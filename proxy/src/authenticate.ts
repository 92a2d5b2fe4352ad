import { OciError } from '@wharfie/shared';
import { parse } from 'basic-auth';
import type { Asker } from './access/decide.js';
import { challenge } from './challenge.js';

/** Checks a name and its password; the htpasswd verifier. */
export interface Passwords {
  verify(name: string, password: string): Promise<boolean>;
}

/**
 * Who asks, as the request's `Authorization` proves it.
 * @throws OciError UNAUTHORIZED for credentials that prove nothing
 */
export async function authenticate(passwords: Passwords, authorization: string | undefined): Promise<Asker> {
  if (authorization === undefined) return 'anonymous';
  const credentials = parse(authorization);
  if (!credentials) {
    throw unauthorized('the Authorization header holds no Basic credentials: log in with a name and a password');
  }
  // containers/image sends an empty name and password when it has none.
  if (credentials.name === '' && credentials.pass === '') return 'anonymous';
  if (await passwords.verify(credentials.name, credentials.pass)) return { name: credentials.name };
  throw unauthorized('the name or the password is wrong: log in again');
}

/** Asks for credentials. The message is never the default one, on which Docker's engine repeats a push for 50 seconds. */
export function unauthorized(message: string): OciError {
  return new OciError('UNAUTHORIZED', message, undefined, challenge());
}
