import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Dispatcher } from 'undici';
import { Agent, request } from 'undici';
import { StorageFull, StorageUnavailable } from '../storage-driver.js';
import type { Login, Session } from './session.js';
import { NoEndpoint, SwiftRefused, SwiftUnreachable, delayOf, plain } from './session.js';

/** One request for an object, or for the container when it has no name. */
export interface Call {
  method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  name?: string;
  /** The container, when it is not ours: large objects name their own. */
  container?: string | undefined;
  /** A path of the cluster itself, in place of an object's. */
  cluster?: string;
  query?: Record<string, string>;
  headers?: Record<string, string>;
  /**
   * Bytes can be sent again; a source only once, so that a token that is refused loses it: whoever sends one has just had
   * an answer, which shows that Swift takes our token.
   */
  body?: Uint8Array | AsyncIterable<Uint8Array>;
  /** Asks every replica and takes the newest, where the first to answer could be an old one. */
  newest?: boolean;
  /** The answer is read as slowly as some client reads. */
  streams?: boolean;
  /** The status codes that the caller understands; any other is an error. */
  accept: readonly number[];
}

export interface Answer {
  status: number;
  /** The answer to a try before was lost, or a failure: what was asked for may have been done then. */
  repeated: boolean;
  /** A header's value, or an empty string. */
  header(name: string): string;
  body: Dispatcher.ResponseData['body'];
}

export interface ClientOptions {
  login: Login;
  container: string;
  /** PEM of the authorities that are trusted, instead of the system's. */
  ca?: string | undefined;
  /** Trusts any certificate. */
  insecure?: boolean;
  /** How often a request is sent again, and the first pause before that in milliseconds. */
  retries?: number;
  pause?: number;
  /** Milliseconds without a byte after which a request is given up. */
  timeout?: number;
}

/** A session, and when it is to be renewed, in milliseconds since 1970. */
type Held = Session & { renew: number };

/**
 * Answers after which the same request may succeed. 498 is Swift's rate limit, 499 what it says when a body comes too slowly.
 * 202 and 409 it says to a PUT and a DELETE when one copy of the object has something later, wherever the others stand: that
 * was done by a clock that is ahead, or at the same time, perhaps by somebody who failed. Asked again, we are the later one.
 */
export const passing: ReadonlySet<number> = new Set([202, 408, 409, 429, 498, 499, 500, 502, 503, 504]);
/** Connections to one server at a time, for what is short and for what takes as long as a client likes; what is more waits. */
const connections = { short: 64, slow: 1024 };
/** With less of its life left than this, in milliseconds, a token is not used any more. */
const reserve = 5000;
/** A token is renewed when this much of it is left, or a tenth of it if that is less. */
const renewal = 120_000;
/** How long after a renewal that failed the next one is tried, while the token lasts. */
const renewalPause = 10_000;
/** A server that asks for a longer one is not asked again. */
const longestPause = 10_000;
/** Milliseconds that a login may take, however often it is tried: clients wait for it. */
const loginLimit = 10_000;
/** Milliseconds after which a request is not repeated: the door gives up on its client's after some minutes. */
const patience = 90_000;

/**
 * Speaks to one container. A request is repeated after resets, time-outs and answers that pass, when its body can be: all
 * that we ask for is idempotent. The token is renewed before it ends, and once when Swift refuses it.
 *
 * @throws StorageFull, StorageUnavailable when there is no answer, or one that the caller does not understand
 */
