import { SettingsError, type ListenAddress } from '@wharfie/shared';
import { once } from 'node:events';
import { Agent as HttpAgent, request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { NetConnectOpts, Socket } from 'node:net';
import { connectPatiently } from './patient-socket.js';

/** Below the registry's 75 s, so that we are the one to close an idle connection and no request meets a closed one. */
const idleConnection = 60_000;
/** How long a registry that refused a connection is left alone while there are others. */
const restAfterRefusal = 5_000;

/** Where one registry listens, as http-proxy and Node's client take it. */
export interface Upstream {
  protocol: 'http:' | 'https:';
  host: string;
  hostname: string;
  port: number;
  socketPath?: string;
}

/** Connections that could not be made: nothing of the request was sent. */
const unreachable = new Set([
  'EACCES',
  'EADDRNOTAVAIL',
  'EAI_AGAIN',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOENT',
  'ENOTFOUND',
  'ETIMEDOUT',
]);

export function isUnreachable(error: unknown): boolean {
  return unreachable.has((error as NodeJS.ErrnoException).code ?? '');
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
  readonly #resting = new Map<Upstream, number>();
  #turn = 0;

  constructor(readonly all: readonly Upstream[]) {}

  /** The next one in turn that did not refuse a connection just now. */
  next(): Upstream {
    const now = Date.now();
    const awake = this.all.filter((upstream) => (this.#resting.get(upstream) ?? 0) <= now);
    const candidates = awake.length > 0 ? awake : this.all;
    return candidates[this.#turn++ % candidates.length] as Upstream;
  }

  /** Remembers that no connection to `upstream` could be made. */
  refused(upstream: Upstream): void {
    this.#resting.set(upstream, Date.now() + restAfterRefusal);
  }

  agent({ protocol }: Upstream): HttpAgent {
    return protocol === 'https:' ? this.#https : this.#http;
  }

  /** Sends a GET of our own; resolves to the head of the answer. */
  async get(path: string, headers: Record<string, string>, signal: AbortSignal): Promise<IncomingMessage> {
    for (let attempt = 1; ; attempt++) {
      const upstream = this.next();
      const options = { ...upstream, path, headers, signal, agent: this.agent(upstream) };
      const sent = (upstream.protocol === 'https:' ? httpsRequest : httpRequest)(options).end();
      try {
        const [answer] = (await once(sent, 'response')) as [IncomingMessage];
        return answer;
      } catch (error) {
        if (isUnreachable(error)) this.refused(upstream);
        if (!this.maySendAgain(error as Error, sent, attempt)) throw error;
      }
    }
  }

  /** Whether a request without a body that changes nothing may be sent once more, because none can have answered it. */
  maySendAgain(error: NodeJS.ErrnoException, sent: ClientRequest | undefined, attempt: number): boolean {
    if (isUnreachable(error)) return attempt < this.all.length;
    // The registry closed an idle connection in the moment in which we used it.
    return attempt === 1 && error.code === 'ECONNRESET' && sent?.reusedSocket === true;
  }

  close(): void {
    this.#http.destroy();
    this.#https.destroy();
  }
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
  const hostname = everywhere[listen.host] ?? listen.host;
  return { protocol: 'http:', host: hostname, hostname, port: listen.port };
}

function fromSocket(socketPath: string): Upstream {
  return { protocol: 'http:', host: 'localhost', hostname: 'localhost', port: 80, socketPath };
}

function fromUrl(text: string): Upstream {
  if (text.startsWith('unix:') && text.length > 'unix:'.length) return fromSocket(text.slice('unix:'.length));
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const plain = url && url.pathname === '/' && url.search === '' && url.hash === '' && url.username === '';
  if (!plain || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new SettingsError('WHARFIE_REGISTRY_URL', `must be http://HOST:PORT or unix:PATH, not "${text}"`);
  }
  const hostname = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  return { protocol: url.protocol, host: hostname, hostname, port };
}
