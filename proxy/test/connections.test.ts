import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import { createDoor } from '../src/door.js';
import { basic, deferred, dial, heard, hears, listenOn, openDoor } from './harness.js';

const get = `GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: ${basic('bob').Authorization}\r\n\r\n`;

test('a door that closes lets requests under way end, and takes no more', async () => {
  const asked = deferred<ServerResponse>();
  const door = await openDoor({
    registry: (_, response) => {
      asked.resolve(response);
    },
  });
  const [busy, idle] = [dial(door), dial(door)];
  const answered = heard(busy);
  busy.write(get);
  const response = await asked.promise;
  const closed = door.connections.close(60);
  await heard(idle);
  const [refused] = (await once(dial(door), 'error').catch((error: unknown) => [error])) as [{ code: string }];
  expect(refused.code).toBe('ECONNREFUSED');
  response.end('the whole answer');
  const said = await answered;
  expect(said).toContain('the whole answer');
  expect(said).toMatch(/\r\nConnection: close\r\n/);
  await closed;
});

test('a connection that was told to stay is closed once its answer is complete', async () => {
  const asked = deferred<ServerResponse>();
  const door = await openDoor({
    registry: (_, response) => {
      response.write('begun');
      asked.resolve(response);
    },
  });
  const socket = dial(door);
  socket.write(get);
  await hears(socket, /begun/);
  const closed = door.connections.close(60);
  const rest = heard(socket);
  (await asked.promise).end('ended');
  expect(await rest).toContain('ended');
  await closed;
});

test('a door that closes cuts off what takes longer than it was given', async () => {
  const asked = deferred<ServerResponse>();
  const door = await openDoor({
    registry: (_, response) => {
      asked.resolve(response);
    },
  });
  const socket = dial(door);
  socket.write(get);
  const response = await asked.promise;
  const left = once(response, 'close');
  await door.connections.close(0.1);
  expect(await heard(socket)).toBe('');
  await left;
});

test('a connection that came before the door could be opened does not hold up its end', async () => {
  const { server, connections } = createDoor({ idle: 10_000, headers: 10_000, maxConnections: 10 });
  const socket = dial({ port: await listenOn(server) });
  const ended = heard(socket);
  await once(server, 'connection');
  await connections.close(60);
  expect(await ended).toBe('');
});
