import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Server as TlsServer } from 'node:tls';

/** Knows which connections have a request under way, so that a server can end without cutting any off. */
export class Drain {
  /** Every connection, with its requests under way. */
  readonly #connections = new Map<Socket, Set<ServerResponse>>();
  #closing = false;

  constructor(private readonly server: Server) {
    server.on(server instanceof TlsServer ? 'secureConnection' : 'connection', (socket: Socket) => {
      this.#know(socket);
    });
  }

  /** Counts a request as under way until its answer is over. */
  watch({ socket }: IncomingMessage, response: ServerResponse): void {
    if (this.#closing) response.shouldKeepAlive = false;
    const underWay = this.#connections.get(socket) ?? this.#know(socket);
    underWay.add(response);
    response.once('close', () => {
      underWay.delete(response);
      if (this.#closing && underWay.size === 0) socket.end();
    });
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
    for (const [socket, underWay] of this.#connections) {
      if (underWay.size === 0) socket.destroy();
      for (const response of underWay) response.shouldKeepAlive = false;
    }
    const cut = setTimeout(() => {
      this.server.closeAllConnections();
    }, seconds * 1000);
    await closed;
    clearTimeout(cut);
  }

  #know(socket: Socket): Set<ServerResponse> {
    const underWay = new Set<ServerResponse>();
    this.#connections.set(socket, underWay);
    socket.once('close', () => this.#connections.delete(socket));
    return underWay;
  }
}
