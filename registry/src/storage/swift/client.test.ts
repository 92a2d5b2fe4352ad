import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { StorageFull, StorageUnavailable } from '../storage-driver.js';
import { pieces } from '../testing/driver-contract.js';
import { loginV1 } from './auth-v1.js';
import { SwiftClient } from './client.js';
import { SwiftDriver } from './driver.js';
import { md5 } from './large-object.js';
import { NoEndpoint, SwiftRefused, type Session } from './session.js';
import { serve, type Reply, type Seen } from '../testing/serve.js';

const signal = new AbortController().signal;
/** Of a token, in seconds. */
const lifetime = 600;

describe('the Swift client', () => {
  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    vi.useRealTimers();
    for (const end of ends.splice(0)) await end();
  });
  /** A client whose requests are answered by `replies` in turn, the last again and again. */
  const open = async (...replies: Reply[]) => {
    let logins = 0;
    let refusing = false;
    const objects: Seen[] = [];
    const server = await serve((seen) => {
      if (seen.method === 'HEAD') return { status: 204 };
      objects.push(seen);
      return replies[Math.min(objects.length, replies.length) - 1] ?? { status: 500 };
    });
    const client = new SwiftClient({
      login: () => {
        logins += 1;
        if (refusing) return Promise.reject(new SwiftRefused(403, 'the login', 'not now'));
        return Promise.resolve({
          token: `token ${logins}`,
          storageUrl: `${server.address}/v1/AUTH_a`,
          expires: Date.now() + lifetime * 1000,
        });
      },
      container: 'a b',
      pause: 1,
    });
    ends.push(() => client.close(), server.close);
    const failLogins = (fail: boolean): void => {
      refusing = fail;
    };
    return { client, objects, logins: () => logins, failLogins };
  };
  const get = { method: 'GET', name: 'x/y z?', accept: [200] } as const;

  it('serves whoever asks for little while 64 others do not read what they asked for', async () => {
    const { client } = await open(...Array<Reply>(64).fill({ status: 200, body: 'x'.repeat(8 * 1024 * 1024) }), {
      status: 200,
      headers: { etag: md5(Buffer.from('small')) },
      body: 'small',
    });
    const driver = new SwiftDriver(client, '', { maxFileSize: Infinity, manifestEntries: 1000 });
    const unread = [];
    while (unread.length < 64) unread.push(await driver.read('large', undefined, signal));
    expect(String(await driver.get('small', signal))).toBe('small');
    for (const stream of unread) stream.destroy();
  });

  it('takes what comes while as many as there are connections do not read what they asked for', async () => {
    const { client } = await open(...Array<Reply>(1024).fill({ status: 200, body: 'x', endless: true }), {
      status: 201,
    });
    for (let opened = 0; opened < 1024; opened += 64)
      await Promise.all(Array.from({ length: 64 }, () => client.call({ ...get, streams: true }, signal)));
    await client.send({ method: 'PUT', name: 'x', body: pieces('new'), accept: [201] }, signal);
  });

  it('lets whoever does not want to wait any more go, while the login that others wait for goes on', async () => {
    const server = await serve(() => ({ status: 200, body: 'content' }));
    let letIn: ((session: Session) => void) | undefined;
    const login = () => new Promise<Session>((resolve) => (letIn = resolve));
    const client = new SwiftClient({ login, container: 'c' });
    ends.push(() => client.close(), server.close);
    const leaving = new AbortController();
    const [left, stays] = [client.call(get, leaving.signal), client.call(get, signal)];
    leaving.abort(new Error('gone'));
    await expect(left).rejects.toThrow('gone');
    letIn?.({ token: 't', storageUrl: `${server.address}/v1/a`, expires: undefined });
    expect(await text((await stays).body)).toBe('content');
  });

  it('encodes names, and sends its token', async () => {
    const { client, objects } = await open({ status: 200, body: 'content' });
    expect(await text((await client.call({ ...get, newest: true }, signal)).body)).toBe('content');
    expect(objects[0]).toMatchObject({
      url: '/v1/AUTH_a/a%20b/x/y%20z%3F',
      headers: { 'x-auth-token': 'token 1', 'x-newest': 'true' },
    });
  });

  it.each([408, 429, 498, 499, 500, 502, 503, 504])('tries again after %d', async (status) => {
    const { client, objects } = await open({ status }, { status, headers: { 'retry-after': '0' } }, { status: 200 });
    await client.send(get, signal);
    expect(objects).toHaveLength(3);
  });

  it.each([
    ['seconds', () => '1'],
    ['a date', () => new Date(Date.now() + 2000).toUTCString()],
  ])('waits as long as Swift asks for in %s', async (_, asked) => {
    const halfway: Promise<number>[] = [];
    const busy = {
      status: 503,
      // Half of the pause begins with the answer; however slow all is here, it ends before the whole does.
      get headers() {
        halfway.push(delay(500).then(() => objects.length));
        return { 'retry-after': asked() };
      },
    };
    const { client, objects } = await open(busy, { status: 200 });
    await client.send(get, signal);
    expect(await Promise.all(halfway)).toEqual([1]);
    expect(objects).toHaveLength(2);
  });

  it('gives up at once when Swift asks for a longer pause than anybody waits', async () => {
    const { client, objects } = await open({ status: 503, headers: { 'retry-after': '30' } }, { status: 200 });
    await expect(client.send(get, signal)).rejects.toThrow(StorageUnavailable);
    expect(objects).toHaveLength(1);
  });

  it('asks for the limits of the cluster until it has them, and does without where there are none', async () => {
    const { client, objects } = await open({ status: 503 }, { status: 200, body: '{"swift":{}}' }, { status: 404 });
    expect(await client.info(signal)).toEqual({ swift: {} });
    expect(objects.map(({ url }) => url)).toEqual(['/info', '/info']);
    expect(await client.info(signal)).toBeUndefined();
  });

  it('tries again after a connection that broke', async () => {
    const { client, objects } = await open({ status: 0, cut: true }, { status: 200 });
    await client.send(get, signal);
    expect(objects).toHaveLength(2);
  });

  it('gives up at some time', async () => {
    const { client, objects } = await open({ status: 503, body: 'busy' });
    await expect(client.send(get, signal)).rejects.toThrow(StorageUnavailable);
    expect(objects).toHaveLength(5);
  });

  it('gives up before the door gives up on its client', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const server = await serve(() => {
      vi.setSystemTime(Date.now() + 60_000);
      return { status: 503 };
    });
    const session = { token: 't', storageUrl: `${server.address}/v1/a`, expires: undefined };
    const client = new SwiftClient({ login: () => Promise.resolve(session), container: 'c', pause: 1 });
    ends.push(() => client.close(), server.close);
    await expect(client.send(get, signal)).rejects.toThrow(StorageUnavailable);
    expect(server.seen).toHaveLength(2);
  });

  it('does not repeat what was refused', async () => {
    const { client, objects } = await open({ status: 403, body: '<html><h1>Forbidden</h1></html>' });
    const refused = client.send(get, signal);
    await expect(refused).rejects.toThrow(StorageUnavailable);
    await expect(refused).rejects.toThrow('403: Forbidden');
    await expect(refused).rejects.toHaveProperty('cause', expect.any(SwiftRefused));
    expect(objects).toHaveLength(1);
  });

  it('logs in anew once when its token is refused', async () => {
    const { client, objects, logins } = await open({ status: 401 }, { status: 200 });
    await Promise.all([client.send(get, signal), client.send(get, signal)]);
    expect(logins()).toBe(2);
    expect(objects.at(-1)?.headers['x-auth-token']).toBe('token 2');
    const hopeless = await open({ status: 401 });
    await expect(hopeless.client.send(get, signal)).rejects.toThrow(StorageUnavailable);
    expect(hopeless.logins()).toBe(2);
  });

  it('says that the storage is unavailable when a login is not answered, or gives no address', async () => {
    const server = await serve(() => new Promise(() => undefined));
    ends.push(server.close);
    const logins = [
      loginV1(server.address, 'account:user', 'key'),
      () => Promise.reject(new NoEndpoint('region', 'there is none')),
    ];
    for (const login of logins) {
      const client = new SwiftClient({ login, container: 'c', timeout: 200 });
      ends.push(() => client.close());
      await expect(client.send(get, signal)).rejects.toThrow(StorageUnavailable);
    }
    expect(server.seen).toHaveLength(1);
  });

  it('renews its token while the old one serves, also when the login fails at first', async () => {
    const { client, objects, logins, failLogins } = await open({ status: 200 });
    vi.useFakeTimers({ toFake: ['Date'] });
    const tokenAfter = async (seconds: number): Promise<unknown> => {
      vi.setSystemTime(Date.now() + seconds * 1000);
      await client.send(get, signal);
      await delay(50);
      return objects.at(-1)?.headers['x-auth-token'];
    };
    expect(await tokenAfter(0)).toBe('token 1');
    failLogins(true);
    // A tenth of its life is left.
    expect(await tokenAfter(lifetime * 0.95)).toBe('token 1');
    expect(logins()).toBe(2);
    failLogins(false);
    expect(await tokenAfter(1)).toBe('token 1');
    expect(logins()).toBe(2);
    expect(await tokenAfter(10)).toBe('token 1');
    expect(await tokenAfter(0)).toBe('token 3');
    // Too late for the old one.
    expect(await tokenAfter(lifetime)).toBe('token 4');
  });

  it('sends bytes again, and a source once', async () => {
    const put = { method: 'PUT', name: 'x', accept: [201] } as const;
    const first = await open({ status: 503 }, { status: 201 });
    await first.client.send({ ...put, body: Buffer.from('bytes') }, signal);
    expect(first.objects.map(({ body }) => body)).toEqual(['bytes', 'bytes']);
    const second = await open({ status: 503 }, { status: 201 });
    await expect(second.client.send({ ...put, body: pieces('once') }, signal)).rejects.toThrow(StorageUnavailable);
    expect(second.objects.map(({ body }) => body)).toEqual(['once']);
  });

  it('passes on why a source failed', async () => {
    const { client } = await open({ status: 201 });
    const body = pieces('begin', () => {
      throw new Error('lost');
    });
    await expect(client.send({ method: 'PUT', name: 'x', body, accept: [201] }, signal)).rejects.toThrow('lost');
  });

  it.each([507, 413])('says that the storage is full after %d', async (status) => {
    const { client } = await open({ status });
    await expect(client.send({ ...get, method: 'PUT' }, signal)).rejects.toThrow(StorageFull);
  });

  it('stops with the reason of its signal', async () => {
    const { client } = await open({ status: 503, headers: { 'retry-after': '10' } });
    const controller = new AbortController();
    const call = client.send(get, controller.signal);
    controller.abort(new Error('gone'));
    await expect(call).rejects.toThrow('gone');
  });

  /** A server that begins its answers with `start` and never ends one, and a client that gives up after `timeout`. */
  const openSilent = async ({ start, timeout }: { start?: string; timeout?: number }) => {
    const server = createServer();
    server.listen(0, '127.0.0.1').on('connection', (socket) => {
      socket.once('data', () => start !== undefined && socket.write(start));
    });
    await once(server, 'listening');
    const storageUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/a`;
    const login = () => Promise.resolve({ token: 't', storageUrl, expires: undefined });
    const given = timeout === undefined ? {} : { timeout };
    const client = new SwiftClient({ login, container: 'c', retries: 1, pause: 1, ...given });
    ends.push(
      () => client.close(),
      () => server.close(),
    );
    return { client, server };
  };

  it('asks once more when no answer begins in time, and then gives up', async () => {
    const { client, server } = await openSilent({ timeout: 200 });
    let asked = 0;
    server.on('connection', () => (asked += 1));
    await expect(client.send(get, signal)).rejects.toThrow(StorageUnavailable);
    expect(asked).toBe(2);
  });

  it('gives up an answer that does not go on', async () => {
    const { client } = await openSilent({ start: 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegun', timeout: 200 });
    await expect(client.call(get, signal).then(({ body }) => text(body))).rejects.toThrow('Body Timeout');
  });

  it('closes the connection of a request that nobody waits for any more', async () => {
    const { client, server } = await openSilent({});
    const controller = new AbortController();
    const call = client.send({ ...get, streams: true }, controller.signal);
    const [socket] = (await once(server, 'connection')) as [Socket];
    await once(socket, 'data');
    controller.abort(new Error('gone'));
    await Promise.all([once(socket, 'close'), expect(call).rejects.toThrow('gone')]);
  });
});
