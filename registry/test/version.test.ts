import type { Server } from 'node:http';
import { pino } from 'pino';
import request from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApp } from '../src/create-app.js';
import { MemoryDriver } from '../src/storage/memory.js';
import { secret, token } from './harness.js';

let app: Awaited<ReturnType<typeof createApp>>;
let server: Server;
beforeAll(async () => {
  app = await createApp(new MemoryDriver(), secret, pino({ level: 'silent' }));
  await app.init();
  server = app.getHttpServer();
});
afterAll(() => app.close());

describe('GET /v2/', () => {
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
});
