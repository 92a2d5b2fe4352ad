import { answerAndClose, OciError } from '@wharfie/shared';
import { createServer, type Server, type ServerOptions } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Duplex } from 'node:stream';
import type { TlsOptions } from 'node:tls';
import { Connections } from './connections.js';

export interface DoorOptions {
  tls?: TlsOptions;
  /** Milliseconds without a byte in either direction after which a request under way is given up. */
  idle: number;
  /** Milliseconds that the head of a request may take. */
  headers: number;
  /** Connections at a time; those that come on top are closed at once. */
  maxConnections: number;
}

/** How long a connection waits for its next request: more than the minute after which balancers give up on theirs. */
const keepAlive = 75_000;
const maxHeaderSize = 16 * 1024;
/** What is silent may be the registry: then the client is told so before its connection is closed, in milliseconds. */
const lastWords = 2_000;

/** The public server and what is under way there. */
export interface Door {
  server: Server;
  connections: Connections;
}

/** The door with its limits. Whoever serves it listens to the requests of its server. */
export function createDoor({ tls, idle, headers, maxConnections }: DoorOptions): Door {
  const options: ServerOptions = {
    maxHeaderSize,
    insecureHTTPParser: false,
    keepAliveTimeout: keepAlive,
    headersTimeout: headers,
    // Node's 300 s would cut long uploads; `timeout` below closes what stands still.
    requestTimeout: 0,
    connectionsCheckingInterval: Math.min(headers, 5_000),
    // We look at it ourselves, because Node would answer without an envelope.
    requireHostHeader: false,
  };
  const server = tls ? createTlsServer({ ...options, ...tls, handshakeTimeout: 10_000 }) : createServer(options);
  server.timeout = idle + lastWords;
  // maxHeaderSize bounds them; those past Node's 1000 would frame the body and not be seen here.
  server.maxHeadersCount = 0;
  server.maxConnections = maxConnections;
  const connections = new Connections(server);
  refuseOddities(server, connections);
  // There is no listener for `upgrade`: such a request is served as if it had not asked for another protocol.
  return { server, connections };
}

/** Answers what is no request for us in the same form as everything else, then closes the connection. */
function refuseOddities(server: Server, connections: Connections): void {
  const said = new WeakSet<Duplex>();
  const sayOnce = (socket: Duplex, error: OciError): void => {
    if (said.has(socket)) return;
    said.add(socket);
    // What came before has its own answer, which this must not be taken for, nor be held in.
    const owed = connections
      .underWay(socket)
      .findLast((response) => (response.headersSent || response.req.complete) && !response.writableFinished);
    if (!socket.writable || owed?.headersSent) socket.destroy();
    else if (owed) owed.shouldKeepAlive = false;
    else answerAndClose(socket, error);
  };
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ECONNRESET') socket.destroy();
    else sayOnce(socket, malformed(error));
  });
  server.on('connect', (_request, socket) => {
    // Node has taken its own listeners off, and what the connection still owes needs them.
    socket
      .on('error', () => undefined)
      .on('timeout', () => socket.destroy())
      .on('drain', () => connections.underWay(socket)[0]?.emit('drain'));
    const message = 'this is a registry, not a way to other hosts';
    sayOnce(socket, new OciError('UNSUPPORTED', message, undefined, { Allow: 'GET, HEAD' }));
  });
}

function malformed({ code }: NodeJS.ErrnoException): OciError {
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new OciError('HEADERS_TOO_LARGE', `the head of a request may have ${maxHeaderSize} bytes`);
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new OciError('REQUEST_TIMEOUT', 'the head of the request took too long to arrive');
  }
  return new OciError('BAD_REQUEST', 'this is not a request as HTTP/1.1 has it');
}
