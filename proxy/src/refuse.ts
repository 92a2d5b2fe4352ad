import { drain, errorEnvelope, type OciError, ownHeaders } from '@wharfie/shared';
import { bodyOutstanding, clientLeft, resetClient, type Exchange } from './exchange.js';

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
  exchange.refusal = error;
  const body = Buffer.from(JSON.stringify(envelope(error, exchange.id)));
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

/** Docker shows the message alone: where somebody else must help, it names the request that the log has more about. */
function envelope(error: OciError, id: string): ReturnType<typeof errorEnvelope> {
  const { errors } = errorEnvelope(error, id);
  if (error.status !== 403 && error.status < 500) return { errors };
  return { errors: errors.map((entry) => ({ ...entry, message: `${entry.message} (request ${id})` })) };
}
