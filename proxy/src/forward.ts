import {
  Beside,
  bodyOutstanding,
  drain,
  fileHeader,
  type HandedFiles,
  hasBody,
  type Logger,
  passOn,
} from '@wharfie/shared';
import httpProxy from 'http-proxy';
import type { FileHandle } from 'node:fs/promises';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { refuseUpgrade } from './answer-to.js';
import { changesNothing, clientLeft, resetClient, type Asking, type Exchange } from './exchange.js';
import { requestHeaders, responseHeaders } from './headers.js';
import { Herd, isShareable } from './herd.js';
import { refuse } from './refuse.js';
import { badGateway, notAccepted, unavailable } from './registry-errors.js';
import { bodyOnceConnected, noBody, sendAtOnce, type Sending } from './request-body.js';
import { openHanded, sendFile } from './send-file.js';
import { crossed, hostOf, isLocal, isUnreachable, nameOf, type Upstream, type Upstreams } from './upstreams.js';

interface Attempt extends Sending {
  upstream: Upstream;
  number: number;
  /** The registry may hand over the file of a blob in place of its bytes. */
  offered: boolean;
  answered?: true;
}

/** So many missing files in a row do not lie on this machine at all; fewer may have been deleted a moment ago. */
const mostMissing = 5;
/** How long a connection to a registry may take to come about, in milliseconds: then another one is asked. */
const connectTimeout = 5_000;
/** Why a file cannot be opened now, but the next one perhaps can. */
const passing = new Set(['EIO', 'EMFILE', 'ENFILE', 'ENOENT', 'ESTALE']);

/**
 * Passes requests on to a registry and its answers back, both as streams, but for answers that several get. http-proxy
 * makes the request; the answer is written here, because it leaves the other side waiting when one side dies.
 */
