import { once } from 'node:events';
import {
  request,
  type ClientRequest,
  type OutgoingHttpHeaders,
  type RequestListener,
  type ServerResponse,
} from 'node:http';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { ask, basic, dial, openDoor, openPolicyText, type Answer, type TestDoor } from './harness.js';

const manifest = '/v2/team/app/manifests/1';
const bob = basic('bob');
const mebibyte = 1024 * 1024;
const ofImage = { ...bob, Accept: 'application/vnd.oci.image.manifest.v1+json' };

interface QuietDoor extends TestDoor {
  /** The registry's answer to the next request for a manifest, which the test gives. */
  next: () => Promise<ServerResponse>;
  /** How many requests for manifests reached the registry. */
  askedFor: () => number;
}

/** A door that knows bob's password already, with a registry that answers for manifests when the test does. */
async function openQuietDoor(): Promise<QuietDoor> {
  const held: ServerResponse[] = [];
  let arrived: () => void = () => undefined;
  const registry: RequestListener = ({ url }, response) => {
    if (url?.includes('/manifests/')) held.push(response);
    else response.end('{}');
    arrived();
  };
  const door = await openDoor({ registry, policy: openPolicyText });
  await ask(door, 'GET', '/v2/', bob);
  const next = async (): Promise<ServerResponse> => {
    for (;;) {
      const response = held.shift();
      if (response) return response;
      await new Promise<void>((resolve) => (arrived = resolve));
    }
  };
  const askedFor = () => door.asked.filter(({ url }) => url?.includes('/manifests/')).length;
  return { ...door, next, askedFor };
}

/** Begins requests, and resolves once each has reached its registry or waits at the door. */
async function begin<Begun>(door: TestDoor, requests: (() => Begun)[]): Promise<Begun[]> {
  let missing = requests.length;
  const read = new Promise<void>((resolve) => {
    const count = () => {
      if (--missing > 0) return;
      door.server.off('request', count);
      resolve();
    };
    door.server.on('request', count);
  });
  const begun = requests.map((start) => start());
  await read;
  // A password that is known takes promises alone.
  await turn();
  return begun;
}

function beginAll(door: TestDoor, count: number, method = 'GET'): Promise<Promise<Answer>[]> {
  return begin(door, Array(count).fill(() => ask(door, method, manifest, ofImage)) as (() => Promise<Answer>)[]);
}

/** A request whose answer nobody looks at. */
function send({ port }: TestDoor): ClientRequest {
  const options = { host: '127.0.0.1', port, path: manifest, headers: ofImage, agent: false as const };
  return request(options)
    .on('error', () => undefined)
    .end();
}

function give(response: ServerResponse, body: string, headers = {}): void {
  response.writeHead(200, { 'Content-Length': body.length, 'Docker-Content-Digest': 'sha256:1', ...headers });
  response.end(body);
}

/** Has `count` requests wait behind one that is answered, and takes what the registry gets for them. */
async function openHerd(count: number) {
  const door = await openQuietDoor();
  const [first] = await beginAll(door, 1);
  const before = await door.next();
  const waiting = await beginAll(door, count);
  expect(door.askedFor()).toBe(1);
  give(before, 'before');
  expect((await first)?.body).toBe('before');
  return { door, waiting, response: await door.next() };
}

