import { fileHeader, hasBody, OciError, ownHeaders } from '@wharfie/shared';
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';

/** What the registry reads of a request, besides its body. Everything else that a client sends ends here. */
const forwarded = [
  'accept',
  'content-range',
  'content-type',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'range',
  'user-agent',
];

/** Headers of one connection, which say nothing about the next. https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1 */
const hopByHop = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];

/** What the client is never told of the registry's answer, whatever its connection names. */
const notPassedOn = new Set([
  ...hopByHop,
  ...Object.keys(ownHeaders('')).map((name) => name.toLowerCase()),
  fileHeader,
]);

const withBody = new Set(['POST', 'PUT', 'PATCH']);

/**
 * Refuses what two HTTP parsers could understand differently, where Node's own parser lets it pass.
 * @throws OciError
 */
export function checkFraming(request: IncomingMessage): void {
  const { headers, rawHeaders, httpVersion, method = '' } = request;
  if (httpVersion !== '1.1' && httpVersion !== '1.0')
    throw unclear(`HTTP/${httpVersion} is not spoken here; use HTTP/1.1`);
  const names = rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase());
  const count = (wanted: string) => names.filter((name) => name === wanted).length;
  const hosts = count('host');
  // https://www.rfc-editor.org/rfc/rfc9112#section-3.2
  if (hosts > 1 || (hosts === 0 && httpVersion !== '1.0')) {
    throw unclear('a request needs exactly one Host header');
  }
  if (count('authorization') > 1) throw unclear('a request has one Authorization header at most');
  const coding = headers['transfer-encoding'];
  if (coding !== undefined && (httpVersion === '1.0' || coding.toLowerCase() !== 'chunked')) {
    throw unclear('the only Transfer-Encoding is chunked, and that from HTTP/1.1 on');
  }
  // Besides, http-proxy calls the body of a DELETE empty and sends it all the same, as the next request of the connection.
  if (hasBody(request) && !withBody.has(method)) throw unclear(`${method} takes no body here`);
}

/** Where the next request begins is unclear too, so there is none on this connection. */
function unclear(message: string): OciError {
  return new OciError('BAD_REQUEST', message, undefined, { Connection: 'close' });
}

/** The head that the registry gets. The body keeps its framing: a length stays a length, chunks stay chunks. */
export function requestHeaders(request: IncomingMessage, token: string, requestId: string): OutgoingHttpHeaders {
  const { headers, method = '' } = request;
  const ofConnection = namedIn(headers.connection);
  const result: OutgoingHttpHeaders = { authorization: `Bearer ${token}`, 'x-request-id': requestId };
  for (const name of forwarded) {
    const value = headers[name];
    if (value === undefined || ofConnection.has(name)) continue;
    // No request of the API is a form, and distribution would read parameters out of it that nobody has checked.
    if (name === 'content-type' && isForm(value)) continue;
    result[name] = value;
  }
  if (headers['transfer-encoding'] !== undefined) result['transfer-encoding'] = 'chunked';
  else if (withBody.has(method)) result['content-length'] = headers['content-length'] ?? '0';
  return result;
}

function isForm(contentType: string | string[]): boolean {
  return /^\s*(application\/x-www-form-urlencoded|multipart\/)/i.test(String(contentType));
}

/**
 * The registry's headers as the client gets them, in the letters that they came in. Where they point to the registry
 * itself they point to the door instead, by a path alone: so they are right whatever the client calls the door.
 * @param requestId that of the exchange
 * @param registryHost what the registry takes for its own host, as in `Host`
 * @param length of the body, where it is not the registry that sends it
 */
export function responseHeaders(
  response: IncomingMessage,
  requestId: string,
  registryHost: () => string,
  publicPath: string,
  length?: number,
): string[] {
  const ofConnection = namedIn(response.headers.connection);
  const raw = response.rawHeaders;
  const result = Object.entries(ownHeaders(requestId)).flat();
  if (length !== undefined) result.push('Content-Length', String(length));
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index] ?? '';
    const value = raw[index + 1] ?? '';
    const lower = name.toLowerCase();
    if (notPassedOn.has(lower) || ofConnection.has(lower)) continue;
    if (length !== undefined && lower === 'content-length') continue;
    const points = lower === 'location' || lower === 'link';
    result.push(name, points ? atTheDoor(value, registryHost(), publicPath) : value);
  }
  return result;
}

function atTheDoor(value: string, registryHost: string, publicPath: string): string {
  const [, bracket = '', host, path = ''] = /^(<?)(?:https?:\/\/([^/]*))?(\/.*)$/.exec(value) ?? [];
  return path === '' || (host ?? registryHost) !== registryHost ? value : bracket + publicPath + path;
}

function namedIn(connection: string | undefined): Set<string> {
  return new Set(connection?.split(',').map((name) => name.trim().toLowerCase()));
}
