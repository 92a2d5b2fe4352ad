import type { IncomingMessage, ServerResponse } from 'node:http';
import { randomUUID } from 'node:crypto';
import type { Identity, Route, RouteKind } from '@wharfie/shared';
import { Beside, OciError, covers, parseRoute } from '@wharfie/shared';
import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';

/** One request and what is known of it before any controller sees it. */
export interface Exchange<Kind extends RouteKind = RouteKind> {
  /** The proxy's id for the request, so that both logs can be read together. */
  readonly id: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Aborted when the client leaves before it has its answer. */
  readonly signal: AbortSignal;
  readonly route: Route<Kind>;
  readonly identity: Identity;
  /** What the client calls the body; Fastify must not see it, which refuses what is no media type. */
  readonly contentType?: string | undefined;
}

/** A request that is not served, and why; who asked when that is known. */
export interface RefusedExchange extends Omit<Exchange, 'route' | 'identity'> {
  readonly refusal: OciError;
  readonly identity?: Identity;
}

const exchanges = new Beside<IncomingMessage, Exchange | RefusedExchange>();

/**
 * Understands a request and decides on it, once: no valid token, no answer, wherever it comes from; and nothing that the
 * token does not cover.
 */
export function beginExchange(
  request: IncomingMessage,
  response: ServerResponse,
  verify: (token: string) => Identity,
): Exchange | RefusedExchange {
  const abort = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) abort.abort(new Error('the client left'));
  });
  const contentType = request.headers['content-type'];
  if (contentType !== undefined) request.headers['content-type'] = undefined;
  const base = { id: requestId(request), request, response, signal: abort.signal, contentType };
  const exchange = Object.assign(base, decide(request, verify));
  exchanges.set(request, exchange);
  return exchange;
}

/** What `beginExchange` made of a request. @throws Error when that never saw it */
export function exchangeOf(request: IncomingMessage): Exchange | RefusedExchange {
  const exchange = exchanges.get(request);
  if (!exchange) throw new Error('a request without an exchange');
  return exchange;
}

/** Gives a controller its exchange, which IdentityGuard has let pass. */
export const CurrentExchange = createParamDecorator((_: unknown, context: ExecutionContext) =>
  exchangeOf(context.switchToHttp().getRequest<FastifyRequest>().raw),
);

type Decision = { route: Route; identity: Identity } | { refusal: OciError; identity?: Identity };

function decide(request: IncomingMessage, verify: (token: string) => Identity): Decision {
  let identity: Identity | undefined;
  try {
    checkHead(request);
    identity = verify(/^Bearer ([\w.-]+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '');
    const route = parseRoute(request.method ?? '', request.url ?? '');
    const { subject, access } = identity;
    const uncovered = route.access.find((needed) => !covers(access, needed));
    if (uncovered) {
      throw new OciError(
        'DENIED',
        `the token of "${subject}" does not allow to ${uncovered.actions.join()} ${uncovered.name}`,
      );
    }
    return { route, identity };
  } catch (error) {
    if (!(error instanceof OciError)) throw error;
    return identity ? { refusal: error, identity } : { refusal: error };
  }
}

/** What Node would refuse without a word. */
function checkHead({ headers, httpVersion }: IncomingMessage): void {
  if (headers.host === undefined && httpVersion === '1.1') {
    throw new OciError('BAD_REQUEST', 'a request needs a Host header');
  }
  if (headers.expect !== undefined && headers.expect.toLowerCase() !== '100-continue') {
    throw new OciError('EXPECTATION_FAILED', 'the only expectation that is met is 100-continue');
  }
}

function requestId(request: IncomingMessage): string {
  const given = request.headers['x-request-id'];
  return typeof given === 'string' && /^[\w-]{1,64}$/.test(given) ? given : randomUUID();
}
