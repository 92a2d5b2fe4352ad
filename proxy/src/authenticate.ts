import { OciError, type ErrorName } from '@wharfie/shared';
import { parse } from 'basic-auth';
import type { Asker } from './access/decide.js';
import type { Exchange, Login } from './exchange.js';
import type { Bearer, ClientTokens } from './token/client-tokens.js';

/** Checks a name and its password; the htpasswd verifier. */
export interface Passwords {
  /**
   * @param from the address that asks
   * @throws OciError TOOMANYREQUESTS when that has to wait
   */
  verify(name: string, password: string, from: string): Promise<boolean>;
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
  exchange: Exchange,
): Promise<Credentials> {
  const token = bearerToken(exchange);
  if (token === undefined) return basicAsker(passwords, exchange);
  const bearer = tokens.read(token);
  if (!bearer) throw new OciError('UNAUTHORIZED', 'the token is not, or no longer, good for anything: log in again');
  return bearer;
}

/**
 * Who asks, by Basic credentials or none.
 * @throws OciError UNAUTHORIZED for credentials that prove nothing
 */
export async function basicAsker(passwords: Passwords, { request, client }: Exchange): Promise<{ asker: Asker }> {
  const { authorization } = request.headers;
  if (authorization === undefined) return { asker: 'anonymous' };
  const credentials = parse(authorization);
  if (!credentials) {
    const message = 'the Authorization header holds no Basic credentials: log in with a name and a password';
    throw new OciError('UNAUTHORIZED', message);
  }
  const { name, pass } = credentials;
  // containers/image sends an empty name and password when it has none.
  if (name === '' && pass === '') return { asker: 'anonymous' };
  if (await passwords.verify(name, pass, client.address)) return { asker: { name } };
  throw wrongCredentials();
}

const outcomes: Partial<Record<ErrorName, Login>> = { UNAUTHORIZED: 'refused', TOOMANYREQUESTS: 'delayed' };

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
    exchange.login = (error instanceof OciError && outcomes[error.problem]) || 'failed';
    throw error;
  }
}

/** The token that a request brings in place of a password, if any. */
export function bearerToken({ request }: Exchange): string | undefined {
  return /^Bearer +(.*)$/i.exec(request.headers.authorization ?? '')?.[1];
}

/** The message is never the default one, on which Docker's engine repeats a push for 50 seconds. */
export function wrongCredentials(): OciError {
  return new OciError('UNAUTHORIZED', 'the name or the password is wrong: log in again');
}