export class SwiftClient {
  readonly container: string;
  readonly #short: Agent;
  /** Clients that read slowly, and those that send slowly, keep nobody else from a connection. */
  readonly #downloads: Agent;
  readonly #uploads: Agent;
  readonly #options: ClientOptions;
  #session: Promise<Held> | undefined;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.container = options.container;
    const timeout = options.timeout ?? 60_000;
    const settings = {
      pipelining: 1,
      headersTimeout: timeout,
      bodyTimeout: timeout,
      connect: {
        timeout: Math.min(timeout, 5000),
        rejectUnauthorized: options.insecure !== true,
        ...(options.ca === undefined ? {} : { ca: options.ca }),
      },
    };
    this.#short = new Agent({ ...settings, connections: connections.short });
    this.#downloads = new Agent({ ...settings, connections: connections.slow });
    // A source is asked for its next bytes once the system has taken those before: it may overwrite them then.
    const connect = { ...settings.connect, highWaterMark: 1 };
    this.#uploads = new Agent({ ...settings, connect, connections: connections.slow });
  }

  async call(call: Call, signal: AbortSignal): Promise<Answer> {
    const once = call.body !== undefined && !(call.body instanceof Uint8Array);
    // One signal stands for as many requests as its owner makes at once.
    setMaxListeners(0, signal);
    let renewed = false;
    let repeated = false;
    const begun = Date.now();
    for (let attempt = 0; ; attempt += 1) {
      signal.throwIfAborted();
      const session = await this.#login(signal);
      const outcome = await this.#attempt(call, session, signal);
      if (!(outcome instanceof Error)) return { ...outcome.answer, repeated };
      const stale = outcome instanceof SwiftRefused && outcome.status === 401;
      if (stale) await this.#forget(session);
      const inTime = attempt < (this.#options.retries ?? 4) && Date.now() - begun < patience;
      const again = stale ? !renewed : inTime && mayPass(outcome);
      if (once || !again) throw asStorageError(outcome);
      renewed ||= stale;
      repeated ||= !(outcome instanceof SwiftRefused && outcome.status < 500);
      if (!stale) await this.#pause(attempt, outcome, signal);
    }
  }

  /** The same, for an answer without a body worth reading. */
  async send(call: Call, signal: AbortSignal): Promise<Answer> {
    const answer = await this.call(call, signal);
    await answer.body.dump();
    return answer;
  }

  /** Where an object is, for whoever has a right of its own. */
  async address(name: string, signal: AbortSignal): Promise<string> {
    return (await this.#login(signal)).storageUrl + pathOf(this.container, name);
  }

  /** What the cluster says of its limits; undefined when it does not. */
  async info(signal: AbortSignal): Promise<unknown> {
    try {
      const { body } = await this.call({ method: 'GET', cluster: '/info', accept: [200] }, signal);
      return JSON.parse(await body.text());
    } catch {
      signal.throwIfAborted();
      return undefined;
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#short, this.#downloads, this.#uploads].map((agent) => agent.destroy()));
  }

  async #attempt(
    call: Call,
    session: Session,
    signal: AbortSignal,
  ): Promise<{ answer: Omit<Answer, 'repeated'> } | SwiftRefused | SwiftUnreachable> {
    const { container = this.container, name, cluster } = call;
    const what = `${call.method} ${cluster ?? `${container}${name === undefined ? '' : `/${name}`}`}`;
    const query = call.query ? `?${new URLSearchParams(call.query).toString()}` : '';
    const length = call.body === undefined ? 0 : call.body instanceof Uint8Array ? call.body.length : undefined;
    try {
      const { storageUrl } = session;
      const address = cluster ? new URL(cluster, storageUrl).href : storageUrl + pathOf(container, name);
      const { statusCode, headers, body } = await request(address + query, {
        method: call.method,
        headers: {
          'x-auth-token': session.token,
          ...(call.newest ? { 'x-newest': 'true' } : {}),
          ...(call.method === 'PUT' && length !== undefined ? { 'content-length': String(length) } : {}),
          ...call.headers,
        },
        ...(call.body === undefined ? {} : { body: call.body as Uint8Array }),
        dispatcher: length === undefined ? this.#uploads : call.streams === true ? this.#downloads : this.#short,
        signal,
      });
      const header = (key: string): string => [headers[key] ?? ''].flat().join(', ');
      if (call.accept.includes(statusCode)) return { answer: { status: statusCode, header, body } };
      const said = plain(await body.text().catch(() => ''));
      return new SwiftRefused(statusCode, what, said, delayOf(header('retry-after')));
    } catch (error) {
      signal.throwIfAborted();
      if (length === undefined && !isTransport(error)) throw error;
      return new SwiftUnreachable(what, error);
    }
  }

  #login(signal: AbortSignal): Promise<Session> {
    signal.throwIfAborted();
    return unlessAborted(this.#current(), signal);
  }

  #current(): Promise<Session> {
    const current = this.#session;
    if (!current) return this.#renew();
    return current.then((session) => {
      if (this.#session !== current || Date.now() < session.renew) return session;
      if (Date.now() + reserve >= (session.expires ?? Infinity)) return this.#renew();
      // While the token lasts, nobody waits for the next one, nor fails because its login does.
      session.renew = Date.now() + renewalPause;
      this.#newSession().then(
        (next) => {
          if (this.#session === current) this.#session = Promise.resolve(next);
        },
        () => undefined,
      );
      return session;
    });
  }

  /** One login for all who wait for it, so it ends with nobody's signal. */
  #renew(): Promise<Session> {
    const login = this.#newSession();
    this.#session = login;
    login.catch(() => {
      if (this.#session === login) this.#session = undefined;
    });
    return login;
  }

  async #newSession(): Promise<Held> {
    const session = await this.#retriedLogin();
    const left = (session.expires ?? Infinity) - Date.now();
    return { ...session, renew: Date.now() + left - Math.min(renewal, left / 10) };
  }

  async #retriedLogin(): Promise<Session> {
    const { login, timeout = 60_000, retries = 4 } = this.#options;
    const signal = AbortSignal.timeout(Math.min(timeout, loginLimit));
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await login(this.#short, signal);
      } catch (error) {
        const again = error instanceof Error && attempt < retries && mayPass(error) && !signal.aborted;
        if (!again) throw asStorageError(error);
        await this.#pause(attempt, error, signal);
      }
    }
  }

  async #forget(refused: Session): Promise<void> {
    const current = this.#session;
    const session = await current?.catch(() => undefined);
    if (this.#session === current && session?.token === refused.token) this.#session = undefined;
  }

  /** Doubles from try to try, of random length so that many do not come back at once; longer when Swift says so. */
  async #pause(attempt: number, error: Error, signal: AbortSignal): Promise<void> {
    const base = Math.min((this.#options.pause ?? 100) * 2 ** attempt, longestPause);
    const asked = error instanceof SwiftRefused ? error.retryAfter : 0;
    const wait = Math.max(base / 2 + (Math.random() * base) / 2, asked);
    await delay(wait, undefined, { signal }).catch(() => undefined);
  }
}

