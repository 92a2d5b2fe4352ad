import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, request, type ClientRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, createServer as createNetServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  ask,
  basic,
  deadPort,
  deferred,
  dial,
  heard,
  hears,
  listenOn,
  nextConnectionOver,
  openDoor,
  speak,
  switchProtocols,
  upstreamAt,
  type TestDoor,
} from './harness.js';

const blob = `/v2/team/app/blobs/sha256:${'a'.repeat(64)}`;
const upload = '/v2/team/app/blobs/uploads/01234567-0123-4123-8123-0123456789ab';
const credentials = basic('bob');
const authorization = `Authorization: ${credentials.Authorization}`;
const megabyte = Buffer.alloc(1024 * 1024, 'x');

function send(door: TestDoor, method: string, path: string, headers: Record<string, string> = {}): ClientRequest {
  const options = { host: '127.0.0.1', port: door.port, method, path, agent: false as const };
  const sent = request({ ...options, headers: { ...credentials, ...headers } });
  sent.on('error', () => undefined);
  return sent;
}

async function responseTo(sent: ClientRequest): Promise<IncomingMessage> {
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  return response;
}

function* megabytes(count: number): Generator<Buffer> {
  for (let index = 0; index < count; index++) yield megabyte;
}

/** Writes until the reader leaves; resolves to what was written. */
async function writeForever(response: ServerResponse): Promise<void> {
  await pipeline(Readable.from(megabytes(Infinity)), response).catch(() => undefined);
}

describe('a client that leaves', () => {
  test('a download closes the connection to the registry', async () => {
    const left = deferred<undefined>();
    const door = await openDoor({
      registry: (_, response) => {
        response.once('close', left.resolve);
        void writeForever(response);
      },
    });
    const sent = send(door, 'GET', blob).end();
    const response = await responseTo(sent);
    await once(response, 'data');
    sent.destroy();
    await left.promise;
  });

  test('an upload closes the connection to the registry, which sees that it is incomplete', async () => {
    const seen = deferred<boolean>();
    const begun = deferred<undefined>();
    const door = await openDoor({
      registry: (incoming) => {
        incoming.once('data', begun.resolve).on('error', () => undefined);
        incoming.once('close', () => {
          seen.resolve(incoming.complete);
        });
      },
    });
    const sent = send(door, 'PATCH', upload);
    sent.write(megabyte);
    await begun.promise;
    sent.destroy();
    expect(await seen.promise).toBe(false);
  });

  test('before the registry answers closes the connection to it', async () => {
    const asked = deferred<IncomingMessage>();
    const door = await openDoor({ registry: asked.resolve });
    const sent = send(door, 'GET', blob).end();
    const incoming = await asked.promise;
    sent.destroy();
    await once(incoming.socket, 'close');
  });
});

