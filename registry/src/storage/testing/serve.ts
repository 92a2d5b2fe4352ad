import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

/** A request as a server saw it. */
export interface Seen {
  method: string;
  url: string;
  headers: IncomingMessage['headers'];
  body: string;
}

export interface Reply {
  status: number;
  headers?: Record<string, string>;
  body?: string;
  /** Cuts the connection instead of answering. */
  cut?: true;
  /** Sends the body, and never its end. */
  endless?: true;
}

/** A server on a real socket that answers as it is told, and remembers what it was asked. */
export async function serve(
  answer: (seen: Seen, address: string) => Reply | Promise<Reply>,
): Promise<{ address: string; seen: Seen[]; close: () => void }> {
  const seen: Seen[] = [];
  const server: Server = createServer((request, response) => {
    void text(request).then(
      async (body) => {
        const one = { method: request.method ?? '', url: request.url ?? '', headers: request.headers, body };
        seen.push(one);
        const { status, headers, body: content, cut, endless } = await answer(one, address());
        if (cut) request.socket.destroy();
        else {
          const length = headers?.['transfer-encoding'] ? {} : { 'content-length': Buffer.byteLength(content ?? '') };
          if (endless) response.writeHead(status, headers).write(content);
          else response.writeHead(status, { ...length, ...headers }).end(content);
        }
      },
      () => undefined,
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    address: address(),
    seen,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
