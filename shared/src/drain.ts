import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';

/** How much of a refused body is read and dropped, so that a client that sends before it reads finds the answer. */
const mostDrained = 64 * 1024 * 1024;
/** A piece counts for so many bytes more: it costs time too, however small it is. */
const perPiece = 256;
const longestDrain = 5_000;

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
      drained += chunk.length + perPiece;
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

/** Answers a request with an error, whose body is JSON, and drops what still comes of the request's own. */
export async function answerError(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  headers: OutgoingHttpHeaders,
  body: Buffer,
): Promise<void> {
  const early = bodyOutstanding(request);
  response.writeHead(status, {
    ...headers,
    'Content-Type': 'application/json',
    'Content-Length': body.length,
    ...(early && { Connection: 'close' }),
  });
  if (request.method === 'HEAD') response.flushHeaders();
  else response.write(body);
  if (early) await drain(request);
  response.end();
}

/** Whether some of the request's body has not arrived yet. */
export function bodyOutstanding(request: IncomingMessage): boolean {
  return hasBody(request) && !request.complete;
}

/** Whether a body follows the head of the request, read or not. Both services must come to the same result. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}
