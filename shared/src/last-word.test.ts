import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { answerAndClose } from './last-word.js';
import { OciError } from './oci-error.js';

it('a connection that is refused ends with the answer, and is closed though the client does not close it', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  onTestFinished(() => {
    client.destroy();
    server.close();
  });
  const [socket] = (await once(server, 'connection')) as [Socket];
  const closed = once(socket, 'close');
  let said = '';
  client.on('data', (bytes) => (said += String(bytes)));
  answerAndClose(socket, new OciError('UNSUPPORTED', 'not here'));
  await once(client, 'end');
  expect(said).toMatch(/^HTTP\/1\.1 405 [^]*\r\nConnection: close\r\n[^]*not here/);
  await closed;
});