describe('requests for one manifest at the same time', () => {
  test('are one for the registry, and each gets its whole answer', async () => {
    const { door, waiting, response } = await openHerd(5);
    give(response, 'after', { 'Content-Type': 'text/plain' });
    const answers = await Promise.all(waiting);
    for (const { status, body, headers } of answers) {
      expect({ status, body }).toEqual({ status: 200, body: 'after' });
      expect(headers).toMatchObject({ 'docker-content-digest': 'sha256:1', 'content-type': 'text/plain' });
    }
    expect(new Set(answers.map(({ headers }) => headers['x-request-id'])).size).toBe(5);
    expect(door.askedFor()).toBe(2);
    const lines = door.log.filter(({ bytesOut }) => bytesOut === 'after'.length);
    expect(lines).toHaveLength(5);
    expect(lines[0]).toMatchObject({ user: 'bob', kind: 'manifest', status: 200 });
  });

  test('never get an answer that was asked for before they came', async () => {
    const { door, waiting, response } = await openHerd(2);
    const late = await beginAll(door, 2);
    give(response, 'old');
    expect((await Promise.all(waiting)).map(({ body }) => body)).toEqual(['old', 'old']);
    give(await door.next(), 'new');
    expect((await Promise.all(late)).map(({ body }) => body)).toEqual(['new', 'new']);
    expect(door.askedFor()).toBe(3);
  });

  test('have no body when it is the head that was asked for', async () => {
    const door = await openQuietDoor();
    const [first] = await beginAll(door, 1, 'HEAD');
    const before = await door.next();
    const waiting = await beginAll(door, 2, 'HEAD');
    give(before, 'the manifest');
    await first;
    give(await door.next(), 'the manifest');
    for (const { status, headers, body } of await Promise.all(waiting)) {
      expect({ status, length: headers['content-length'], body }).toEqual({ status: 200, length: '12', body: '' });
    }
  });

  test.each([
    ['another method', 'HEAD', manifest, ofImage],
    ['another tag', 'GET', '/v2/team/app/manifests/2', ofImage],
    ['another repository', 'GET', '/v2/team/other/manifests/1', ofImage],
    ['another media type', 'GET', manifest, { ...bob, Accept: 'application/json' }],
    ['no media type', 'GET', manifest, bob],
    ['a condition', 'GET', manifest, { ...ofImage, 'If-None-Match': '"sha256:1"' }],
    ['a range', 'GET', manifest, { ...ofImage, Range: 'bytes=0-1' }],
    ['an empty condition', 'GET', manifest, { ...ofImage, 'If-None-Match': '' }],
  ])('do not wait for one with %s', async (_, method, path, headers) => {
    const door = await openQuietDoor();
    const [first] = await beginAll(door, 1);
    const held = await door.next();
    const [other] = await begin(door, [() => ask(door, method, path, headers)]);
    give(await door.next(), method === 'HEAD' ? '' : 'other');
    expect(await other).toMatchObject({ status: 200 });
    give(held, 'first');
    expect((await first)?.body).toBe('first');
  });

  test('are allowed one by one', async () => {
    const { door, waiting, response } = await openHerd(1);
    expect(await ask(door, 'GET', manifest)).toMatchObject({ status: 401 });
    expect(await ask(door, 'GET', manifest, basic('bob', 'wrong'))).toMatchObject({ status: 401 });
    give(response, 'after');
    expect(await waiting[0]).toMatchObject({ status: 200 });
    expect(door.askedFor()).toBe(2);
  });

  test.each([
    ['is an error', 404, { 'Content-Length': 5 }],
    ['has no length', 200, {}],
    ['is longer than a manifest may be', 200, { 'Content-Length': 4 * mebibyte + 1 }],
  ])('ask for themselves when the answer %s', async (_, status, headers: OutgoingHttpHeaders) => {
    const { door, waiting, response } = await openHerd(3);
    response.writeHead(status, headers).end('x'.repeat(Number(headers['Content-Length'] ?? 5)));
    give(await door.next(), 'own');
    give(await door.next(), 'own');
    const answers = await Promise.all(waiting);
    expect(answers.filter(({ body }) => body === 'own')).toHaveLength(2);
    expect(answers.filter((answer) => answer.status === status && answer.body !== 'own')).toHaveLength(1);
    expect(door.askedFor()).toBe(4);
  });

  test('ask for themselves when the registry breaks off the answer, which is a 502 for one', async () => {
    const { door, waiting, response } = await openHerd(3);
    response.writeHead(200, { 'Content-Length': 10 }).write('half');
    setImmediate(() => response.socket?.destroy());
    give(await door.next(), 'own');
    give(await door.next(), 'own');
    const answers = await Promise.all(waiting);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 502]);
  });

  test('ask for themselves when the one whose request it was leaves', async () => {
    const door = await openQuietDoor();
    const [first] = await beginAll(door, 1);
    const before = await door.next();
    const [leaving] = await begin(door, [() => send(door)]);
    const waiting = await beginAll(door, 2);
    give(before, 'before');
    await first;
    const response = await door.next();
    response.writeHead(200, { 'Content-Length': 10 }).write('half');
    leaving?.destroy();
    await once(response, 'close');
    give(await door.next(), 'own');
    give(await door.next(), 'own');
    expect((await Promise.all(waiting)).map(({ body }) => body)).toEqual(['own', 'own']);
    expect(door.log.filter(({ level }) => level === 'error')).toEqual([]);
  });

  test('are not sent for those who left while they waited', async () => {
    const door = await openQuietDoor();
    const [first] = await beginAll(door, 1);
    const before = await door.next();
    const leaving = await begin(door, [() => send(door), () => send(door)]);
    const over = expect.poll(() => door.log.filter(({ broken }) => broken).length);
    for (const sent of leaving) sent.destroy();
    await over.toBe(2);
    give(before, 'before');
    await first;
    const [last] = await beginAll(door, 1);
    give(await door.next(), 'last');
    expect((await last)?.body).toBe('last');
    expect(door.askedFor()).toBe(2);
  });

  test('are not held up by a client that does not read', async () => {
    const door = await openQuietDoor();
    const [first] = await beginAll(door, 1);
    const before = await door.next();
    const head = `GET ${manifest} HTTP/1.1\r\nHost: x\r\nAccept: ${ofImage.Accept}\r\n`;
    await begin(door, [() => dial(door).write(`${head}Authorization: ${bob.Authorization}\r\n\r\n`)]);
    const waiting = await beginAll(door, 1);
    give(before, 'before');
    await first;
    give(await door.next(), 'x'.repeat(4 * mebibyte));
    expect((await waiting[0])?.body).toHaveLength(4 * mebibyte);
    const [last] = await beginAll(door, 1);
    give(await door.next(), 'last');
    expect((await last)?.body).toBe('last');
  });

  test('do not wait for a silent registry for long', async () => {
    const door = await openQuietDoor();
    const first = await beginAll(door, 1);
    const silent = await door.next();
    const waiting = await beginAll(door, 2);
    const alsoSilent = await door.next();
    const late = await beginAll(door, 1);
    const own = await door.next();
    give(own, 'own');
    give(await door.next(), 'late');
    expect((await Promise.race(waiting)).body).toBe('own');
    expect((await late[0])?.body).toBe('late');
    give(silent, 'silent');
    give(alsoSilent, 'silent, too');
    expect((await first[0])?.body).toBe('silent');
    expect((await waiting[0])?.body).toBe('silent, too');
  });
});
