import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { describe, expect, test, vi } from 'vitest';
import { requestEvents } from '../src/connections.js';
import { ask, basic, dial, heard, hears, nextConnectionOver, openDoor, speak } from './harness.js';

const authorization = `Authorization: ${basic('bob').Authorization}`;
const upload = '/v2/team/app/blobs/uploads/01234567-0123-4123-8123-0123456789ab';
const manifest = '/v2/team/app/manifests/1';

function expectEnvelope(said: string, status: number): void {
  const [head = '', body = ''] = said.split('\r\n\r\n');
  expect(head.split('\r\n', 1)[0]).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  expect(head).toMatch(/\r\nConnection: close(\r\n|$)/);
  expect(head).toMatch(/\r\nX-Content-Type-Options: nosniff(\r\n|$)/);
  const [error] = (JSON.parse(body) as { errors: { message: string; detail: { requestId: string } }[] }).errors;
  expect(error?.message).toBeTruthy();
  expect(head).toContain(`X-Request-Id: ${String(error?.detail.requestId)}`);
}

describe('what two parsers could read in two ways never passes', () => {
  const smuggled = 'GET /v2/other/app/manifests/1 HTTP/1.1\r\nHost: x\r\n\r\n';
  test.each([
    ['a length and chunks', `Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`],
    ['chunks and a length', `Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${smuggled}`],
    ['two lengths', `Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello${smuggled}`],
    ['one length twice', `Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello${smuggled}`],
    ['a list of lengths', `Content-Length: 5, 5\r\n\r\nhello${smuggled}`],
    ['a signed length', `Content-Length: +5\r\n\r\nhello${smuggled}`],
    ['a folded header', `Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n${smuggled}`],
    ['a space before the colon', `Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n${smuggled}`],
    ['an unknown coding', `Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${smuggled}`],
    ['chunks within chunks', `Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n${smuggled}`],
    ['two coding headers', `Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n${smuggled}`],
    ['chunks under another coding', `Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n${smuggled}`],
    ['a bare line feed between headers', `X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`],
    ['a bare line feed after a size', `Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n${smuggled}`],
    ['a size that is no number', `Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n${smuggled}`],
    ['a NUL in a header', `X: a\0b\r\n\r\n${smuggled}`],
  ])('%s', async (_, rest) => {
    const door = await openDoor();
    const socket = dial(door);
    socket.write(`PATCH ${upload} HTTP/1.1\r\nHost: x\r\n${authorization}\r\n${rest}`, 'latin1');
    const said = await heard(socket);
    expectEnvelope(said, 400);
    expect(said.match(/HTTP\/1\.1 \d/g)).toHaveLength(1);
    // A body that turns out to be broken may have been begun, but nothing of it passes as another request.
    expect(door.asked.filter(({ url }) => url !== upload)).toEqual([]);
  });

  test.each(['GET', 'DELETE'])('a body of a %s', async (method) => {
    const door = await openDoor();
    const head = `${method} ${manifest} HTTP/1.1\r\nHost: x\r\n${authorization}\r\n`;
    expectEnvelope(await speak(door, `${head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`), 400);
    expectEnvelope(await speak(door, `${head}Content-Length: 5\r\n\r\nhello`), 400);
    expect(door.asked).toEqual([]);
  });

  test.each([
    ['a length', (body: string) => `Content-Length: ${body.length}\r\n\r\n${body}`],
    [
      'chunks',
      (body: string) => `Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
    ],
  ])('%s after more headers than Node shows by default', async (_, framed) => {
    const door = await openDoor();
    const head = `GET ${manifest} HTTP/1.1\r\nHost: x\r\n${authorization}\r\n${'a:\r\n'.repeat(1000)}`;
    expectEnvelope(await speak(door, head + framed(smuggled)), 400);
    expect(door.asked).toEqual([]);
  });

  test('chunks of HTTP/1.0', async () => {
    const door = await openDoor();
    const head = `PATCH ${upload} HTTP/1.0\r\n${authorization}\r\nTransfer-Encoding: chunked\r\n\r\n`;
    expectEnvelope(await speak(door, `${head}0\r\n\r\n`), 400);
    expect(door.asked).toEqual([]);
  });
});

describe('what is no request of HTTP/1.1 is answered in the envelope', () => {
  test.each([
    ['nonsense', 'hello\r\n\r\n', 400],
    ['a handshake of TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n', 400],
    ['HTTP/2 without the talk before', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
    ['HTTP/2 in the form of HTTP/1', 'GET /v2/ HTTP/2.0\r\nHost: x\r\n\r\n', 400],
    ['HTTP/0.9 with headers', 'GET /v2/ HTTP/0.9\r\nHost: x\r\n\r\n', 400],
    ['a space in the target', 'GET /v2/ x HTTP/1.1\r\nHost: x\r\n\r\n', 400],
    ['a head that is too large', `GET /v2/ HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`, 431],
    ['a target that is too long', `GET /v2/${'a'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 431],
    ['a tunnel', 'CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere:443\r\n\r\n', 405],
  ])('%s', async (_, bytes, status) => {
    const door = await openDoor();
    expectEnvelope(await speak(door, bytes), status);
    expect(door.asked).toEqual([]);
  });

  test.each([
    ['no Host', ''],
    ['two Hosts', 'Host: a\r\nHost: b\r\n'],
    ['one Host twice', 'Host: a\r\nhost: a\r\n'],
    ['a second Authorization', 'Host: a\r\nAuthorization: Basic eDp5\r\n'],
  ])('%s', async (_, hosts) => {
    const door = await openDoor();
    const said = await speak(door, `GET /v2/ HTTP/1.1\r\n${hosts}${authorization}\r\nConnection: close\r\n\r\n`);
    expectEnvelope(said, 400);
    expect(door.asked).toEqual([]);
  });

  test('a head that never ends', async () => {
    const door = await openDoor({ headers: 100 });
    expectEnvelope(await speak(door, 'GET /v2/ HTTP/1.1\r\nHost: x\r\n'), 408);
  });
});

test('an upgrade does not take place: the request is an ordinary one', async () => {
  const door = await openDoor();
  const upgrade = 'Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c, websocket\r\nHTTP2-Settings: x\r\n';
  const said = await speak(door, `GET /v2/ HTTP/1.1\r\nHost: x\r\n${authorization}\r\n${upgrade}\r\n`);
  expect(said).toMatch(/^HTTP\/1\.1 200 /);
  expect(door.asked[0]?.headers).not.toHaveProperty('upgrade');
  expect(door.asked[0]?.headers).not.toHaveProperty('http2-settings');
});

test('behind a request that asks for another protocol the connection ends, for Node loses what was read with it', async () => {
  const door = await openDoor();
  const line = `HTTP/1.1\r\nHost: x\r\n${authorization}\r\n`;
  const socket = dial(door);
  socket.write(
    `GET /v2/ ${line}Connection: Upgrade\r\nUpgrade: h2c\r\n\r\nPATCH ${upload} ${line}Content-Length: 500\r\n\r\n`,
  );
  setTimeout(() => socket.write(`DELETE ${manifest} ${line}\r\n`), 50);
  expect((await heard(socket)).match(/HTTP\/1\.1 \d+|Connection: \S+/g)).toEqual(['HTTP/1.1 200', 'Connection: close']);
  expect(door.asked.map(({ method }) => method)).toEqual(['GET']);
});

test('what comes behind an answer that ends the connection is not carried out', async () => {
  const door = await openDoor();
  const line = `HTTP/1.1\r\nHost: x\r\n${authorization}\r\n`;
  const behind = `PUT ${manifest} ${line}Content-Length: 2\r\n\r\n{}`;
  // Once the password is known, nothing has to be waited for.
  await ask(door, 'GET', '/v2/', basic('bob'));
  for (let round = 0; round < 10; round += 1) {
    expectEnvelope(await speak(door, `GET /v2/ ${line}Content-Length: 1\r\n\r\nx${behind}`), 400);
  }
  expect(door.asked.map(({ method }) => method)).toEqual(['GET']);
});

test('requests that come in one go are answered one after the other', async () => {
  const door = await openDoor();
  const get = (path: string, last = '') => `GET ${path} HTTP/1.1\r\nHost: x\r\n${authorization}\r\n${last}\r\n`;
  const said = await speak(door, get('/v2/') + get('/nowhere') + get(manifest, 'Connection: close\r\n'));
  expect(said.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 404', 'HTTP/1.1 200']);
});

test('a client that asks to close the connection after the answer is obeyed', async () => {
  const door = await openDoor();
  const said = await speak(door, `GET /v2/ HTTP/1.1\r\nHost: x\r\n${authorization}\r\nConnection: close\r\n\r\n`);
  expect(said).toMatch(/\r\nConnection: close\r\n/);
});

test('a connection stays for the next request, refused or not', async () => {
  const door = await openDoor();
  const socket = dial(door);
  for (const line of [authorization, 'X: y', authorization]) {
    socket.write(`GET /v2/ HTTP/1.1\r\nHost: x\r\n${line}\r\n\r\n`);
    expect(await hears(socket, /\}$/)).toMatch(/\r\nConnection: keep-alive\r\n/);
  }
});

test('connections on top of those that are allowed are turned away, and others go on', async () => {
  const door = await openDoor({ maxConnections: 2 });
  const [first, second] = [dial(door), dial(door)];
  await Promise.all([once(first, 'connect'), once(second, 'connect')]);
  expect(await heard(dial(door))).toBe('');
  first.write(`GET /v2/ HTTP/1.1\r\nHost: x\r\n${authorization}\r\n\r\n`);
  expect(await hears(first, /\}$/)).toMatch(/^HTTP\/1\.1 200 /);
  second.destroy();
  await vi.waitFor(async () => {
    expect(await speak(door, `GET /v2/ HTTP/1.1\r\nHost: x\r\n${authorization}\r\nConnection: close\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 200 /,
    );
  });
});

test('heads that never end hold their connections only for a while, and keep nobody out meanwhile', async () => {
  const door = await openDoor({ headers: 100 });
  const slow = Array.from({ length: 50 }, () => {
    const socket = dial(door);
    socket.write('GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ');
    return heard(socket);
  });
  const line = `GET /v2/ HTTP/1.1\r\nHost: x\r\n${authorization}\r\nConnection: close\r\n\r\n`;
  expect(await speak(door, line)).toMatch(/^HTTP\/1\.1 200 /);
  for (const said of await Promise.all(slow)) expectEnvelope(said, 408);
});

test('pipelined requests take turns', async () => {
  const answers: ServerResponse[] = [];
  const door = await openDoor({ registry: (_, response) => answers.push(response) });
  const socket = dial(door);
  socket.write(`GET ${manifest} HTTP/1.1\r\nHost: x\r\n${authorization}\r\n\r\n`.repeat(20));
  for (let turn = 1; turn <= 3; turn += 1) {
    await vi.waitFor(() => {
      expect(answers).toHaveLength(turn);
    });
    // Whatever else would be asked for has had the time.
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(answers).toHaveLength(turn);
    answers.at(-1)?.end('{}');
  }
  await vi.waitFor(() => {
    expect(answers).toHaveLength(4);
  });
  socket.destroy();
  await vi.waitFor(() => {
    expect(door.log.filter(({ msg }) => msg === 'request')).toHaveLength(4);
  });
  expect(answers).toHaveLength(4);
});

test.each([
  ['requests', ''],
  ['expectations that are not met', 'Expect: x\r\n'],
])('a connection on which %s without end wait for their turn is closed', async (_, line) => {
  const door = await openDoor({ registry: () => undefined });
  let begun = 0;
  for (const event of requestEvents) door.server.on(event, () => (begun += 1));
  const socket = dial(door);
  const said = heard(socket);
  socket.write(`GET ${manifest} HTTP/1.1\r\nHost: x\r\n${authorization}\r\n\r\n`);
  await once(door.registry, 'request');
  socket.write(`GET /v2/ HTTP/1.1\r\nHost: x\r\n${line}\r\n`.repeat(20_000));
  expect(await said).toBe('');
  // What had been read in one piece.
  expect(begun).toBeLessThan(5_000);
  expect(door.asked).toHaveLength(1);
  expect(door.log.filter(({ msg }) => msg === 'request').length).toBeLessThan(200);
});

const nonsense = ['nonsense', 'CONNECT x:1 HTTP/1.1\r\nHost: x'];

test.each(nonsense)('%j behind a request ends the connection with the answer to that', async (behind) => {
  const door = await openDoor();
  const line = `HTTP/1.1\r\nHost: x\r\n${authorization}\r\n`;
  for (const asked of [`GET ${manifest} ${line}`, `GET ${manifest} ${line}\r\nGET ${manifest} ${line}`]) {
    const said = await speak(door, `${asked}\r\n${behind}\r\n\r\n`);
    expect(said.match(/HTTP\/1\.1 \d+/g)).toEqual(asked.match(/GET/g)?.map(() => 'HTTP/1.1 200'));
    expect(said.match(/\r\nConnection: [^\r]+/g)?.at(-1)).toBe('\r\nConnection: close');
  }
  expectEnvelope(await speak(door, `GET ${manifest} ${line}Transfer-Encoding:\r\n\r\n${behind}\r\n\r\n`), 400);
  expect(door.asked).toHaveLength(3);
});

const tunnelBehind = `GET ${manifest} HTTP/1.1\r\nHost: x\r\n${authorization}\r\n\r\nCONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n`;

test('a tunnel behind a request takes nothing from that: its answer comes whole, or its client may leave', async () => {
  const size = 32 * 1024 * 1024;
  const door = await openDoor({
    registry: (_, response) => {
      response.writeHead(200, { 'Content-Length': size }).end(Buffer.alloc(size));
    },
  });
  expect((await speak(door, tunnelBehind)).split('\r\n\r\n')[1]).toHaveLength(size);
  const leaving = dial(door);
  const over = nextConnectionOver(door);
  leaving.write(tunnelBehind);
  await once(leaving, 'data');
  leaving.resetAndDestroy();
  await over;
});

test('a tunnel behind a pull that nobody reads is no way around the time-out', async () => {
  const door = await openDoor({
    idle: 600_000,
    registry: (_, response) => {
      const forever = () => {
        while (response.write(Buffer.alloc(1024 * 1024)));
      };
      response.on('drain', forever).writeHead(200);
      forever();
    },
  });
  door.server.timeout = 300;
  const socket = dial(door);
  const over = nextConnectionOver(door);
  socket.write(tunnelBehind);
  socket.pause();
  await over;
});

test.each(nonsense)('%j behind a pull whose answer has begun cuts it off without a word', async (behind) => {
  const door = await openDoor({
    registry: (_, response) => {
      response.writeHead(200, { 'Content-Length': 5 });
      response.write('he');
    },
  });
  const socket = dial(door);
  const said = heard(socket);
  socket.write(`GET ${manifest} HTTP/1.1\r\nHost: x\r\n${authorization}\r\n\r\n`);
  await once(socket, 'data');
  socket.write(`${behind}\r\n\r\n`);
  expect((await said).split('\r\n\r\n')[1]).toBe('he');
});
