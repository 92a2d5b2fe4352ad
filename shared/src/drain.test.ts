import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { drain } from './drain.js';

/** A request with a body of `pieces` bytes, each in a chunk of its own. */
async function sentInPieces(pieces: number): Promise<IncomingMessage> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const socket = connect(port, '127.0.0.1').on('error', () => undefined);
  onTestFinished(() => {
    socket.destroy();
    server.close();
  });
  socket.write('PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n');
  socket.write(`${'1\r\nx\r\n'.repeat(pieces)}0\r\n\r\n`);
  return ((await once(server, 'request')) as [IncomingMessage])[0];
}

it('a body that nobody wants is read to its end', async () => {
  const request = await sentInPieces(1000);
  await drain(request);
  expect(request.complete).toBe(true);
});

it('a body that nobody wants is not read to its end when it has too many pieces, however small they are', async () => {
  const request = await sentInPieces(500_000);
  await drain(request);
  expect(request.complete).toBe(false);
});
