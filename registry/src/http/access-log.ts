import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Logger } from '@wharfie/shared';
import { Beside, Counter, answeredStatus, requestCounter } from '@wharfie/shared';
import type { Exchange, RefusedExchange } from './exchange.js';

const countRequest = requestCounter('registry');
const bytes = new Counter({
  name: 'wharfie_registry_bytes_total',
  help: 'Bytes on the connections of requests, in and out',
  labelNames: ['direction'],
});

/** What a connection had carried when its last request was over: the body of the next may come together with its head. */
const carried = new Beside<Socket, readonly [read: number, written: number]>();

/**
 * Writes one line for the exchange once it is over, and counts it. Neither headers nor the query are written: they hold
 * tokens and the state of uploads.
 */
export function recordWhenOver(exchange: Exchange | RefusedExchange, logger: Logger): void {
  const { id, request, response } = exchange;
  const { socket, method = '' } = request;
  const start = performance.now();
  // Before Fastify gets another URL.
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
    countRequest({ kind, method, status, milliseconds });
    bytes.inc({ direction: 'in' }, bytesIn);
    bytes.inc({ direction: 'out' }, bytesOut);
    const repository = access?.type === 'repository' ? access : undefined;
    // What is undefined is left out.
    const line = {
      requestId: id,
      user: exchange.identity?.subject || undefined,
      method,
      kind,
      repository: repository?.name,
      action: repository?.actions.join(),
      status,
      bytesIn,
      bytesOut,
      milliseconds,
      // The proxy left before the answer was complete.
      broken: response.writableFinished ? undefined : true,
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
