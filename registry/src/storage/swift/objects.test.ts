import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { giveBack, takeBuffer } from '@wharfie/shared';
import { afterEach, describe, expect, it } from 'vitest';
import { PathNotFound, StorageUnavailable } from '../storage-driver.js';
import { Intake } from '../intake.js';
import { pieces } from '../testing/driver-contract.js';
import { SwiftClient } from './client.js';
import { exists, getSmall, getWhole, inspect, putSmall, putStream, remove, removeWhole } from './objects.js';
import { serve, type Reply } from '../testing/serve.js';

const signal = new AbortController().signal;

describe('an object that is written, read whole, or removed', () => {
  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0)) await end();
  });
  const clientAt = (storageUrl: string, close: () => unknown): SwiftClient => {
    const session = { token: 'token', storageUrl, expires: undefined };
    const client = new SwiftClient({ login: () => Promise.resolve(session), container: 'c', pause: 1 });
    ends.push(() => client.close(), close);
    return client;
  };
  const clientOf = (server: Server): SwiftClient =>
    clientAt(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, () => server.close());
  /** Answered by `replies` in turn, the last again and again. */
  const open = async (...replies: Reply[]) => {
    const server = await serve(() => (replies.length > 1 ? replies.shift() : replies[0]) ?? { status: 500 });
    return { client: clientAt(`${server.address}/v1/AUTH_a`, server.close), seen: server.seen };
  };
  const reply = (body: string, content = body): Reply => {
    const etag = createHash('md5').update(content).digest('hex');
    return { status: 200, headers: { etag, 'content-length': String(body.length) }, body };
  };

  it('is asked for in its newest version', async () => {
    const { client, seen } = await open(reply('content'));
    expect((await getWhole(client, 'name', signal)).toString()).toBe('content');
    expect(await exists(client, 'name', signal)).toBe(true);
    const newest = { url: '/v1/AUTH_a/c/name', headers: { 'x-newest': 'true' } };
    expect(seen).toMatchObject([newest, newest]);
  });

  it('is not taken for an empty one when something on the way took its length', async () => {
    const { client } = await open({ status: 200, headers: { 'transfer-encoding': 'chunked' }, body: 'content' });
    await expect(getWhole(client, 'name', signal)).rejects.toThrow(StorageUnavailable);
    await expect(inspect(client, 'name', signal)).rejects.toThrow('without its length');
  });

  it('is read again when it came damaged', async () => {
    const { client } = await open(reply('c0ntent', 'content'), reply('content'));
    expect((await getWhole(client, 'name', signal)).toString()).toBe('content');
  });

  it('is refused when every copy is damaged', async () => {
    const { client } = await open(reply('c0ntent', 'content'));
    await expect(getWhole(client, 'name', signal)).rejects.toThrow(StorageUnavailable);
    await expect(getSmall(client, 'name', signal)).rejects.toThrow('damaged');
  });

  it('may be missing', async () => {
    const { client } = await open({ status: 404 });
    await expect(getWhole(client, 'name', signal)).rejects.toThrow(PathNotFound);
    expect(await getSmall(client, 'name', signal)).toBeUndefined();
  });

  it('was there when it is removed, also when only the answer to a try before was lost', async () => {
    const container: Reply = { status: 204 };
    const tries: [boolean, Reply[]][] = [
      [true, [{ status: 204 }]],
      [false, [{ status: 404 }, container, { status: 404 }]],
      [true, [{ status: 404 }, container, { status: 204 }]],
      [true, [{ status: 409 }, { status: 204 }]],
      [true, [{ status: 503 }, { status: 404 }, container, { status: 404 }]],
      [true, [{ status: 0, cut: true }, { status: 404 }, container, { status: 404 }]],
      [false, [{ status: 429 }, { status: 404 }, container, { status: 404 }]],
      [false, [{ status: 401 }, { status: 404 }, container, { status: 404 }]],
    ];
    for (const [there, replies] of tries) {
      const { client } = await open(...replies);
      expect([await remove(client, 'name', signal), replies]).toEqual([there, replies]);
    }
  });

  it('is not taken for removed while Swift cannot tell what is in the container, and says 404', async () => {
    for (const removing of [remove, removeWhole]) {
      const { client } = await open({ status: 404 }, { status: 503 });
      await expect(removing(client, 'name', signal)).rejects.toThrow(StorageUnavailable);
    }
  });

  it('is removed again when Swift says that it has other bytes than were sent', async () => {
    const { client, seen } = await open({ status: 201, headers: { etag: 'another' } }, { status: 204 });
    const stream = { head: Buffer.from('con'), intake: new Intake(pieces('tent'), signal), most: 100 };
    const written = putStream(client, 'name', stream, () => undefined, signal);
    await expect(written).rejects.toThrow('arrived damaged');
    expect(seen.map(({ method, body }) => [method, body])).toEqual([
      ['PUT', 'content'],
      ['DELETE', ''],
    ]);
  });

  it('is sent again when one copy has something later, or not taken for written; what is later stays', async () => {
    const { client, seen } = await open({ status: 202 }, { status: 201 });
    await putSmall(client, 'name', Buffer.from('content'), signal);
    expect(seen.map(({ method }) => method)).toEqual(['PUT', 'PUT']);

    const { client: once, seen: seenOnce } = await open({ status: 202 });
    const stream = { head: Buffer.from('con'), intake: new Intake(pieces('tent'), signal), most: 100 };
    const written = putStream(once, 'name', stream, () => undefined, signal);
    await expect(written).rejects.toThrow(StorageUnavailable);
    expect(seenOnce.map(({ method }) => method)).toEqual(['PUT']);
  });

  it('is not taken for written when Swift says so before the end, which nobody has approved', async () => {
    const methods: (string | undefined)[] = [];
    const hasty = createServer((request, response) => {
      methods.push(request.method);
      response.writeHead(202).end();
    }).listen(0, '127.0.0.1');
    await once(hasty, 'listening');
    const client = clientOf(hasty);
    let come: () => void = () => undefined;
    const coming = new Promise<void>((resolve) => (come = resolve));
    let approved = false;
    const approve = (): void => {
      approved = true;
    };
    const source = pieces(() => coming, 'tent');
    const stream = { head: Buffer.from('con'), intake: new Intake(source, signal), most: 100 };
    await expect(putStream(client, 'name', stream, approve, signal)).rejects.toThrow(StorageUnavailable);
    come();
    await delay(50);
    expect({ approved, methods }).toEqual({ approved: false, methods: ['PUT'] });
  });

  it('gives its buffer back when Swift breaks off in the middle, also after an answer whose end is that', async () => {
    for (const answer of ['', 'HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n']) {
      const rude = createServer(({ socket }) => {
        socket.write(answer);
        setTimeout(() => socket.resetAndDestroy(), 20);
      }).listen(0, '127.0.0.1');
      await once(rude, 'listening');
      const lent = takeBuffer();
      giveBack(lent);
      const source = pieces(
        'a',
        () => delay(100),
        'b',
        () => delay(100),
      );
      const stream = { head: Buffer.from('head'), intake: new Intake(source, signal), most: Infinity };
      const written = putStream(clientOf(rude), 'name', stream, () => undefined, signal);
      await expect(written).rejects.toThrow(StorageUnavailable);
      await delay(300);
      const again = takeBuffer();
      giveBack(again);
      expect([again === lent, answer]).toEqual([true, answer]);
    }
  });

  it('is sent whole to a Swift that reads slowly, from a buffer that is used over and over', async () => {
    const content = randomBytes(16 * 1024 * 1024);
    const slow = createServer((request, response) => {
      setTimeout(() => {
        const hash = createHash('md5');
        request.on('data', (chunk: Buffer) => hash.update(chunk));
        request.on('end', () => response.writeHead(201, { etag: hash.digest('hex') }).end());
      }, 100);
    }).listen(0, '127.0.0.1');
    await once(slow, 'listening');
    const client = clientOf(slow);
    // So many that those to come are smaller than what a connection holds back.
    const taken = Array.from({ length: 600 }, takeBuffer);
    const stream = { head: Buffer.from('head'), intake: new Intake(pieces(content), signal), most: Infinity };
    const stored = await putStream(client, 'name', stream, () => undefined, signal);
    giveBack(...taken);
    expect(stored).toEqual({
      size: content.length + 4,
      etag: createHash('md5').update('head').update(content).digest('hex'),
    });
  });

  it('was not removed whole when Swift says so in the text of an answer of 200', async () => {
    const said = (status: string): Reply => ({ status: 200, body: JSON.stringify({ 'Response Status': status }) });
    const { client: gone } = await open(said('200 OK'));
    expect(await removeWhole(gone, 'name', signal)).toBe(true);
    const { client: missing } = await open(said('404 Not Found'), { status: 204 }, said('404 Not Found'));
    expect(await removeWhole(missing, 'name', signal)).toBe(false);
    const { client, seen } = await open(said('502 Bad Gateway'));
    await expect(removeWhole(client, 'name', signal)).rejects.toThrow('was not removed whole');
    expect(seen[0]?.url).toBe('/v1/AUTH_a/c/name?multipart-manifest=delete');
  });
});
