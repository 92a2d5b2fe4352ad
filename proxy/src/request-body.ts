import { writeAndFree } from '@wharfie/shared';
import type { ClientRequest } from 'node:http';
import type { Socket } from 'node:net';
import { Stream } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { Exchange } from './exchange.js';

/** The body of a request on its way to a registry. */
export interface Sending {
  exchange: Exchange;
  sent?: ClientRequest;
  /** Some of the body may have been read, and cannot be read again. */
  bodyBegun?: true;
  /** What still comes of the body is for nobody. */
  bodyDropped?: true;
}

/** Pieces of a body below so many bytes wait for others that come at the same time. */
const smallPiece = 4096;
const mostGathered = 1024;

/**
 * Sends the head of a request without waiting for its body, as the registry may refuse it by that alone; yet a short body
 * that has come already goes with it in one piece. It is the connection that waits: a request that does sends the end of its
 * body before the body (Node 24).
 */
export function sendAtOnce(sent: ClientRequest, socket: Socket): void {
  socket.cork();
  sent.flushHeaders();
  setImmediate(() => {
    if (!sent.writableEnded) socket.uncork();
  });
}

/** What http-proxy takes for the body of a request that has none, and would otherwise pass on whatever came. */
export const noBody = Object.assign(new Stream(), {
  pipe: <Sent extends NodeJS.WritableStream>(sent: Sent): Sent => {
    sent.end();
    return sent;
  },
});

/** What http-proxy takes for the body: it is read only when there is a connection to send it on. */
export function bodyOnceConnected(sending: Sending): Stream {
  const body = new Stream();
  body.pipe = (sent) => {
    sent.once('socket', (socket: Socket) => {
      const begin = () => {
        sending.bodyBegun = true;
        // Not before: whoever listens for data makes it flow.
        passRequestOn(sending, sent);
      };
      if (socket.connecting) socket.once(socket instanceof TLSSocket ? 'secureConnect' : 'connect', begin);
      else begin();
    });
    return sent;
  };
  return body;
}

/** Passes a body on. Small pieces that come together go on as one: each costs either service a hundred times its bytes. */
function passRequestOn(sending: Sending, sent: NodeJS.WritableStream): void {
  const { exchange } = sending;
  const { request } = exchange;
  let gathered: Buffer[] = [];
  const send = (bytes: Buffer): void => {
    if (!sending.bodyDropped && !sending.sent?.destroyed && !writeAndFree(sent, bytes)) request.pause();
  };
  const flush = (): void => {
    if (gathered.length === 0) return;
    const bytes = Buffer.concat(gathered);
    gathered = [];
    send(bytes);
  };
  request.on('data', (chunk: Buffer) => {
    exchange.bytesIn += chunk.length;
    if (chunk.length >= smallPiece) {
      flush();
      send(chunk);
    } else if (gathered.push(chunk) === 1) setImmediate(flush);
    else if (gathered.length === mostGathered) flush();
  });
  request.once('end', () => {
    flush();
    if (!sending.bodyDropped) sent.end();
  });
  sent.on('drain', () => request.resume());
}
