import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from 'vitest';
import { StorageFull, StorageUnavailable } from '../storage-driver.js';
import { pieces } from '../testing/driver-contract.js';
import { SwiftClient } from './client.js';
import { SwiftRefused } from './session.js';
import { serve, type Reply, type Seen } from './testing.js';

const signal = new AbortController().signal;

describe('the Swift client', () => {
  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0)) await end();
  });
  /** A client whose requests are answered by `replies` in turn, the last again and again. */
  const open = async (...replies: Reply[]) => {
    let logins = 0;
    const objects: Seen[] = [];
    const server = await serve((seen) => {
      if (seen.method === 'HEAD') return { status: 204 };
      objects.push(seen);
      return replies[Math.min(objects.length, replies.length) - 1] ?? { status: 500 };
    });
    const client = new SwiftClient({
      login: () => {
        logins += 1;
        return Promise.resolve({
          token: `token ${logins}`,
          storageUrl: `${server.address}/v1/AUTH_a`,
          expires: undefined,
        });
      },
      container: 'a b',
      pause: 1,
    });
    ends.push(() => client.close(), server.close);
    return { client, objects, logins: () => logins };
  };
  const get = { method: 'GET', name: 'x/y z?', accept: [200] } as const;

  it('encodes names, and sends its token', async () => {
    const { client, objects } = await open({ status: 200, body: 'content' });
    expect(await text((await client.call({ ...get, newest: true }, signal)).body)).toBe('content');
    expect(objects[0]).toMatchObject({
      url: '/v1/AUTH_a/a%20b/x/y%20z%3F',
      headers: { 'x-auth-token': 'token 1', 'x-newest': 'true' },
    });
  });

  it.each([408, 429, 498, 500, 502, 503, 504])('tries again after %d', async (status) => {
    const { client, objects } = await open({ status }, { status, headers: { 'retry-after': '0' } }, { status: 200 });
    await client.send(get, signal);
    expect(objects).toHaveLength(3);
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

  it('does not repeat what was refused', async () => {
    const { client, objects } = await open({ status: 403, body: '<html><h1>Forbidden</h1></html>' });
    const refused = client.send(get, signal);
    await expect(refused).rejects.toThrow(SwiftRefused);
    await expect(refused).rejects.toThrow('403: Forbidden');
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
});
