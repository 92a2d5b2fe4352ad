import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { errorEnvelope, type OciError } from './oci-error.js';
import { ownHeaders } from './own-headers.js';

/** How long a connection that was refused stays readable, in milliseconds. */
const patience = 1_000;

/** Answers, in the specification's form, what was no HTTP request and so has no response to write to; then closes. */
export function answerAndClose(socket: Duplex, error: OciError): void {
  const requestId = randomUUID();
  const body = JSON.stringify(errorEnvelope(error, requestId));
  const headers = {
    ...ownHeaders(requestId),
    ...error.headers,
    'Content-Type': 'application/json',
    'Content-Length': String(Buffer.byteLength(body)),
    Connection: 'close',
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.on('error', () => undefined);
  socket.end(`HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? ''}\r\n${lines.join('')}\r\n${body}`);
  // Not at once: the client's system would discard the answer along with what the client still sends.
  const timer = setTimeout(() => socket.destroy(), patience);
  socket.resume().once('close', () => {
    clearTimeout(timer);
  });
}