describe('a registry that dies', () => {
  test.each([
    ['with a length', { 'Content-Length': '1000000' }],
    ['in chunks', {}],
  ])('in the middle of an answer %s resets the connection of the client', async (_, headers) => {
    const door = await openDoor({
      registry: (_incoming, response) => {
        response.writeHead(200, headers).write('the beginning');
        setImmediate(() => response.socket?.destroy());
      },
    });
    const response = await responseTo(send(door, 'GET', blob).end());
    const outcome = await response.toArray().then(
      () => 'complete',
      (error: unknown) => (error as NodeJS.ErrnoException).code,
    );
    expect(outcome).toBe('ECONNRESET');
  });

  test('in the middle of an answer resets a client that knows the end only by the end of the connection', async () => {
    const door = await openDoor({
      registry: (_incoming, response) => {
        response.write('the beginning');
        setImmediate(() => response.socket?.destroy());
      },
    });
    const socket = dial(door);
    const failed = once(socket, 'error').catch((error: unknown) => [error]);
    socket.write(`GET ${blob} HTTP/1.0\r\n${authorization}\r\n\r\n`);
    socket.on('data', () => undefined);
    const [error] = await failed;
    expect(error).toMatchObject({ code: 'ECONNRESET' });
  });

  test('before it answers is a 502 in the envelope', async () => {
    const door = await openDoor({ registry: (incoming) => incoming.socket.destroy() });
    const answer = await ask(door, 'PUT', '/v2/team/app/manifests/1', credentials, '{}');
    expect(answer).toMatchObject({ status: 502, error: { code: 'UNAVAILABLE' } });
    expect(answer.error?.detail['requestId']).toBe(answer.headers['x-request-id']);
  });

  test.each([
    ['is no HTTP', 'hello\r\n\r\n'],
    // Node reads it, and would throw when it were to be passed on.
    ['has no possible status', 'HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n'],
  ])('and answers what %s is a 502', async (_, said) => {
    const nonsense = createNetServer((socket) => socket.on('error', () => undefined).end(said));
    nonsense.listen(0, '127.0.0.1');
    await once(nonsense, 'listening');
    onTestFinished(() => void nonsense.close());
    const door = await openDoor({ upstreams: [upstreamAt((nonsense.address() as AddressInfo).port)] });
    expect(await ask(door, 'GET', blob, credentials)).toMatchObject({ status: 502, error: { code: 'UNAVAILABLE' } });
  });

  test('and is silent for too long is a 502', async () => {
    const door = await openDoor({ registry: () => undefined, idle: 100 });
    expect(await ask(door, 'GET', blob, credentials)).toMatchObject({ status: 502 });
  });

  test('and is so after its client was is a 502, too', async () => {
    const door = await openDoor({ registry: (incoming) => incoming.resume(), idle: 300 });
    const socket = dial(door);
    const said = heard(socket);
    socket.write(`PATCH ${upload} HTTP/1.1\r\nHost: x\r\n${authorization}\r\nContent-Length: 5\r\n\r\nhe`);
    await delay(600);
    socket.write('llo');
    await hears(socket, /^HTTP\/1\.1 502 /);
    socket.destroy();
    await said;
  });

  test('and switches protocols, for which nobody asked, is a 502', async () => {
    const door = await openDoor({ registry: switchProtocols });
    expect(await ask(door, 'GET', blob, credentials)).toMatchObject({ status: 502 });
  });

  test('and breaks off its answer ends a connection through a Unix socket, too, and nothing else', async () => {
    const door = await openDoor({
      registry: (_, response) => {
        response.writeHead(200, { 'Content-Length': 100 });
        response.write('half', () => response.destroy());
      },
    });
    const path = join(mkdtempSync(join(tmpdir(), 'wharfie-door-')), 'socket');
    const entrance = createNetServer((socket) => door.server.emit('connection', socket)).listen(path);
    onTestFinished(() => {
      entrance.close();
      rmSync(dirname(path), { recursive: true });
    });
    await once(entrance, 'listening');
    const socket = connect(path);
    socket.write(`GET ${blob} HTTP/1.1\r\nHost: x\r\n${authorization}\r\n\r\n`);
    expect((await heard(socket)).split('\r\n\r\n')[1]).toBe('half');
  });

  test('is a 503 that says when to try again while it does not listen', async () => {
    const door = await openDoor({ upstreams: [upstreamAt(await deadPort())] });
    const answer = await ask(door, 'GET', blob, credentials);
    expect(answer).toMatchObject({ status: 503, error: { code: 'UNAVAILABLE' } });
    expect(answer.headers['retry-after']).toBe('5');
    expect((await ask(door, 'PATCH', upload, credentials, 'hello')).status).toBe(503);
  });

  test('is passed over while another one lives', async () => {
    const alive = createServer((_, response) => response.end('alive'));
    const port = await listenOn(alive);
    onTestFinished(() => {
      alive.closeAllConnections();
      alive.close();
    });
    const door = await openDoor({ upstreams: [await deadPort(), port].map(upstreamAt) });
    for (const _ of [1, 2, 3]) expect(await ask(door, 'GET', blob, credentials)).toMatchObject({ body: 'alive' });
    expect((await ask(door, 'PATCH', upload, credentials, 'hello')).status).toBe(200);
  });
});

