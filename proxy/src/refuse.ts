import { drain, errorEnvelope, type OciError } from '@wharfie/shared';
import { bodyOutstanding, clientLeft, resetClient, type Exchange } from './exchange.js';
import { ownHeaders } from './headers.js';

/**
 * Answers with the error's envelope. What was begun already cannot be taken back: then the connection is reset.
 * @param headers what this answer carries besides those of the error itself
 */
export async function refuse(
  exchange: Exchange,
  error: OciError,
  headers: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { request, response } = exchange;
  if (clientLeft(exchange)) return;
  if (response.headersSent) {
    resetClient(exchange);
    return;
  }
  const body = Buffer.from(JSON.stringify(errorEnvelope(error, exchange.id)));
  const early = bodyOutstanding(exchange);
  response.writeHead(error.status, {
    ...ownHeaders(exchange.id),
    ...error.headers,
    ...headers,
    'Content-Type': 'application/json',
    'Content-Length': body.length,
    'Cache-Control': 'no-store',
    ...(early && { Connection: 'close' }),
  });
  if (request.method !== 'HEAD') {
    exchange.bytesOut += body.length;
    response.write(body);
  } else response.flushHeaders();
  if (early) await drain(request);
  response.end();
}
