import type { IncomingMessage } from 'node:http';

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

/** Whether a body follows the head of the request, read or not. Both services must come to the same result. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}
