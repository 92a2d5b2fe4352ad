import { type Access, hasBody, OciError, parseQuery } from '@wharfie/shared';
import type { IncomingMessage } from 'node:http';
import { allowsAnonymous, type Asker } from '../access/decide.js';
import type { Policy } from '../access/policy.js';
import { basicAsker, noteLogin, wrongCredentials, type Passwords } from '../authenticate.js';
import { answerJson, type Exchange } from '../exchange.js';
import { tokenLifetime, type ClientTokens } from './client-tokens.js';
import { grant, parseScopes } from './scope.js';

export const tokenPath = '/token';

/** Longest form of a POST, in bytes; one with a hundred scopes has a third of that. */
const maxForm = 16 * 1024;
/** Milliseconds that it may take to arrive. */
const longestForm = 10_000;
/** More do not fit into such a token. */
const mostScopes = 200;
/** Longest token, in bytes, that clients can show at this door, where the head of a request has an end. */
const maxToken = 12 * 1024;

interface TokenRequest {
  asker: Asker;
  asked: Access[];
  /** Whether the client wants a token that it can keep instead of the password. */
  offline: boolean;
}

/**
 * Answers a token request: GET with Basic credentials or none, POST with a form.
 * https://distribution.github.io/distribution/spec/auth/token/ and /oauth/
 * @throws OciError
 */
export async function answerToken(
  exchange: Exchange,
  policy: { readonly current: Policy },
  passwords: Passwords,
  tokens: ClientTokens,
): Promise<void> {
  const { request } = exchange;
  if (request.method !== 'GET' && request.method !== 'POST') {
    const headers = { Allow: 'GET, POST' };
    throw new OciError('UNSUPPORTED', 'a token is asked for with GET or POST', undefined, headers);
  }
  const { asker, asked, offline } =
    request.method === 'GET' ? await readQuery(exchange, passwords) : await readPost(exchange, passwords, tokens);
  if (asker === 'anonymous' && !allowsAnonymous(policy.current)) {
    throw new OciError('UNAUTHORIZED', 'this registry needs a login: use a name and a password');
  }
  if (asked.length > mostScopes) throw tooManyScopes(asked.length);
  const granted = grant(policy.current, asker, asked);
  const token = tokens.issue(asker, granted);
  if (token.length > maxToken) throw tooManyScopes(granted.length);
  const answer = {
    // Docker's clients read `token`, those of OAuth 2 `access_token`.
    token,
    access_token: token,
    expires_in: tokenLifetime,
    issued_at: new Date().toISOString(),
    scope: granted.map(({ type, name, actions }) => `${type}:${name}:${actions.join(',')}`).join(' '),
    ...(offline && asker !== 'anonymous' && { refresh_token: tokens.issueRefresh(asker.name) }),
  };
  // https://www.rfc-editor.org/rfc/rfc6749#section-5.1
  answerJson(exchange, answer, { 'Cache-Control': 'no-store' });
}

async function readQuery(exchange: Exchange, passwords: Passwords): Promise<TokenRequest> {
  const { url = '' } = exchange.request;
  const query = parseQuery(url.slice(tokenPath.length + 1));
  const { asker } = await noteLogin(exchange, basicAsker(passwords, exchange));
  return { asker, asked: parseScopes(query.getAll('scope')), offline: query.get('offline_token') === 'true' };
}

async function readPost(exchange: Exchange, passwords: Passwords, tokens: ClientTokens): Promise<TokenRequest> {
  const form = await readForm(exchange);
  const { asker } = await noteLogin(exchange, formAsker(form, exchange.client.address, passwords, tokens));
  return { asker, asked: parseScopes(form.getAll('scope')), offline: form.get('access_type') === 'offline' };
}

async function formAsker(
  form: URLSearchParams,
  from: string,
  passwords: Passwords,
  tokens: ClientTokens,
): Promise<{ asker: Asker }> {
  const grantType = form.get('grant_type');
  if (grantType === 'password') {
    const name = form.get('username') ?? '';
    if (await passwords.verify(name, form.get('password') ?? '', from)) return { asker: { name } };
    throw wrongCredentials();
  }
  if (grantType === 'refresh_token') {
    const name = tokens.readRefresh(form.get('refresh_token') ?? '');
    if (name !== undefined) return { asker: { name } };
    throw new OciError(
      'UNAUTHORIZED',
      'the login is over, because the password changed or the account went: log in again',
    );
  }
  throw new OciError('BAD_REQUEST', 'grant_type must be password or refresh_token');
}

async function readForm({ request, response, expectsContinue }: Exchange): Promise<URLSearchParams> {
  const type = request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase();
  if (type !== 'application/x-www-form-urlencoded' || !hasBody(request)) {
    throw new OciError('BAD_REQUEST', 'a token is asked for with a form: application/x-www-form-urlencoded');
  }
  const tooLong = new OciError('CONTENT_TOO_LARGE', `the form of a token request may have ${maxForm} bytes`);
  if (Number(request.headers['content-length'] ?? 0) > maxForm) throw tooLong;
  if (expectsContinue) response.writeContinue();
  return parseQuery((await readBody(request, tooLong)).toString());
}

/** Copied into one buffer: each piece that comes is a buffer of its own, which takes some 350 bytes for one of body. */
function readBody(request: IncomingMessage, tooLong: OciError): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const body = Buffer.allocUnsafe(Number(request.headers['content-length'] ?? maxForm));
    let length = 0;
    const done = (error?: Error): void => {
      clearTimeout(timer);
      request.off('data', take).off('end', done).off('close', left).pause();
      if (error) reject(error);
      else resolve(body.subarray(0, length));
    };
    const take = (chunk: Buffer): void => {
      if (length + chunk.length > body.length) done(tooLong);
      else length += chunk.copy(body, length);
    };
    const left = (): void => {
      done(new Error('the client left'));
    };
    const timer = setTimeout(() => {
      done(new OciError('REQUEST_TIMEOUT', 'the form of a token request took too long to arrive'));
    }, longestForm);
    request.once('end', done).once('close', left).on('data', take);
  });
}

function tooManyScopes(count: number): OciError {
  return new OciError('BAD_REQUEST', `${count} scopes are too many for one token: ask for fewer at once`);
}
