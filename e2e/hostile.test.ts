import { connect } from 'node:net';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deriveKey, identitySigner, repositoryAccess } from '@wharfie/shared';
import { createHmac } from 'node:crypto';
import { pushImage, types } from './harness/images.js';
import { Wharfie } from './harness/wharfie.js';

interface Answer {
  status: number;
  text: string;
}

describe('hostile input', () => {
  let wharfie: Wharfie;
  /** The front door, with an account's credentials; and the registry's own port, with a token that allows a lot. */
  let doors: { name: string; host: string; port: number; authorization: string }[];
  let secret: Buffer;
  beforeAll(async () => {
    wharfie = await Wharfie.start();
    secret = Buffer.from((await readFile(`${wharfie.data}/secret`, 'latin1')).trim(), 'latin1');
    const access = [
      repositoryAccess('a', 'pull', 'push', 'delete'),
      repositoryAccess('b', 'pull', 'push', 'delete'),
      { type: 'registry' as const, name: 'catalog', actions: ['*'] },
    ];
    const door = (address: string) => ({ host: address.split(':')[0] ?? '', port: Number(address.split(':')[1]) });
    doors = [
      {
        name: 'the door',
        ...door(wharfie.address),
        authorization: `Basic ${Buffer.from(`admin:${wharfie.password}`).toString('base64')}`,
      },
      {
        name: 'the registry',
        ...door(wharfie.environment['WHARFIE_REGISTRY_LISTEN'] ?? ''),
        authorization: `Bearer ${identitySigner(secret)({ subject: 'admin', access })}`,
      },
    ];
    await pushImage((method, path, init) => wharfie.fetch(path, { ...init, method }), 'a', '1');
  });
  afterAll(() => wharfie.dispose());

  type Door = (typeof doors)[number];
  /** Sends bytes as they are, and returns all that comes back until the other side closes or has answered. */
  const raw = async ({ host, port }: Door, bytes: string | Buffer): Promise<Answer> => {
    const socket = connect(port, host);
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      // One whole answer is enough; what else the connection holds is not waited for.
      const [head = '', body = ''] = text.split('\r\n\r\n');
      const length = /content-length: (\d+)/i.exec(head)?.[1];
      if (length !== undefined && (body.length >= Number(length) || bytes.toString().startsWith('HEAD'))) socket.end();
    });
    socket.on('error', () => undefined);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.write(bytes);
    await closed;
    return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]), text };
  };
  const request = (door: Door, line: string, headers: string[] = [], body = '') =>
    raw(
      door,
      `${line} HTTP/1.1\r\nHost: x\r\nAuthorization: ${door.authorization}\r\n${headers.map((header) => `${header}\r\n`).join('')}\r\n${body}`,
    );
  const eachDoor = async (check: (door: Door) => Promise<void>): Promise<void> => {
    for (const door of doors) await check(door);
  };
  const envelope = ({ text }: Answer): { errors: { code: string; message: string }[] } =>
    JSON.parse(text.split('\r\n\r\n')[1] ?? '') as never;

  it('in paths is refused as it stands, never normalised', () =>
    eachDoor(async (door) => {
      for (const path of [
        '/v2/a/../b/manifests/1',
        '/v2/./a/manifests/1',
        '/v2//a/manifests/1',
        '//v2/a/manifests/1',
        '/v2/a/manifests/1/',
        '/v2/a%2fb/manifests/1',
        '/v2/a%2F..%2Fb/manifests/1',
        '/v2/%2e%2e/manifests/1',
        '/v2/a/%252e%252e/manifests/1',
        '/v2/a;x/manifests/1',
        '/v2/a\\b/manifests/1',
        '/v2/a%00/manifests/1',
        '/v2/a%c0%ae/manifests/1',
        '/v2/A/manifests/1',
        '/V2/a/manifests/1',
        '/v2/a/blobs/sha256:../../../etc/passwd',
        '/v2/a/blobs/sha256:ABC',
        '/v2/a/manifests/..',
        '/v2/a/manifests/.hidden',
        `/v2/a/manifests/${'t'.repeat(129)}`,
        `/v2/${'a/'.repeat(200)}b/manifests/1`,
        '/v2/a/blobs/uploads/../../x',
        '/v2/a/blobs/uploads/00000000-0000-0000-0000-000000000000',
        'http://elsewhere/v2/a/manifests/1',
        '*',
        '/metrics',
        '/healthz',
      ]) {
        const answer = await request(door, `GET ${path}`);
        expect([400, 404], `${door.name} ${path} ${answer.text}`).toContain(answer.status);
        expect(envelope(answer).errors[0]?.message, path).toBeTruthy();
      }
    }));

  it('in framing never reaches anybody as a second request', () =>
    eachDoor(async (door) => {
      const hidden = 'GET /v2/_catalog HTTP/1.1\r\nHost: x\r\n\r\n';
      const post = 'POST /v2/a/blobs/uploads/';
      for (const [what, headers, body] of [
        ['two lengths', ['Content-Length: 0', `Content-Length: ${hidden.length}`], hidden],
        ['length and chunks', [`Content-Length: ${hidden.length}`, 'Transfer-Encoding: chunked'], `0\r\n\r\n${hidden}`],
        ['chunks and length', ['Transfer-Encoding: chunked', 'Content-Length: 4'], `0\r\n\r\n${hidden}`],
        ['another coding', ['Transfer-Encoding: xchunked'], `0\r\n\r\n${hidden}`],
        ['a coding twice', ['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'], `0\r\n\r\n${hidden}`],
        ['a space before the colon', ['Content-Length : 0'], ''],
        ['a folded line', ['X-Folded: a\r\n b'], ''],
        ['a negative length', ['Content-Length: -1'], ''],
        ['a length in hex', ['Content-Length: 0x10'], 'x'.repeat(16)],
        ['a bad chunk size', ['Transfer-Encoding: chunked'], 'zz\r\nabc\r\n0\r\n\r\n'],
        ['a NUL in a header', ['X-Nul: a\0b'], ''],
      ] as const) {
        const answer = await request(door, post, [...headers], body);
        expect(answer.status, `${door.name}: ${what}: ${answer.text}`).toBe(400);
        expect(answer.text, what).not.toContain('repositories');
        expect(envelope(answer).errors, what).toHaveLength(1);
      }
      const bareLines = await raw(door, `GET /v2/ HTTP/1.1\nHost: x\nAuthorization: ${door.authorization}\n\n`);
      expect(bareLines.status === 400 || Number.isNaN(bareLines.status) || bareLines.status === 200).toBe(true);
      for (const garbage of ['\x16\x03\x01\x02\0\x01\0', 'GET\r\n\r\n', 'SSH-2.0-x\r\n', 'GET /v2/ HTTP/9.9\r\n\r\n']) {
        expect((await raw(door, garbage)).status, JSON.stringify(garbage)).toBe(400);
      }
    }));

  it('in headers is bounded', () =>
    eachDoor(async (door) => {
      const giant = await request(door, 'GET /v2/', [`X-Giant: ${'x'.repeat(100_000)}`]);
      expect([giant.status, envelope(giant).errors[0]?.code]).toEqual([431, 'SIZE_INVALID']);
      const many = await request(
        door,
        'GET /v2/',
        Array.from({ length: 5000 }, (_, index) => `X-${index}: y`),
      );
      expect(many.status).toBe(431);
    }));

  it('in methods and queries is refused with what would be right', () =>
    eachDoor(async (door) => {
      for (const [line, allowed] of [
        ['OPTIONS /v2/a/tags/list', 'GET'],
        ['HEAD /v2/a/tags/list', 'GET'],
        ['POST /v2/a/manifests/1', 'GET, HEAD, PUT, DELETE'],
        ['PUT /v2/', 'GET, HEAD'],
        ['PROPFIND /v2/a/blobs/uploads/', 'POST'],
        ['TRACE /v2/', 'GET, HEAD'],
      ] as const) {
        const answer = await request(door, line);
        expect([answer.status, /^allow: (.*)\r$/im.exec(answer.text)?.[1]], `${door.name} ${line}`).toEqual([
          405,
          allowed,
        ]);
      }
      for (const n of ['-1', 'abc', '1e3', '0x10', '%00', '1.5', ' 1']) {
        const answer = await request(door, `GET /v2/_catalog?n=${encodeURIComponent(n)}`);
        expect([answer.status, envelope(answer).errors[0]?.code], `${door.name} ${n}`).toEqual([
          400,
          'PAGINATION_NUMBER_INVALID',
        ]);
      }
      for (const n of ['10000000000', '9'.repeat(400)])
        expect((await request(door, `GET /v2/_catalog?n=${n}`)).status).toBe(200);
    }));

  it('in manifests is a 400 or a 413, never a 5xx', () =>
    eachDoor(async (door) => {
      for (const body of [
        '',
        '{',
        'null',
        '[]',
        '"x"',
        '{}',
        '\xff\xfe',
        '{"schemaVersion":2,"__proto__":{"config":1}}',
        '['.repeat(50_000),
        `{"a":${'{"a":'.repeat(20_000)}`,
      ]) {
        const answer = await request(
          door,
          'PUT /v2/a/manifests/bad',
          [`Content-Type: ${types.oci}`, `Content-Length: ${Buffer.byteLength(body, 'utf8')}`],
          body,
        );
        expect([answer.status, envelope(answer).errors[0]?.code], `${door.name} ${body.slice(0, 20)}`).toEqual([
          400,
          'MANIFEST_INVALID',
        ]);
      }
      const announced = await request(door, 'PUT /v2/a/manifests/bad', [
        `Content-Type: ${types.oci}`,
        'Content-Length: 1000000000',
      ]);
      expect(announced.status).toBe(413);
    }));

  it('that never ends does not make the services grow', () =>
    eachDoor(async (door) => {
      const before = wharfie.memory().rss;
      const chunk = `10000\r\n${'x'.repeat(65_536)}\r\n`;
      const socket = connect(door.port, door.host);
      socket.on('error', () => undefined);
      let text = '';
      socket.on('data', (data: Buffer) => (text += data.toString('latin1')));
      socket.write(
        `PUT /v2/a/manifests/endless HTTP/1.1\r\nHost: x\r\nAuthorization: ${door.authorization}\r\nTransfer-Encoding: chunked\r\n\r\n`,
      );
      for (let sent = 0; sent < 16_000 && !socket.destroyed; sent += 1) {
        await new Promise<void>((resolve) => {
          // It looks for an answer after each.
          socket.write(chunk, () => setImmediate(resolve));
        });
      }
      const refused = socket.destroyed;
      socket.destroy();
      expect(text, door.name).toMatch(/^HTTP\/1\.1 413 /);
      expect(refused, 'the connection was closed before a gigabyte had gone').toBe(true);
      expect(wharfie.memory().rss - before).toBeLessThan(60);
    }));

  it('in tokens and credentials is nobody', async () => {
    const [door, registry] = doors as [Door, Door];
    const claims = {
      iss: 'wharfie-proxy',
      aud: 'wharfie-registry',
      sub: 'admin',
      exp: Math.floor(Date.now() / 1000) + 60,
      access: [repositoryAccess('a', 'pull')],
    };
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const sign = (header: object, payload: object, key: Buffer) => {
      const text = `${encode(header)}.${encode(payload)}`;
      return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`;
    };
    const key = deriveKey(secret, 'identity');
    const good = { alg: 'HS256', typ: 'JWT' };
    const status = async (target: Door, authorization: string) =>
      (await request({ ...target, authorization }, 'GET /v2/a/tags/list')).status;
    expect(await status(registry, `Bearer ${sign(good, claims, key)}`)).toBe(200);
    const forged = [
      `${encode({ alg: 'none', typ: 'JWT' })}.${encode(claims)}.`,
      sign(good, claims, Buffer.from('another key')),
      sign(
        { ...good, jwk: { kty: 'oct', k: Buffer.from('another key').toString('base64url') } },
        claims,
        Buffer.from('another key'),
      ),
      sign(good, { ...claims, exp: 1 }, key),
      sign(good, { ...claims, aud: 'elsewhere' }, key),
      sign(good, { ...claims, access: 'all' }, key),
      sign(good, claims, deriveKey(secret, 'upload location')),
      'x'.repeat(8000),
    ];
    for (const token of forged) {
      expect(await status(registry, `Bearer ${token}`), token.slice(0, 60)).toBe(401);
      expect(await status(door, `Bearer ${token}`)).toBe(401);
    }
    // Not even a right identity opens the door: it is the proxy's to give, not a client's to bring.
    expect(await status(door, `Bearer ${sign(good, claims, key)}`)).toBe(401);
    for (const credentials of ['', ':', 'admin', 'admin:', '\0:\0', `admin:${'x'.repeat(5000)}`]) {
      expect(await status(door, `Basic ${Buffer.from(credentials).toString('base64')}`), credentials.slice(0, 20)).toBe(
        401,
      );
    }
  });

  it('that comes slowly, on many connections, does not keep others out', () =>
    eachDoor(async (door) => {
      const slow = Array.from({ length: 300 }, () => {
        const socket = connect(door.port, door.host);
        socket.on('error', () => undefined);
        socket.write('GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ');
        return socket;
      });
      await Promise.all(slow.map((socket) => once(socket, 'connect')));
      expect((await request(door, 'GET /v2/a/tags/list')).status).toBe(200);
      for (const socket of slow) socket.destroy();
    }));

  it('has not disturbed anything', async () => {
    expect((await wharfie.fetch('/v2/a/manifests/1')).status).toBe(200);
    expect((await wharfie.requests('registry')).filter(({ status }) => Number(status) >= 500)).toEqual([]);
    expect((await wharfie.requests('proxy')).filter(({ status }) => Number(status) >= 500)).toEqual([]);
  });
});
