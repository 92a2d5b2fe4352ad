import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Server as TlsServer } from 'node:tls';

/** What carries a request that is to be answered. */
export const requestEvents = ['request', 'checkContinue', 'checkExpectation'] as const;

/** Knows the connections of a server from its start, and which answers are under way on each. */
export class Connections {
  /** In the order of the requests. */
  readonly #underWay = new Map<Duplex, Set<ServerResponse>>();
  /** Those of TCP: Node's server does not know one on which a handshake of TLS has not ended. */
  readonly #sockets = new Set<Socket>();
  #closing = false;

  constructor(private readonly server: Server) {
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    server.on(server instanceof TlsServer ? 'secureConnection' : 'connection', (socket: Duplex) => {
      this.#underWay.set(socket, new Set());
      socket.once('close', () => this.#underWay.delete(socket));
    });
    for (const event of requestEvents) {
      server.on(event, ({ socket }: IncomingMessage, response: ServerResponse) => {
        this.#watch(socket, response);
      });
    }
  }

  /** The answers that a connection still owes. */
  underWay(socket: Duplex): ServerResponse[] {
    return [...(this.#underWay.get(socket) ?? [])];
  }

  /** Stops accepting, lets requests under way end for `seconds`, then cuts off the rest; resolves when none is left. */
  async close(seconds: number): Promise<void> {
    this.#closing = true;
    const closed = new Promise<void>((resolve) => {
      this.server.close(() => {
        resolve();
      });
    });
    // Node's closeIdleConnections leaves those that have not sent anything yet.
    for (const [socket, underWay] of this.#underWay) {
      if (underWay.size === 0) socket.destroy();
      for (const response of underWay) response.shouldKeepAlive = false;
    }
    const cut = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy();
    }, seconds * 1000);
    await closed;
    clearTimeout(cut);
  }

  #watch(socket: Duplex, response: ServerResponse): void {
    if (this.#closing) response.shouldKeepAlive = false;
    const underWay = this.#underWay.get(socket);
    // Closed already, or a request that was held until the door could open, and comes a second time.
    if (!underWay || underWay.has(response)) return;
    underWay.add(response);
    response.once('close', () => {
      underWay.delete(response);
      if (this.#closing && underWay.size === 0) socket.end();
    });
  }
}
