import { formatListenAddress, isLoopback, SettingsError, type ListenAddress, type Logger } from '@wharfie/shared';
import { hash } from 'node:crypto';
import { Agent as HttpAgent, request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { NetConnectOpts, Socket } from 'node:net';
import { answerTo } from './answer-to.js';
import { connectPatiently } from './patient-socket.js';

/** Below the registry's 75 s, so that we are the one to close an idle connection and no request meets a closed one. */
const idleConnection = 60_000;
/** How often each registry is asked whether it is there, and how long it has to answer, in milliseconds. */
const checkEvery = 2_000;
const checkTimeout = 5_000;
/** A busy registry may answer late once. */
const failuresAllowed = 1;

/** Why no connection can be made at all: no fault of a registry. */
const ownShortages = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL']);

/** Where one registry listens, as http-proxy and Node's client take it. */
export interface Upstream {
  protocol: 'http:' | 'https:';
  host: string;
  port: number;
  socketPath?: string;
}

/** Whether no connection could be made, so that nothing of the request was sent. */
export function isUnreachable(error: unknown): boolean {
  // Several addresses of one name failed, each for its own reason.
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  const { syscall } = first as NodeJS.ErrnoException;
  return syscall === 'connect' || syscall === 'getaddrinfo';
}

class PatientAgent extends HttpAgent {
  override createConnection(options: NetConnectOpts): Socket {
    return connectPatiently(options);
  }
}

/** The registries behind the proxy and the connections to them. Any of them can answer any request. */
export class Upstreams {
  readonly #http = new PatientAgent({ keepAlive: true, maxFreeSockets: 256, timeout: idleConnection });
  readonly #https = new HttpsAgent({ keepAlive: true, maxFreeSockets: 256, timeout: idleConnection });
  readonly #down = new Set<Upstream>();
  readonly #checks = new Set<NodeJS.Timeout>();
  #log: Logger | undefined;
  #turn = 0;

  constructor(readonly all: readonly Upstream[]) {}

  /**
   * The one that takes the next request, among those that are not known to be down. Requests with the same `key` go to
   * the same one as long as it is up; others take turns.
   */
  next(key?: string): Upstream {
    const up = this.all.filter((upstream) => this.isUp(upstream));
    // When all seem to be down there is nothing to lose.
    const candidates = up.length > 0 ? up : this.all;
    const chosen = key === undefined ? this.#turn++ % candidates.length : heaviest(candidates, key);
    return candidates[chosen] as Upstream;
  }

  isUp(upstream: Upstream): boolean {
    return !this.#down.has(upstream);
  }

  /** Remembers that no connection to `upstream` could be made: it gets nothing until it answers a check. */
  refused(upstream: Upstream, error: NodeJS.ErrnoException): void {
    if (this.#down.has(upstream) || ownShortages.has(error.code ?? '')) return;
    this.#down.add(upstream);
    this.#log?.error({ registry: nameOf(upstream), reason: error.message }, 'a registry is down and gets no requests');
  }

  /** Asks each registry again and again whether it is there, until `close`. */
  watch(log: Logger, every = checkEvery): void {
    this.#log = log;
    for (const upstream of this.all) this.#watchOne(upstream, every, 0);
  }

  #watchOne(upstream: Upstream, every: number, failures: number): void {
    const timer = setTimeout(() => {
      void this.#check(upstream).then((problem) => {
        // Closed while it was asked.
        if (!this.#checks.delete(timer)) return;
        const failed = problem === undefined ? 0 : failures + 1;
        if (problem === undefined) this.#answered(upstream);
        else if (isUnreachable(problem) || failed > failuresAllowed) this.refused(upstream, problem);
        this.#watchOne(upstream, every, failed);
      });
    }, every).unref();
    this.#checks.add(timer);
  }

  /** Any answer but a failure counts: a registry that refuses us for want of a token is there. */
  async #check(upstream: Upstream): Promise<Error | undefined> {
    try {
      const { answer } = this.#ask(upstream, '/v2/', {}, AbortSignal.timeout(checkTimeout));
      const { statusCode = 0 } = (await answer).resume();
      return statusCode < 500 ? undefined : new Error(`it answers ${statusCode}`);
    } catch (error) {
      return error as Error;
    }
  }

  #answered(upstream: Upstream): void {
    if (this.#down.delete(upstream)) this.#log?.info({ registry: nameOf(upstream) }, 'a registry is up again');
  }

  agent({ protocol }: Upstream): HttpAgent {
    return protocol === 'https:' ? this.#https : this.#http;
  }

  /** Sends a GET of our own; resolves to the head of the answer. */
  async get(path: string, headers: Record<string, string>, signal: AbortSignal): Promise<IncomingMessage> {
    for (let attempt = 1; ; attempt++) {
      const upstream = this.next();
      const { sent, answer } = this.#ask(upstream, path, headers, signal);
      try {
        return await answer;
      } catch (error) {
        if (isUnreachable(error)) this.refused(upstream, error as Error);
        if (!this.mayTryAnother(error, attempt) && !(attempt === 1 && crossed(error as Error, sent))) throw error;
      }
    }
  }

  /** Whether a request of which nothing was sent may go to another registry. */
  mayTryAnother(error: unknown, attempt: number): boolean {
    return isUnreachable(error) && attempt < this.all.length;
  }

  close(): void {
    for (const timer of this.#checks) clearTimeout(timer);
    this.#checks.clear();
    this.#http.destroy();
    this.#https.destroy();
  }

  #ask(upstream: Upstream, path: string, headers: Record<string, string>, signal: AbortSignal) {
    const options = { ...upstream, path, headers, signal, agent: this.agent(upstream) };
    const sent = (upstream.protocol === 'https:' ? httpsRequest : httpRequest)(options).end();
    return { sent, answer: answerTo(sent) };
  }
}

