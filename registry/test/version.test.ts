import { once } from 'node:events';
import type { Server } from 'node:http';
import { text } from 'node:stream/consumers';
import { connect, type AddressInfo } from 'node:net';
import { pino } from 'pino';
import request from 'supertest';
import { repositoryAccess } from '@wharfie/shared';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApp } from '../src/create-app.js';
import { MemoryDriver } from '../src/storage/memory.js';
import { secret, token } from './harness.js';

/** The lines of the log so far. */
const log: { level: string; status: number; bytesIn: number }[] = [];
const logger = pino(
  { level: 'debug', formatters: { level: (level) => ({ level }) } },
  { write: (line: string) => log.push(JSON.parse(line) as (typeof log)[number]) },
);
let app: Awaited<ReturnType<typeof createApp>>;
let server: Server;
beforeAll(async () => {
  app = await createApp(new MemoryDriver(), secret, logger);
  await app.init();
  server = app.getHttpServer();
});
afterAll(() => app.close());

describe('GET /v2/', () => {
  it('may have the head that the proxy lets pass, and what that adds', async () => {
    await request(server)
      .get(`/v2/?x=${'x'.repeat(16_000)}`)
      .set('authorization', token([repositoryAccess('r'.repeat(255), 'pull', 'push', 'delete')]))
      .expect(200);
  });

  it('says that this is a registry, to whom the proxy vouches for', async () => {
    const { headers } = await request(server)
      .get('/v2/')
      .set('authorization', token([]))
      .expect(200, {})
      .expect('content-type', /^application\/json/)
      .expect('docker-distribution-api-version', 'registry/2.0');
    const head = await request(server).head('/v2/').set('authorization', token([])).expect(200);
    const date: unknown = expect.any(String);
    expect(head.headers).toEqual({ ...headers, date, 'x-request-id': date });
  });

  it.each([
    ['nothing', undefined],
    ['a password', 'Basic YTpi'],
    ['a token that nobody signed', 'Bearer e30.e30'],
    ['a token that was changed', `${token([])}x`],
  ])('refuses %s', async (_, authorization) => {
    const asked = request(server).get('/v2/');
    if (authorization !== undefined) void asked.set('authorization', authorization);
    const { text } = await asked.expect(401);
    expect(JSON.parse(text)).toMatchObject({ errors: [{ code: 'UNAUTHORIZED' }] });
  });

  it.each([
    ['no Host', 'GET /v2/ HTTP/1.1\r\n', 400],
    ['an expectation that is not met', 'GET /v2/ HTTP/1.1\r\nHost: x\r\nExpect: x\r\n', 417],
    ['a tunnel', 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n', 405],
    ['no HTTP', 'hello\r\n', 400],
  ])('refuses %s in the envelope', async (_, head, status) => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.write(`${head}Authorization: ${token([])}\r\nConnection: close\r\n\r\n`);
    const [said = '', body = ''] = (await text(socket)).split('\r\n\r\n');
    await new Promise((resolve) => server.close(resolve));
    expect(said).toMatch(new RegExp(`^HTTP/1.1 ${status} [^]*docker-distribution-api-version: registry/2.0`, 'i'));
    expect((JSON.parse(body) as { errors: unknown[] }).errors).toHaveLength(1);
  });

  it('counts the bytes of a body that came with its head', async () => {
    log.length = 0;
    const authorization = token([repositoryAccess('a', 'push')]);
    await request(server).put('/v2/a/manifests/x').set({ authorization }).send(' '.repeat(5000)).expect(400);
    await expect.poll(() => log[0]?.bytesIn).toBeGreaterThan(5000);
  });

  it.each([
    ['debug', 'the check of a proxy', '/v2/', undefined],
    ['info', 'a token that nobody signed', '/v2/', 'Bearer e30.e30'],
    ['info', 'a stranger elsewhere', '/v2/_catalog', undefined],
  ])('has a line in the log at the level %s for %s', async (level, _, path, authorization) => {
    log.length = 0;
    const asked = request(server).get(path);
    if (authorization !== undefined) void asked.set('authorization', authorization);
    await asked.expect(401);
    await expect.poll(() => log).toMatchObject([{ level, status: 401 }]);
  });
});