/** Waits no longer than `signal` lets; what is waited for goes on, as others may wait for it too. */
function unlessAborted<T>(awaited: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      reject(signal.reason as Error);
    };
    signal.addEventListener('abort', stop);
    void awaited.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', stop);
    });
  });
}

function mayPass(error: Error): boolean {
  return (
    (error instanceof SwiftUnreachable && error.flaw === undefined) ||
    (error instanceof SwiftRefused && passing.has(error.status) && error.retryAfter <= longestPause)
  );
}

/** Nobody who asks for an object can do anything about it now; the cause is for the log, and for the start of the program. */
function asStorageError(error: unknown): unknown {
  if (error instanceof SwiftRefused && [413, 507].includes(error.status)) return new StorageFull(error.message);
  if (error instanceof SwiftRefused || error instanceof SwiftUnreachable || error instanceof NoEndpoint)
    return new StorageUnavailable(error.message, { cause: error });
  return error;
}

/** Whether the connection failed, and not the source of the body. */
function isTransport(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' && /^(UND_ERR_|E[A-Z]+$|CERT_|ERR_TLS|ERR_SSL|HPE_)/.test(code);
}

/** What an answer says. @throws StorageUnavailable when it breaks off */
export async function jsonOf({ body }: Answer): Promise<unknown> {
  try {
    return await body.json();
  } catch (error) {
    throw new StorageUnavailable('an answer of Swift broke off', { cause: error });
  }
}

/** Gives up the rest of an answer, and the connection with it. */
export function discard({ body }: Answer): void {
  body.on('error', () => undefined).destroy();
}

/** Every component encoded by itself: Swift takes names as they come, dots and all. */
export function pathOf(container: string, name: string | undefined): string {
  return `/${[container, ...(name?.split('/') ?? [])].map(encodeURIComponent).join('/')}`;
}