/** Whether the registry closed an idle connection in the moment in which we used it, so that it cannot have answered. */
export function crossed(error: NodeJS.ErrnoException, sent: ClientRequest | undefined): boolean {
  return error.code === 'ECONNRESET' && sent?.reusedSocket === true;
}

/** Whether a registry listens on this machine, or what passes connections on to it does. */
export function isLocal(upstream: Upstream): boolean {
  return isLoopback(addressOf(upstream));
}

/** How a registry is called in the log and in metrics. */
export function nameOf(upstream: Upstream): string {
  const address = formatListenAddress(addressOf(upstream));
  return upstream.socketPath === undefined ? `${upstream.protocol}//${address}` : address;
}

function addressOf({ socketPath, host, port }: Upstream): ListenAddress {
  return socketPath === undefined ? { host, port } : { path: socketPath };
}

/** What `upstream` reads as `Host`. */
export function hostOf({ protocol, host, port }: Upstream): string {
  return new URL(`${protocol}//${formatListenAddress({ host, port })}`).host;
}

/** Rendezvous hashing: when one of them goes or comes, only its own keys move. */
function heaviest(upstreams: readonly Upstream[], key: string): number {
  const weights = upstreams.map((upstream) => hash('sha1', `${nameOf(upstream)} ${key}`));
  return weights.reduce((best, weight, index) => (weight > (weights[best] ?? '') ? index : best), 0);
}

/**
 * The registries that `WHARFIE_REGISTRY_URL` lists, or the one at `listen` when it is not set.
 * @throws SettingsError
 */
export function parseUpstreams(urls: string | undefined, listen: ListenAddress): Upstream[] {
  if (urls === undefined) return [fromListen(listen)];
  return urls.split(',').map((text) => fromUrl(text.trim()));
}

function fromListen(listen: ListenAddress): Upstream {
  if (listen.path !== undefined) return fromSocket(listen.path);
  const everywhere: Record<string, string> = { '0.0.0.0': '127.0.0.1', '::': '::1' };
  return { protocol: 'http:', host: everywhere[listen.host] ?? listen.host, port: listen.port };
}

function fromSocket(socketPath: string): Upstream {
  return { protocol: 'http:', host: 'localhost', port: 80, socketPath };
}

function fromUrl(text: string): Upstream {
  if (text.startsWith('unix:') && text.length > 'unix:'.length) return fromSocket(text.slice('unix:'.length));
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const plain = url && url.pathname === '/' && url.search === '' && url.hash === '' && url.username === '';
  if (!plain || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new SettingsError(
      'WHARFIE_REGISTRY_URL',
      `must be http://HOST:PORT, https://HOST:PORT or unix:PATH${url?.username ? ', without a user' : `, not "${text}"`}`,
    );
  }
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  return { protocol: url.protocol, host, port };
}
