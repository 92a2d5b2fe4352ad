import {
  identitySigner,
  OciError,
  parseRoute,
  type AddressList,
  type Identity,
  type Logger,
  type Route,
} from '@wharfie/shared';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { recordWhenOver } from './access-log.js';
import { mayPullEverything, type Asker } from './access/decide.js';
import type { Policy } from './access/policy.js';
import { authenticate, type Passwords } from './authenticate.js';
import { authorize } from './authorize.js';
import { answerCatalog } from './catalog.js';
import { Drain } from './drain.js';
import { beginExchange, clientLeft, type Exchange } from './exchange.js';
import { Forwarder } from './forward.js';
import { checkFraming } from './headers.js';
import type { Metrics } from './metrics.js';
import { refuse } from './refuse.js';
import type { Upstreams } from './upstreams.js';

/** What the door needs to let anybody in. `policy.current` is read anew for every request. */
export interface Services {
  passwords: Passwords;
  policy: { readonly current: Policy };
  secret: Buffer;
  upstreams: Upstreams;
  log: Logger;
  metrics: Metrics;
  /** Milliseconds without a byte from the registry after which it counts as dead. */
  idle: number;
  /** The proxies in front whose word on their clients is believed. */
  trusted: AddressList;
}

export interface Proxy {
  /** Stops accepting, lets requests under way end for `seconds`, then cuts off the rest; resolves when none is left. */
  close(seconds: number): Promise<void>;
}

/** Serves the door: who asks, may they, then forward it with a signed identity that holds exactly that. */
export function serve(server: Server, services: Services): Proxy {
  const { policy, upstreams, log, metrics, trusted } = services;
  const sign = identitySigner(services.secret);
  const drain = new Drain(server);
  const forwarder = new Forwarder(upstreams, services.idle, log);

  async function answer(exchange: Exchange): Promise<void> {
    const { request } = exchange;
    checkFraming(request);
    const route = (exchange.route = parseRoute(request.method ?? '', request.url ?? ''));
    const asker = await login(exchange, services.passwords);
    // The client may have left while its password was checked.
    if (clientLeft(exchange)) return;
    const identity = authorize(policy.current, asker, route);
    await pass(exchange, route, asker, identity);
  }

  async function pass(exchange: Exchange, route: Route, asker: Asker, identity: Identity): Promise<void> {
    const token = sign(identity);
    if (route.kind === 'catalog' && !mayPullEverything(policy.current, asker)) {
      await answerCatalog(exchange, route, { policy: policy.current, asker }, upstreams, token);
    } else forwarder.forward(exchange, token);
  }

  function begin(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): Exchange {
    const exchange = beginExchange(request, response, { trusted, expectsContinue });
    recordWhenOver(exchange, log, metrics);
    drain.watch(request, response);
    return exchange;
  }

  function handle(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const exchange = begin(request, response, expectsContinue);
    answer(exchange).catch((error: unknown) => refuse(exchange, asOciError(error, exchange, log)));
  }

  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    handle(request, response, false);
  });
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    handle(request, response, true);
  });
  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    const exchange = begin(request, response, true);
    void refuse(exchange, new OciError('EXPECTATION_FAILED', 'the only expectation that is met is 100-continue'));
  });
  return drain;
}

async function login(exchange: Exchange, passwords: Passwords): Promise<Asker> {
  try {
    const asker = await authenticate(passwords, exchange.request.headers.authorization);
    if (asker !== 'anonymous') {
      exchange.login = 'accepted';
      exchange.user = asker.name;
    }
    return asker;
  } catch (error) {
    exchange.login = error instanceof OciError && error.problem === 'UNAUTHORIZED' ? 'refused' : 'failed';
    throw error;
  }
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
