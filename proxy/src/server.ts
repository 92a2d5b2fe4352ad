import {
  HandedFiles,
  identitySigner,
  OciError,
  parseRoute,
  type AddressList,
  type Identity,
  type Logger,
  type Route,
} from '@wharfie/shared';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { recordWhenOver } from './access-log.js';
import { mayPullEverything, type Asker } from './access/decide.js';
import type { Policy } from './access/policy.js';
import type { AuditLog } from './audit.js';
import { authenticate, noteLogin, type Passwords } from './authenticate.js';
import { authorize } from './authorize.js';
import { FilteredCatalog } from './catalog.js';
import { challenge } from './challenge.js';
import type { Door } from './door.js';
import { beginExchange, clientLeft, resetClient, type Exchange } from './exchange.js';
import { Forwarder } from './forward.js';
import { checkFraming } from './headers.js';
import type { Htpasswd } from './htpasswd/file.js';
import type { Metrics } from './metrics.js';
import { uploadsTarget } from './uploads-target.js';
import { refuse } from './refuse.js';
import { ClientTokens } from './token/client-tokens.js';
import { answerToken, tokenPath } from './token/endpoint.js';
import type { Upstreams } from './upstreams.js';

/** What the door needs to let anybody in. What is `current` is read anew for every request. */
export interface Services {
  passwords: Passwords;
  accounts: { readonly current: Htpasswd };
  policy: { readonly current: Policy };
  secret: Buffer;
  upstreams: Upstreams;
  log: Logger;
  metrics: Metrics;
  audit: AuditLog | undefined;
  /** Milliseconds without a byte from the registry after which it counts as dead. */
  idle: number;
  /** The proxies in front whose word on their clients is believed. */
  trusted: AddressList;
  /** The address that clients use, when requests do not show it. */
  publicUrl: string | undefined;
}

/** Requests that wait for their turn on one connection at most; hardly any client sends a second before the first answer. */
const mostWaiting = 32;

/** Serves the door: who asks, may they, then forward it with a signed identity that holds exactly that. */
export function serve({ server, connections }: Door, services: Services): void {
  const { policy, passwords, upstreams, log, trusted } = services;
  const publicPath = pathOf(services.publicUrl);
  const sign = identitySigner(services.secret);
  const tokens = new ClientTokens(services.secret, services.accounts);
  const catalog = new FilteredCatalog(upstreams, services.idle);
  const forwarder = new Forwarder(upstreams, new HandedFiles(services.secret), services.idle, log);

  async function answer(exchange: Exchange): Promise<void> {
    const { request } = exchange;
    // While it waited for its turn.
    if (clientLeft(exchange)) return;
    checkFraming(request);
    if (request.url?.split('?', 1)[0] === tokenPath) {
      exchange.kind = 'token';
      await answerToken(exchange, policy, passwords, tokens);
      return;
    }
    const route = parseRoute(request.method ?? '', request.url ?? '');
    exchange.route = route;
    exchange.kind = route.kind;
    const credentials = await noteLogin(exchange, authenticate(passwords, tokens, exchange));
    // The client may have left while its password was checked.
    if (clientLeft(exchange)) return;
    const identity = authorize(policy.current, credentials, route);
    await pass(exchange, route, credentials.asker, identity);
  }

  async function pass(exchange: Exchange, route: Route, asker: Asker, identity: Identity): Promise<void> {
    if (route.kind === 'uploads') exchange.request.url = uploadsTarget(route, identity);
    if (route.kind === 'catalog' && !mayPullEverything(policy.current, asker)) {
      await catalog.answer(exchange, route, { asker, policy, sign: () => sign(identity) });
    } else forwarder.forward(exchange, sign(identity));
  }

  function begin(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): Exchange {
    const exchange = beginExchange(request, response, { trusted, publicPath, expectsContinue });
    recordWhenOver(exchange, services);
    return exchange;
  }

  function handle(
    request: IncomingMessage,
    response: ServerResponse,
    expectsContinue: boolean,
    work: (exchange: Exchange) => Promise<void> = answer,
  ): void {
    const { socket } = request;
    // Node goes on with what it had read of a connection that was closed.
    if (socket.destroyed) return;
    const exchange = begin(request, response, expectsContinue);
    const underWay = connections.underWay(socket);
    const before = underWay.slice(0, underWay.indexOf(response));
    // Node itself reads on until the client holds up answers, and those that wait for their turn have none.
    if (before.length > mostWaiting) {
      resetClient(exchange);
      return;
    }
    // Node drops what it has read behind such a request.
    if (request.headers.upgrade !== undefined) response.shouldKeepAlive = false;
    const last = before.at(-1);
    const turn = last ? once(last, 'close').then(() => atItsTurn(exchange, work)) : work(exchange);
    turn.catch((error: unknown) => {
      // There is nobody to answer, and what failed is most likely what they left behind.
      if (clientLeft(exchange)) return undefined;
      const refusal = asOciError(error, exchange, log);
      const more = refusal.status === 401 ? challenge(policy.current, exchange, services.publicUrl) : {};
      return refuse(exchange, refusal, more);
    });
  }

  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    handle(request, response, false);
  });
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    handle(request, response, true);
  });
  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    handle(request, response, true, (exchange) =>
      refuse(exchange, new OciError('EXPECTATION_FAILED', 'the only expectation that is met is 100-continue')),
    );
  });
}

/** What comes behind an answer that ends its connection is nobody's request any more (RFC 9112, section 9.6). */
async function atItsTurn(exchange: Exchange, work: (exchange: Exchange) => Promise<void>): Promise<void> {
  if (exchange.response.socket !== null) await work(exchange);
}

/** What stands before `/v2/` in the addresses that clients use. */
function pathOf(publicUrl: string | undefined): string {
  return publicUrl === undefined ? '' : new URL(publicUrl).pathname.replace(/\/+$/, '');
}

/** What was not foreseen is a 500 with nothing but the request's id; the log has the rest. */
function asOciError(error: unknown, { id }: Exchange, log: Logger): OciError {
  if (error instanceof OciError) {
    if (error.cause !== undefined) log.warn({ requestId: id, err: error.cause }, error.message);
    return error;
  }
  log.error({ requestId: id, err: error }, 'a request failed in a way that was not foreseen');
  return new OciError('UNKNOWN', 'something went wrong in the proxy; its log has more under this request id');
}
