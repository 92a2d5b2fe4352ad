import { giveBack, HandedFiles, takeBuffer, type HandedFile } from '@wharfie/shared';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { request, type IncomingMessage, type RequestListener } from 'node:http';
import { mkdtemp, open, readdir, readlink, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { ask, basic, dial, openDoor, secret, upstreamAt, type TestDoor } from './harness.js';

const blob = `/v2/team/app/blobs/sha256:${'a'.repeat(64)}`;
const content = randomBytes(5_000_000);
const files = new HandedFiles(secret);

async function newFile(bytes: Uint8Array = content): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'wharfie-file-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, 'data');
  await writeFile(path, bytes);
  return path;
}

async function handed(path: string, changed: Partial<HandedFile> = {}): Promise<HandedFile> {
  const { dev, ino, size } = await stat(path);
  return { path, device: String(dev), inode: String(ino), size, start: 0, length: size, ...changed };
}

/** A registry that hands over `file` when that is wanted, and says `bytes` otherwise. */
function handing(file: HandedFile, status = 200, sign = files): RequestListener {
  return (incoming, response) => {
    if (incoming.headers['wharfie-file'] !== 'wanted') response.end('bytes');
    else {
      const signed = sign.sign(file, String(incoming.headers['x-request-id']));
      response.writeHead(status, { ETag: '"blob"', 'Content-Length': 0, 'Wharfie-File': signed }).end();
    }
  };
}

async function pull({ port }: TestDoor, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  const sent = request({ host: '127.0.0.1', port, path: blob, headers: { ...basic('bob'), ...headers }, agent: false });
  const [response] = (await once(sent.end(), 'response')) as [IncomingMessage];
  // A connection that is reset fails the answer too.
  sent.on('error', () => undefined);
  return response;
}

const offers = ({ asked }: TestDoor) => asked.map(({ headers }) => headers['wharfie-file']);

async function opened(path: string): Promise<boolean> {
  const descriptors = await readdir('/proc/self/fd');
  const targets = await Promise.all(
    descriptors.map((descriptor) => readlink(`/proc/self/fd/${descriptor}`).catch(() => '')),
  );
  return targets.includes(path);
}

describe('a file that the registry hands over', () => {
  test('is sent as the body, and how is nobody told', async () => {
    const path = await newFile();
    const door = await openDoor({ registry: handing(await handed(path)) });
    const response = await pull(door);
    expect(response.statusCode).toBe(200);
    expect((await buffer(response)).equals(content)).toBe(true);
    expect(response.headers).toMatchObject({ etag: '"blob"', 'content-length': String(content.length) });
    expect(response.headers).not.toHaveProperty('wharfie-file');
    await vi.waitFor(() => {
      expect(door.log).toContainEqual(expect.objectContaining({ msg: 'request', bytesOut: content.length }));
    });
    expect(await opened(path)).toBe(false);
  });

  test('is sent in part', async () => {
    const part = { start: 1_234_567, length: 3_000_000 };
    const door = await openDoor({ registry: handing(await handed(await newFile(), part), 206) });
    const response = await pull(door);
    expect(response.statusCode).toBe(206);
    expect(response.headers['content-length']).toBe('3000000');
    expect((await buffer(response)).equals(content.subarray(1_234_567, 4_234_567))).toBe(true);
  });

  test('may be empty', async () => {
    const door = await openDoor({ registry: handing(await handed(await newFile(Buffer.alloc(0)))) });
    const response = await pull(door);
    expect(response.headers['content-length']).toBe('0');
    expect(await buffer(response)).toHaveLength(0);
  });

  test('goes to many at once', async () => {
    const door = await openDoor({ registry: handing(await handed(await newFile())) });
    const bodies = await Promise.all(Array.from({ length: 30 }, async () => buffer(await pull(door))));
    expect(bodies.every((body) => body.equals(content))).toBe(true);
  });

  test('is closed when the client leaves', async () => {
    const path = await newFile(Buffer.alloc(50_000_000));
    const door = await openDoor({ registry: handing(await handed(path)) });
    const response = await pull(door);
    await once(response, 'readable');
    expect(await opened(path)).toBe(true);
    response.destroy();
    await vi.waitFor(async () => {
      expect(await opened(path)).toBe(false);
    });
  });

  test('is closed when a client leaves that asked for it twice on one connection', async () => {
    const path = await newFile(Buffer.alloc(50_000_000));
    const door = await openDoor({ registry: handing(await handed(path)) });
    const socket = dial(door);
    const { Authorization } = basic('bob');
    socket.write(`GET ${blob} HTTP/1.1\r\nHost: door\r\nAuthorization: ${Authorization}\r\n\r\n`.repeat(2));
    await once(socket, 'readable');
    expect(await opened(path)).toBe(true);
    socket.destroy();
    await vi.waitFor(async () => {
      expect(await opened(path)).toBe(false);
    });
    // The second one's turn never came.
    expect(door.asked).toHaveLength(1);
  });

  test('leaves its buffers to the next one, also when the client leaves', async () => {
    const path = await newFile(Buffer.alloc(50_000_000));
    const door = await openDoor({ registry: handing(await handed(path)) });
    for (let pulls = 0; pulls < 10; pulls += 1) {
      const response = await pull(door);
      await once(response, 'readable');
      response.destroy();
    }
    await vi.waitFor(async () => {
      expect(await opened(path)).toBe(false);
    });
    const taken = takeBuffer();
    giveBack(taken);
    expect(taken.length).toBe(1024 * 1024);
  });

  test('that becomes shorter resets the connection', async () => {
    const path = await newFile(Buffer.alloc(50_000_000));
    const door = await openDoor({ registry: handing(await handed(path)) });
    const response = await pull(door);
    await once(response, 'readable');
    await truncate(path, 1_000_000);
    await expect(buffer(response)).rejects.toThrow();
    await vi.waitFor(() => {
      expect(door.log).toContainEqual(expect.objectContaining({ msg: 'a blob could not be sent to its end' }));
    });
  });
});