export class Forwarder {
  readonly #proxy = httpProxy.createProxyServer({ selfHandleResponse: true, toProxy: true, prependPath: false });
  readonly #attempts = new Beside<IncomingMessage, Attempt>();
  readonly #herd = new Herd((exchange) => {
    this.#attempt(exchange, 1);
  });
  /** Those whose files cannot be read here. */
  readonly #apart = new Set<Upstream>();
  /** How many files in a row were missing. */
  readonly #missing = new Map<Upstream, number>();

  /** @param idle milliseconds without a byte from the registry after which it counts as dead */
  constructor(
    private readonly upstreams: Upstreams,
    private readonly files: HandedFiles,
    private readonly idle: number,
    private readonly log: Logger,
  ) {
    this.#proxy.on('proxyReq', (sent, request) => {
      this.#onSent(sent, request);
    });
    this.#proxy.on('proxyRes', (answer, request) => {
      const attempt = this.#attempts.get(request);
      if (!attempt) return;
      this.#onAnswer(attempt, answer).catch((error: unknown) => {
        // Such as a status that Node reads but does not write.
        this.log.error({ requestId: attempt.exchange.id, err: error }, 'an answer of the registry cannot be passed on');
        attempt.sent?.destroy();
        return refuse(attempt.exchange, badGateway());
      });
    });
  }

  /** Sends the request with `token` as the one thing that says who asks, and answers the client, whatever comes. */
  forward(exchange: Exchange, token: string): void {
    const { request, response, id } = exchange;
    request.headers = requestHeaders(request, token, id) as IncomingMessage['headers'];
    response.once('close', () => {
      if (!response.writableFinished) this.#attempts.get(request)?.sent?.destroy();
      exchange.asking?.over();
    });
    // What goes wrong with the connection shows in `close`.
    response.on('error', () => undefined);
    if (exchange.expectsContinue) response.writeContinue();
    this.#herd.add(exchange);
  }

  #attempt(exchange: Exchange, number: number, mayOffer = true): void {
    const { request, response, route } = exchange;
    // An upload is known to all of them, but its own need not look it up.
    const upstream = this.upstreams.next(route?.kind === 'upload' ? route.upload : undefined);
    const offered = mayOffer && this.#mayHandOver(upstream, exchange);
    const attempt: Attempt = { exchange, upstream, number, offered };
    this.#attempts.set(request, attempt);
    const options = {
      target: upstream,
      agent: this.upstreams.agent(upstream),
      ...(offered && { headers: { [fileHeader]: 'wanted' } }),
      buffer: hasBody(request) ? bodyOnceConnected(attempt) : noBody,
    };
    this.#proxy.web(request, response, options, (error) => {
      this.#onError(attempt, error);
    });
  }

  /** On this machine, so that there is a chance to find the same file. */
  #mayHandOver(upstream: Upstream, { request, route }: Exchange): boolean {
    const isPull = request.method === 'GET' && route?.kind === 'blob';
    return isPull && isLocal(upstream) && !this.#apart.has(upstream);
  }

  #onSent(sent: ClientRequest, request: IncomingMessage): void {
    const attempt = this.#attempts.get(request);
    if (!attempt) return;
    attempt.sent = sent;
    const { socket } = sent;
    const check = () => {
      if (socket?.connecting) sent.destroy(notConnected());
      else if (!waitsForClient(attempt, sent)) sent.destroy(new Error('the registry was silent for too long'));
    };
    // Looked at again after each time, as Node's own listener would not.
    socket?.on('timeout', check);
    sent.once('close', () => socket?.off('timeout', check));
    sent.setTimeout(this.idle);
    // Until it is connected; from then on the time above counts.
    if (socket?.connecting) socket.setTimeout(connectTimeout);
    refuseUpgrade(sent);
    if (clientLeft(attempt.exchange)) sent.destroy();
    else if (socket && bodyOutstanding(request)) sendAtOnce(sent, socket);
  }

  async #onAnswer(attempt: Attempt, answer: IncomingMessage): Promise<void> {
    const { exchange, upstream, sent } = attempt;
    const { request, response, id, asking } = exchange;
    attempt.answered = true;
    if (answer.statusCode === 401) {
      // A challenge of its own would have clients send it, or whomever it names, their passwords.
      attempt.bodyDropped = true;
      sent?.destroy();
      this.log.error(
        { requestId: id, registry: nameOf(upstream) },
        'the registry does not accept what this proxy signs',
      );
      await refuse(exchange, notAccepted());
      return;
    }
    const digest = answer.headers['docker-content-digest'];
    if (typeof digest === 'string') exchange.digest = digest;
    const handed = answer.headers[fileHeader];
    if (attempt.offered && typeof handed === 'string') {
      await this.#sendHanded(attempt, answer, handed);
      return;
    }
    if (asking && asking.others.length > 0 && isShareable(answer)) {
      await this.#giveToAll(asking, attempt, answer);
      return;
    }
    asking?.over();
    // A registry that answers before it has read everything will not read the rest.
    const early = bodyOutstanding(request);
    writeHead(exchange, upstream, answer, { more: early ? ['Connection', 'close'] : [] });
    try {
      await passOn(answer, response, (bytes) => {
        exchange.bytesOut += bytes;
      });
    } catch (error) {
      if (!clientLeft(exchange)) this.log.warn({ requestId: id, err: error }, 'the registry broke off an answer');
      resetClient(exchange);
      sent?.destroy();
      return;
    }
    if (early) {
      attempt.bodyDropped = true;
      sent?.destroy();
      await drain(request);
    }
    response.end();
  }

  /** Reads an answer, then gives it to all who wait for it: so nobody is held up by another one who reads slowly. */
  async #giveToAll(asking: Asking, { exchange, upstream }: Attempt, answer: IncomingMessage): Promise<void> {
    let body: Buffer;
    try {
      body = await buffer(answer);
    } catch (error) {
      if (clientLeft(exchange)) return;
      this.log.warn({ requestId: exchange.id, err: error }, 'the registry broke off an answer');
      await refuse(exchange, badGateway());
      return;
    }
    for (let to: Exchange | undefined = exchange; to; to = asking.others.shift()) {
      to.bytesOut += body.length;
      writeHead(to, upstream, answer);
      to.response.end(body);
    }
    asking.over();
  }

  /** Sends the file that the registry answered with. Where it cannot be read here, the registry is asked for the bytes. */
  async #sendHanded(attempt: Attempt, answer: IncomingMessage, handed: string): Promise<void> {
    const { exchange, upstream, number } = attempt;
    const { response, id } = exchange;
    answer.resume();
    const file = this.files.read(handed, id);
    if (!file) {
      this.log.error(
        { requestId: id, registry: nameOf(upstream) },
        'the registry hands over a file without signing it',
      );
      await refuse(exchange, badGateway());
      return;
    }
    let handle: FileHandle;
    try {
      handle = await openHanded(file);
      this.#missing.delete(upstream);
    } catch (error) {
      this.#notOpened(upstream, error as NodeJS.ErrnoException);
      if (!clientLeft(exchange)) this.#attempt(exchange, number, false);
      return;
    }
    writeHead(exchange, upstream, answer, { length: file.length });
    try {
      await sendFile(handle, file, response, (bytes) => {
        exchange.bytesOut += bytes;
      });
      response.end();
    } catch (error) {
      if (!clientLeft(exchange)) this.log.warn({ requestId: id, err: error }, 'a blob could not be sent to its end');
      resetClient(exchange);
    }
  }

  /** A file that is gone was deleted or replaced a moment ago, or never was here. */
  #notOpened(upstream: Upstream, { code = '', message: reason }: NodeJS.ErrnoException): void {
    const missing = (this.#missing.get(upstream) ?? 0) + (code === 'ENOENT' ? 1 : 0);
    this.#missing.set(upstream, missing);
    if ((passing.has(code) && missing < mostMissing) || this.#apart.has(upstream)) return;
    this.#apart.add(upstream);
    const message = 'the files of a registry cannot be read here, so that it sends all blobs itself, which is slower';
    this.log.info({ registry: nameOf(upstream), reason }, message);
  }

  #onError(attempt: Attempt, error: NodeJS.ErrnoException): void {
    const { exchange, upstream, number, sent } = attempt;
    // Once there is an answer, the connection's fate shows in the answer's own stream.
    if (attempt.answered || clientLeft(exchange) || this.#attempts.get(exchange.request) !== attempt) return;
    const refused = isUnreachable(error);
    if (refused) this.upstreams.refused(upstream, error);
    if (
      (!attempt.bodyBegun && this.upstreams.mayTryAnother(error, number)) ||
      (changesNothing(exchange) && number === 1 && !exchange.response.headersSent && crossed(error, sent))
    ) {
      this.#attempt(exchange, number + 1, attempt.offered);
      return;
    }
    this.log.warn({ requestId: exchange.id, err: error }, 'the registry did not answer');
    attempt.bodyDropped = true;
    void refuse(exchange, refused ? unavailable() : badGateway());
  }
}

/** Gives the client the head of the registry's answer. */
function writeHead(
  { response, id, publicPath }: Exchange,
  upstream: Upstream,
  answer: IncomingMessage,
  { length, more = [] }: { length?: number; more?: string[] } = {},
): void {
  const headers = responseHeaders(answer, id, () => hostOf(upstream), publicPath, length);
  response.writeHead(answer.statusCode ?? 502, [...headers, ...more]);
}

/** Whether it is the client that does not send, or read: that is seen to at the door. */
function waitsForClient({ exchange, bodyBegun }: Attempt, sent: ClientRequest): boolean {
  const { request, response } = exchange;
  return bodyOutstanding(request) ? bodyBegun === true && !sent.writableNeedDrain : response.writableNeedDrain;
}

/** As the system itself says it, after minutes. */
function notConnected(): NodeJS.ErrnoException {
  const error = new Error('no connection to the registry came about in time');
  return Object.assign(error, { code: 'ETIMEDOUT', syscall: 'connect' });
}