describe('a connection that the registry closed while it was idle', () => {
  /** Answers the first request of a connection and resets it when the second one comes, as if the two had crossed. */
  async function registryThatClosesIdleConnections() {
    const requests: string[] = [];
    const server = createNetServer((socket: Socket) => {
      let first = true;
      socket
        .on('error', () => undefined)
        .on('data', (bytes) => {
          requests.push(bytes.toString('latin1').split(' ', 1)[0] ?? '');
          if (first) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
          else socket.resetAndDestroy();
          first = false;
        });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    return { upstreams: [upstreamAt((server.address() as AddressInfo).port)], requests };
  }

  test.each(['GET', 'HEAD'])('is tried once more for %s', async (method) => {
    const { upstreams, requests } = await registryThatClosesIdleConnections();
    const door = await openDoor({ upstreams });
    await ask(door, 'GET', blob, credentials);
    expect((await ask(door, method, blob, credentials)).status).toBe(200);
    expect(requests).toEqual(['GET', method, method]);
  });

  test.each([
    ['PUT', '/v2/team/app/manifests/1', '{}'],
    ['POST', '/v2/team/app/blobs/uploads/', undefined],
    ['DELETE', upload, undefined],
  ])('is not tried again for %s', async (method, path, body) => {
    const { upstreams, requests } = await registryThatClosesIdleConnections();
    const door = await openDoor({ upstreams });
    await ask(door, 'GET', blob, credentials);
    expect((await ask(door, method, path, credentials, body)).status).toBe(502);
    expect(requests.filter((asked) => asked === method)).toHaveLength(1);
  });
});

describe('an upload that is refused before it is through', () => {
  const length = { 'Content-Length': String(50 * megabyte.length) };

  async function uploadFiftyMegabytes(door: TestDoor, headers: Record<string, string>): Promise<IncomingMessage> {
    const sent = send(door, 'PATCH', upload, headers);
    const response = responseTo(sent);
    void pipeline(Readable.from(megabytes(50)), sent).catch(() => undefined);
    return response;
  }

  test.each([
    ['and is read no further', false],
    ['and the connection closed', true],
  ])('by the registry still gets the answer of the registry: %s', async (_, closes) => {
    const door = await openDoor({
      registry: (_incoming, response) => {
        response.writeHead(403, {
          'Content-Type': 'application/json',
          'Content-Length': 2,
          ...(closes && { Connection: 'close' }),
        });
        response.end('{}');
      },
    });
    for (let round = 0; round < 5; round++) {
      const response = await uploadFiftyMegabytes(door, length);
      expect(response.statusCode).toBe(403);
      expect(response.headers.connection).toBe('close');
      expect(Buffer.concat((await response.toArray()) as Buffer[]).toString()).toBe('{}');
    }
  });

  test('of the proxy itself by the registry is no challenge to the client', async () => {
    const door = await openDoor({
      registry: (_incoming, response) => {
        response.writeHead(401, { 'WWW-Authenticate': 'Bearer realm="https://elsewhere.example/token"' }).end();
      },
    });
    const response = await uploadFiftyMegabytes(door, length);
    expect(response.statusCode).toBe(502);
    expect(response.headers['www-authenticate']).toBeUndefined();
    expect(Buffer.concat((await response.toArray()) as Buffer[]).toString()).toContain('the same secret');
  });

  test.each([
    ['with a length', length],
    ['in chunks', {}],
  ])('by the door gets the answer of the door: %s', async (_, headers: Record<string, string>) => {
    const door = await openDoor();
    const response = await uploadFiftyMegabytes(door, { ...basic('eve'), ...headers });
    expect(response.statusCode).toBe(403);
    expect(response.headers.connection).toBe('close');
    expect(Buffer.concat((await response.toArray()) as Buffer[]).toString()).toContain('eve may not push to team/app');
    expect(door.asked).toEqual([]);
  });

  test('reaches a client that reads only when it has sent everything', async () => {
    const door = await openDoor();
    const socket = dial(door);
    socket.pause();
    socket.write(`PUT ${upload} HTTP/1.1\r\nHost: x\r\nContent-Length: ${length['Content-Length']}\r\n\r\n`);
    for (const chunk of megabytes(50)) if (!socket.write(chunk)) await once(socket, 'drain');
    expect(await heard(socket)).toMatch(/^HTTP\/1\.1 401 /);
  });

  test('is not read without end', async () => {
    const door = await openDoor();
    const socket = dial(door);
    socket.on('error', () => undefined);
    socket.write(`PUT ${upload} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`);
    const closed = once(socket, 'close').catch(() => undefined);
    const chunk = Buffer.concat([Buffer.from('100000\r\n'), megabyte, Buffer.from('\r\n')]);
    let sent = 0;
    while (!socket.destroyed && sent < 1000) {
      sent++;
      if (!socket.write(chunk)) await Promise.race([once(socket, 'drain').catch(() => undefined), closed]);
    }
    await closed;
    expect(sent).toBeLessThan(150);
  });
});

describe('Expect: 100-continue', () => {
  const head = (name: string, expectation = '100-continue') =>
    `PUT ${upload} HTTP/1.1\r\nHost: x\r\nAuthorization: ${basic(name).Authorization}\r\nExpect: ${expectation}\r\nContent-Length: 5\r\n\r\n`;

  test('is met only after the request was allowed, and does not reach the registry', async () => {
    const bodies: string[] = [];
    const door = await openDoor({
      registry: (incoming, response) => {
        void incoming.toArray().then((chunks) => {
          bodies.push(Buffer.concat(chunks as Buffer[]).toString());
          response.writeHead(201).end();
        });
      },
    });
    const socket = dial(door);
    socket.write(head('bob'));
    expect(await hears(socket, /\r\n\r\n/)).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    socket.write('hello');
    expect(await hears(socket, /\r\n\r\n/)).toMatch(/^HTTP\/1\.1 201 /);
    expect(bodies).toEqual(['hello']);
    expect(door.asked[0]?.headers).not.toHaveProperty('expect');
  });

  test('gets a refusal instead, and no body is waited for', async () => {
    const door = await openDoor();
    const socket = dial(door);
    socket.write(head('eve'));
    const said = await hears(socket, /\r\n\r\n.*may not push/);
    expect(said).toMatch(/^HTTP\/1\.1 403 /);
    expect(said).toMatch(/\r\nConnection: close\r\n/);
  });

  test('is the only expectation that is met', async () => {
    const door = await openDoor();
    const socket = dial(door);
    socket.write(head('bob', '200-ok'));
    expect(await hears(socket, /\r\n\r\n\{/)).toMatch(/^HTTP\/1\.1 417 /);
    expect(door.asked).toEqual([]);
  });
});

describe('bodies', () => {
  test.each([
    ['a length stays a length', 'Content-Length: 5', 'hello', { 'content-length': '5' }],
    ['chunks stay chunks', 'Transfer-Encoding: chunked', '5\r\nhello\r\n0\r\n\r\n', { 'transfer-encoding': 'chunked' }],
    ['nothing stays nothing', 'X: y', '', { 'content-length': '0' }],
  ])('%s', async (_, header, body, expected) => {
    const door = await openDoor();
    const socket = dial(door);
    socket.write(`PATCH ${upload} HTTP/1.1\r\nHost: x\r\n${authorization}\r\n${header}\r\n\r\n${body}`);
    await hears(socket, /\r\n\r\n/);
    expect(door.asked[0]?.headers).toMatchObject(expected);
    const framing = ['content-length', 'transfer-encoding'].filter((name) => name in (door.asked[0]?.headers ?? {}));
    expect(framing).toEqual(Object.keys(expected));
  });

  test('are passed on while they arrive, both ways at once', async () => {
    const door = await openDoor({
      registry: (incoming, response) => {
        incoming.on('data', (chunk: Buffer) => response.write(chunk.toString().toUpperCase()));
        incoming.once('end', () => response.end());
      },
    });
    const socket = dial(door);
    socket.write(`PATCH ${upload} HTTP/1.1\r\nHost: x\r\n${authorization}\r\nTransfer-Encoding: chunked\r\n\r\n`);
    socket.write('5\r\nfirst\r\n');
    await hears(socket, /FIRST/);
    socket.write('6\r\nsecond\r\n0\r\n\r\n');
    await hears(socket, /SECOND/);
  });

  test('in very small chunks go on whole, in fewer', async () => {
    const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, index) => index % 251));
    let received: Buffer[] = [];
    const door = await openDoor({
      registry: (incoming, response) => {
        received = [];
        incoming.on('data', (chunk: Buffer) => received.push(chunk)).once('end', () => response.writeHead(202).end());
      },
    });
    const head = `PATCH ${upload} HTTP/1.1\r\nHost: x\r\n${authorization}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n`;
    const chunks = Array.from(bytes, (byte) => `1\r\n${String.fromCharCode(byte)}\r\n`).join('');
    expect(await speak(door, `${head}${chunks}0\r\n\r\n`)).toMatch(/^HTTP\/1\.1 202 /);
    expect(Buffer.concat(received)).toEqual(bytes);
    expect(received.length).toBeLessThan(1000);
  });

  test('are not gathered for a client that reads slowly', async () => {
    let written = 0;
    const stuck = deferred<undefined>();
    const door = await openDoor({
      registry: (_, response) => {
        const fill = () => {
          while (response.write(megabyte)) written++;
          // What the kernel and the door take without a reader is a few megabytes; then it is quiet.
          clearTimeout(quiet);
          quiet = setTimeout(stuck.resolve, 500, undefined);
        };
        let quiet: NodeJS.Timeout | undefined;
        response.on('drain', fill).on('error', () => undefined);
        fill();
      },
    });
    const sent = send(door, 'GET', blob).end();
    const response = await responseTo(sent);
    await stuck.promise;
    expect(written).toBeLessThan(64);
    response.destroy();
  });
});

test.each([
  ['sends', `PATCH ${upload} HTTP/1.1\r\nHost: x\r\n${authorization}\r\nContent-Length: 5\r\n\r\nhe`],
  ['reads', `GET ${blob} HTTP/1.1\r\nHost: x\r\n${authorization}\r\n\r\n`],
])('a connection whose client %s nothing any more is closed, and the registry is not blamed', async (_, request) => {
  const door = await openDoor({
    idle: 100,
    registry: (incoming, response) => {
      if (incoming.method === 'GET') void writeForever(response);
    },
  });
  const closed = nextConnectionOver(door);
  dial(door)
    .on('error', () => undefined)
    .pause()
    .write(request);
  await closed;
  expect(door.log.filter(({ level }) => Number(level) >= 40)).toEqual([]);
});
