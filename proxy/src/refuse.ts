import { answerError, errorEnvelope, type OciError, ownHeaders } from '@wharfie/shared';
import { clientLeft, resetClient, type Exchange } from './exchange.js';

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
  if (request.method !== 'HEAD') exchange.bytesOut += body.length;
  const all = { ...ownHeaders(exchange.id), ...error.headers, ...headers, 'Cache-Control': 'no-store' };
  await answerError(request, response, error.status, all, body);
}

/** Docker shows the message alone: where somebody else must help, it names the request that the log has more about. */
function envelope(error: OciError, id: string): ReturnType<typeof errorEnvelope> {
  const { errors } = errorEnvelope(error, id);
  if (error.status !== 403 && error.status < 500) return { errors };
  return { errors: errors.map((entry) => ({ ...entry, message: `${entry.message} (request ${id})` })) };
}
