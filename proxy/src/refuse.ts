import { errorEnvelope, type OciError } from '@wharfie/shared';
import type { IncomingMessage } from 'node:http';
import { bodyOutstanding, clientLeft, resetClient, type Exchange } from './exchange.js';
import { ownHeaders } from './headers.js';

/** How much of a refused body is read and dropped, so that a client that sends before it reads finds the answer. */
const mostDrained = 64 * 1024 * 1024;
const longestDrain = 5_000;

/** Answers with the error's envelope. What was begun already cannot be taken back: then the connection is reset. */
export async function refuse(exchange: Exchange, error: OciError): Promise<void> {
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

/**
 * Reads and drops the rest of a body that nobody wants, within bounds. Closing at once would make the client's system
 * discard the answer along with what the client still sends. https://www.rfc-editor.org/rfc/rfc9112#section-9.6
 */
export function drain(request: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    let drained = 0;
    const done = () => {
      clearTimeout(timer);
      request.removeListener('data', count).pause();
      resolve();
    };
    const count = (chunk: Buffer) => {
      drained += chunk.length;
      if (drained > mostDrained) done();
    };
    const timer = setTimeout(done, longestDrain);
    if (request.destroyed || request.complete) {
      done();
      return;
    }
    request.once('end', done).once('close', done).on('data', count).resume();
  });
}
