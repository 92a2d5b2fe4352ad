import type { Dispatcher } from 'undici';
import { request } from 'undici';

/** What a login gives. */
export interface Session {
  token: string;
  /** The account's address, without a slash at the end. */
  storageUrl: string;
  /** When the token ends, in milliseconds since 1970; undefined when nobody said. */
  expires: number | undefined;
}

/** Logs in. @throws SwiftRefused when the credentials are not accepted, SwiftUnreachable when nobody answers */
export type Login = (dispatcher: Dispatcher, signal: AbortSignal) => Promise<Session>;

/** Swift, or who guards it, answered, and the answer is no. */
export class SwiftRefused extends Error {
  override readonly name = 'SwiftRefused';

  constructor(
    readonly status: number,
    what: string,
    said: string,
    /** Milliseconds for which it wants not to be asked again. */
    readonly retryAfter = 0,
  ) {
    super(`${what} was answered ${status}${said === '' ? '' : `: ${said}`}`);
  }
}

/** There was no whole answer. */
export class SwiftUnreachable extends Error {
  override readonly name = 'SwiftUnreachable';
  /** What is wrong with the TLS of the other side, which no other try will mend. */
  readonly flaw: 'untrusted' | 'another name' | 'none' | undefined;

  constructor(what: string, cause: unknown) {
    const { message = '', code = 'unknown reason' } = cause as { message?: string; code?: string };
    const flaw = flawOf(code);
    const reason = flaw === 'none' ? 'what listens there does not speak TLS' : plain(message) || code;
    super(`${what} got no answer: ${reason}`, { cause });
    this.flaw = flaw;
  }
}

function flawOf(code: string): SwiftUnreachable['flaw'] {
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER') return 'none';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'another name';
  return /CERT|UNABLE_TO_VERIFY|TLS/.test(code) ? 'untrusted' : undefined;
}

/** Which of the endpoints in a service catalogue is meant. */
export interface Place {
  region?: string | undefined;
  /** `public`, `internal` or `admin`. */
  interface: string;
}

/** An object-store in a service catalogue. */
export interface Endpoint {
  url: string;
  interface: string;
  regions: readonly string[];
}

/** The service catalogue has no object-store where it was looked for. */
export class NoEndpoint extends Error {
  override readonly name = 'NoEndpoint';

  constructor(
    /** What it lacks. */
    readonly missing: 'service' | 'region' | 'interface',
    message: string,
  ) {
    super(message);
  }
}

/** The address of the first endpoint in this place, without a slash at the end. @throws NoEndpoint */
export function addressAt(place: Place, endpoints: readonly Endpoint[]): string {
  if (endpoints.length === 0)
    throw new NoEndpoint('service', 'the catalogue that the login gives has no object-store for this project');
  const here = endpoints.filter(({ regions }) => place.region === undefined || regions.includes(place.region));
  if (here.length === 0) {
    const known = [...new Set(endpoints.flatMap(({ regions }) => regions))].sort().join(', ');
    throw new NoEndpoint(
      'region',
      `there is no object-store in the region ${place.region ?? ''}; there is in ${known}`,
    );
  }
  const endpoint = here.find((one) => one.interface === place.interface);
  if (endpoint) return trimmed(endpoint.url);
  const known = [...new Set(here.map((one) => one.interface))].join(', ');
  throw new NoEndpoint('interface', `the object-store has no interface ${place.interface}; it has ${known}`);
}

/** One message to an authentication service, and its answer as text. */
export async function ask(
  url: string,
  message: { method: 'GET' | 'POST'; headers: Record<string, string>; body?: string },
  dispatcher: Dispatcher,
  signal: AbortSignal,
): Promise<{ headers: Record<string, string | string[] | undefined>; text: string }> {
  const what = `the login at ${url}`;
  try {
    const { statusCode, headers, body } = await request(url, { ...message, dispatcher, signal });
    const text = await body.text();
    if (statusCode >= 300)
      throw new SwiftRefused(statusCode, what, plain(text), delayOf(String(headers['retry-after'] ?? '')));
    return { headers, text };
  } catch (error) {
    throw error instanceof SwiftRefused ? error : new SwiftUnreachable(what, error);
  }
}

/** What a Retry-After asks for (RFC 9110, 10.2.3), in milliseconds; 0 when it is missing or makes no sense. */
export function delayOf(retryAfter: string): number {
  return Number(retryAfter) * 1000 || Date.parse(retryAfter) - Date.now() || 0;
}

/** The words of an answer that may be JSON or a small HTML page, in one short line. */
export function plain(text: string): string {
  const message = /"message":\s*"((?:[^"\\]|\\.)*)"/.exec(text)?.[1];
  return (message ?? text.replace(/<[^>]*>/g, ' ')).replace(/\s+/g, ' ').trim().slice(0, 300);
}

/** When a token ends, in milliseconds since 1970 by our own clock: that of who gave it may go otherwise. */
export function endOf(issued: string | null | undefined, expires: string | null | undefined): number | undefined {
  const end = Date.parse(expires ?? '');
  const life = end - Date.parse(issued ?? '');
  const known = Number.isNaN(life) ? end : Date.now() + life;
  return Number.isNaN(known) ? undefined : known;
}

/** An address without slashes at its end. */
export function trimmed(url: string): string {
  return url.replace(/\/+$/, '');
}