describe('the offer to send a file', () => {
  test('is made for blobs alone, and never by a client', async () => {
    const door = await openDoor();
    const wanted = { ...basic('bob'), 'Wharfie-File': 'wanted' };
    await ask(door, 'HEAD', blob, wanted);
    await ask(door, 'GET', '/v2/team/app/manifests/1', wanted);
    expect(offers(door)).toEqual([undefined, undefined]);
    await ask(door, 'GET', blob, { ...basic('bob'), 'Wharfie-File': 'other' });
    expect(offers(door)[2]).toBe('wanted');
  });

  test('is not made to another machine, whose file would not be believed', async () => {
    const path = await newFile();
    const listening = await openDoor({ registry: handing(await handed(path)) });
    const { port } = listening.registry.address() as { port: number };
    const elsewhere = { ...upstreamAt(port), host: '0.0.0.0' };
    const door = await openDoor({ upstreams: [elsewhere] });
    expect((await buffer(await pull(door))).toString()).toBe('bytes');
    expect(offers(listening)).toEqual([undefined]);
  });

  test.each([
    ['signed by somebody else', new HandedFiles(Buffer.from('another secret, of thirty-two bytes'))],
    [
      'signed for another request',
      Object.assign(new HandedFiles(secret), { sign: (file: HandedFile) => files.sign(file, 'another') }),
    ],
    ['not signed', Object.assign(new HandedFiles(secret), { sign: () => 'nonsense' })],
  ])('is not answered with a file that is %s', async (_, sign) => {
    const door = await openDoor({ registry: handing(await handed(await newFile()), 200, sign) });
    const answer = await ask(door, 'GET', blob, basic('bob'));
    expect(answer).toMatchObject({ status: 502, error: { code: 'UNAVAILABLE' } });
    expect(door.log).toContainEqual(
      expect.objectContaining({ msg: 'the registry hands over a file without signing it' }),
    );
  });

  test('that was not made cannot be taken', async () => {
    const file = await handed(await newFile());
    const door = await openDoor({
      registry: (incoming, response) => {
        const signed = files.sign(file, String(incoming.headers['x-request-id']));
        response.writeHead(200, { 'Wharfie-File': signed }).end('a manifest');
      },
    });
    const answer = await ask(door, 'GET', '/v2/team/app/manifests/1', basic('bob'));
    expect(answer.body).toBe('a manifest');
    expect(answer.headers).not.toHaveProperty('wharfie-file');
  });

  test('ends where the file is that of another device, and the registry sends the bytes', async () => {
    const door = await openDoor({ registry: handing(await handed(await newFile(), { device: '1' })) });
    for (const _ of [1, 2]) expect((await buffer(await pull(door))).toString()).toBe('bytes');
    expect(offers(door)).toEqual(['wanted', undefined, undefined]);
    expect(door.log.filter(({ msg }) => String(msg).includes('cannot be read here'))).toHaveLength(1);
  });

  test.each([{ inode: '1' }, { size: 1 }])('stays when a file was replaced a moment ago (%j)', async (changed) => {
    const door = await openDoor({ registry: handing(await handed(await newFile(), changed)) });
    for (const _ of [1, 2]) expect((await buffer(await pull(door))).toString()).toBe('bytes');
    expect(offers(door)).toEqual(['wanted', undefined, 'wanted', undefined]);
  });

  test('stays when a file was deleted a moment ago', async () => {
    const path = await newFile();
    const file = await handed(path);
    await rm(path);
    const door = await openDoor({ registry: handing(file) });
    for (const _ of [1, 2]) expect((await buffer(await pull(door))).toString()).toBe('bytes');
    expect(offers(door)).toEqual(['wanted', undefined, 'wanted', undefined]);
  });

  test('ends where the files do not lie here, and the registry sends the bytes', async () => {
    const path = await newFile();
    const file = await handed(path);
    await rm(path);
    const door = await openDoor({ registry: handing(file) });
    for (let pulls = 0; pulls < 6; pulls += 1) expect((await buffer(await pull(door))).toString()).toBe('bytes');
    expect(offers(door).slice(-3)).toEqual(['wanted', undefined, undefined]);
  });

  test('is not taken with a file that is replaced by another', async () => {
    const path = await newFile();
    const file = await handed(path);
    const kept = await open(path);
    onTestFinished(() => kept.close());
    await rm(path);
    await writeFile(path, randomBytes(content.length));
    const door = await openDoor({ registry: handing(file) });
    expect((await buffer(await pull(door))).toString()).toBe('bytes');
  });
});
