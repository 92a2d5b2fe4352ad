import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Logger } from '@wharfie/shared';
import { Counter, Histogram, answeredStatus } from '@wharfie/shared';
import type { Exchange, RefusedExchange } from './exchange.js';

const requests = new Counter({
  name: 'wharfie_registry_requests_total',
  help: 'Requests answered, by what they were for',
  labelNames: ['kind', 'method', 'status'],
});
const seconds = new Histogram({
  name: 'wharfie_registry_request_seconds',
  help: 'From the head of a request to the end of its answer',
  labelNames: ['kind', 'method'],
  buckets: [0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 300, 1800],
});
const bytes = new Counter({
  name: 'wharfie_registry_bytes_total',
  help: 'Bytes on the connections of requests, in and out',
  labelNames: ['direction'],
});

/** What a connection had carried when its last request was over: the body of the next may come together with its head. */
const carried = new WeakMap<Socket, readonly [read: number, written: number]>();

/**
 * Writes one line for the exchange once it is over, and counts it. Neither headers nor the query are written: they hold
 * tokens and the state of uploads.
 */
export function recordWhenOver(exchange: Exchange | RefusedExchange, logger: Logger): void {
  const { id, request, response } = exchange;
  const { socket, method = '' } = request;
  const start = performance.now();
  // Now: Fastify gets another URL.
  const check = isCheck(request);
  const [readBefore, writtenBefore] = carried.get(socket) ?? [0, 0];
  response.once('close', () => {
    const route = 'route' in exchange ? exchange.route : undefined;
    const [access] = route?.access ?? [];
    const kind = route?.kind ?? 'none';
    const status = answeredStatus(response);
    const milliseconds = Math.round((performance.now() - start) * 10) / 10;
    const { bytesRead, bytesWritten } = socket;
    carried.set(socket, [bytesRead, bytesWritten]);
    const [bytesIn, bytesOut] = [bytesRead - readBefore, bytesWritten - writtenBefore];
    requests.inc({ kind, method, status });
    seconds.observe({ kind, method }, milliseconds / 1000);
    bytes.inc({ direction: 'in' }, bytesIn);
    bytes.inc({ direction: 'out' }, bytesOut);
    const line = {
      requestId: id,
      ...(exchange.identity?.subject ? { user: exchange.identity.subject } : {}),
      method,
      kind,
      ...(access?.type === 'repository' ? { repository: access.name, action: access.actions.join() } : {}),
      status,
      bytesIn,
      bytesOut,
      milliseconds,
      // The proxy left before the answer was complete.
      ...(response.writableFinished ? {} : { broken: true }),
    };
    if (status >= 500) logger.warn(line, 'request');
    else if (check) logger.debug(line, 'request');
    else logger.info(line, 'request');
  });
}

/** Whether a proxy may be asking, as each does every other second, if the registry is there: it shows no token and gets a 401. */
function isCheck({ method, url, headers }: IncomingMessage): boolean {
  return method === 'GET' && url === '/v2/' && headers.authorization === undefined;
}
