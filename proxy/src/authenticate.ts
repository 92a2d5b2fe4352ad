import { OciError } from '@wharfie/shared';
import { parse } from 'basic-auth';
import type { Asker } from './access/decide.js';
import type { Exchange } from './exchange.js';
import type { Bearer, ClientTokens } from './token/client-tokens.js';

/** Checks a name and its password; the htpasswd verifier. */
export interface Passwords {
  verify(name: string, password: string): Promise<boolean>;
}

/** Who asks, and, when a token says so, the most that this request may do. */
export type Credentials = { asker: Asker; scope?: never } | Bearer;

/**
 * Who asks, as the request's `Authorization` proves it: with a password or with a token of ours.
 * @throws OciError UNAUTHORIZED for credentials that prove nothing
 */
export async function authenticate(
  passwords: Passwords,
  tokens: ClientTokens,
  authorization: string | undefined,
): Promise<Credentials> {
  const token = bearerToken(authorization);
  if (token === undefined) return basicAsker(passwords, authorization);
  const bearer = tokens.read(token);
  if (!bearer) throw new OciError('UNAUTHORIZED', 'the token is not, or no longer, good for anything: log in again');
  return bearer;
}

/**
 * Who asks, by Basic credentials or none.
 * @throws OciError UNAUTHORIZED for credentials that prove nothing
 */
export async function basicAsker(passwords: Passwords, authorization: string | undefined): Promise<{ asker: Asker }> {
  if (authorization === undefined) return { asker: 'anonymous' };
  const credentials = parse(authorization);
  if (!credentials) {
    const message = 'the Authorization header holds no Basic credentials: log in with a name and a password';
    throw new OciError('UNAUTHORIZED', message);
  }
  // containers/image sends an empty name and password when it has none.
  if (credentials.name === '' && credentials.pass === '') return { asker: 'anonymous' };
  if (await passwords.verify(credentials.name, credentials.pass)) return { asker: { name: credentials.name } };
  throw wrongCredentials();
}

/** Waits for `check` to find out who asks, and notes in the exchange what came of it. */
export async function noteLogin<T extends Credentials>(exchange: Exchange, check: Promise<T>): Promise<T> {
  try {
    const found = await check;
    if (found.asker !== 'anonymous') {
      exchange.login = 'accepted';
      exchange.user = found.asker.name;
    }
    return found;
  } catch (error) {
    exchange.login = error instanceof OciError && error.problem === 'UNAUTHORIZED' ? 'refused' : 'failed';
    throw error;
  }
}

export function bearerToken(authorization: string | undefined): string | undefined {
  return /^Bearer +(.*)$/i.exec(authorization ?? '')?.[1];
}

/** The message is never the default one, on which Docker's engine repeats a push for 50 seconds. */
export function wrongCredentials(): OciError {
  return new OciError('UNAUTHORIZED', 'the name or the password is wrong: log in again');
}
