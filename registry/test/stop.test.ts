import { createLogger } from '@wharfie/shared';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, get, type IncomingMessage } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { serve } from '../src/serve.js';
import { registrySettings } from '../src/settings.js';

it('a registry that stops answers what comes on connections that it has, and ends them with the answer', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'wharfie-stop-'));
  const settings = registrySettings({ WHARFIE_STORAGE: 'memory', WHARFIE_SECRET_FILE: join(folder, 'secret') });
  const registry = await serve(settings, createLogger('registry', { level: 'silent', format: 'json' }));
  const port = createServer((socket) => registry.server.emit('connection', socket)).listen(0, '127.0.0.1');
  await once(port, 'listening');
  const { port: number } = port.address() as AddressInfo;
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ask = async () => {
    const options = { agent, port: number, path: '/v2/' };
    const [answer] = (await once(get(options), 'response')) as [IncomingMessage];
    answer.resume();
    await once(answer, 'end');
    return { status: answer.statusCode, connection: answer.headers.connection };
  };
  expect(await ask()).toEqual({ status: 401, connection: 'keep-alive' });
  const closed = registry.close(30);
  port.close();
  expect(await ask()).toEqual({ status: 401, connection: 'close' });
  await closed;
  await rm(folder, { recursive: true });
});
