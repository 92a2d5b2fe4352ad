import { once } from 'node:events';
import { request, type ClientRequest, type RequestListener, type ServerResponse } from 'node:http';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import {
  ask,
  basic,
  deadPort,
  dial,
  openDoor,
  openPolicyText,
  upstreamAt,
  type Answer,
  type TestDoor,
} from './harness.js';

const manifest = '/v2/team/app/manifests/1';
const bob = basic('bob');
const ofImage = { ...bob, Accept: 'application/vnd.oci.image.manifest.v1+json' };
const mostShared = 64 * 1024;
const patience = 1000;

interface QuietDoor extends TestDoor {
  /** The registry's answer to its next request, which the test gives. */
  next: () => Promise<ServerResponse>;
}

/**
 * A door that knows the passwords already, with a registry that answers when the test does. Its timers stand still, so that
 * nothing is sent because somebody has waited for long.
 */
async function openQuietDoor(): Promise<QuietDoor> {
  const held: ServerResponse[] = [];
  let arrived: () => void = () => undefined;
  const registry: RequestListener = (_, response) => {
    held.push(response);
    arrived();
  };
  const next = async (): Promise<ServerResponse> => {
    for (;;) {
      const response = held.shift();
      if (response) return response;
      await new Promise<void>((resolve) => (arrived = resolve));
    }
  };
  const door = await openDoor({ registry, policy: openPolicyText });
  for (const name of ['bob', 'eve', 'admin']) {
    const known = ask(door, 'GET', '/v2/', basic(name));
    give(await next(), '{}');
    await known;
  }
  door.asked.length = 0;
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  return { ...door, next };
}

type Begin<Begun> = (() => Begun)[];

function times<Begun>(count: number, start: () => Begun): Begin<Begun> {
  return Array.from({ length: count }, () => start);
}

/** Begins requests, and resolves once each has reached its registry or waits at the door. */
async function begin<Begun>(door: TestDoor, requests: Begin<Begun>): Promise<Begun[]> {
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

/** Begins one request `count` times. */
function beginSame(
  door: TestDoor,
  count: number,
  method = 'GET',
  path = manifest,
  headers: Record<string, string> = ofImage,
): Promise<Promise<Answer>[]> {
  return begin(
    door,
    times(count, () => ask(door, method, path, headers)),
  );
}

/** A request whose answer nobody looks at. */
function send({ port }: TestDoor): ClientRequest {
  const options = { host: '127.0.0.1', port, path: manifest, headers: ofImage, agent: false as const };
  return request(options)
    .on('error', () => undefined)
    .end();
}

/** A request for a manifest whose answer is not read. */
function sendOnly(door: TestDoor): void {
  dial(door).write(
    `GET ${manifest} HTTP/1.1\r\nHost: x\r\nAccept: ${ofImage.Accept}\r\nAuthorization: ${bob.Authorization}\r\n\r\n`,
  );
}

function give(response: ServerResponse, body: string, headers = {}): void {
  response.writeHead(200, { 'Content-Length': body.length, 'Docker-Content-Digest': 'sha256:1', ...headers });
  response.end(body);
}

const bodies = async (answers: Promise<Answer>[]) => (await Promise.all(answers)).map(({ body }) => body);

/** Has requests wait behind one that is answered then; `response` is what the registry gives for all of them. */
async function openHerd<Begun>(requests: (door: TestDoor) => Begin<Begun>) {
  const door = await openQuietDoor();
  const first = await beginSame(door, 1);
  const before = await door.next();
  const waiting = await begin(door, requests(door));
  expect(door.asked).toHaveLength(1);
  give(before, 'before');
  expect(await bodies(first)).toEqual(['before']);
  return { door, waiting, response: await door.next() };
}

const bobs = (count: number) => (door: TestDoor) => times(count, () => ask(door, 'GET', manifest, ofImage));

describe('requests for one manifest at the same time', () => {
  test('are one for the registry, and each gets its whole answer', async () => {
    const { door, waiting, response } = await openHerd(bobs(5));
    give(response, 'after', { 'Content-Type': 'text/plain' });
    const answers = await Promise.all(waiting);
    for (const { status, body, headers } of answers) {
      expect({ status, body }).toEqual({ status: 200, body: 'after' });
      expect(headers).toMatchObject({ 'docker-content-digest': 'sha256:1', 'content-type': 'text/plain' });
    }
    expect(new Set(answers.map(({ headers }) => headers['x-request-id'])).size).toBe(5);
    expect(door.asked).toHaveLength(2);
    const lines = door.log.filter(({ bytesOut }) => bytesOut === 'after'.length);
    expect(lines).toHaveLength(5);
    expect(lines[0]).toMatchObject({ user: 'bob', kind: 'manifest', status: 200 });
  });

  test('never get an answer that was asked for before they came', async () => {
    const { door, waiting, response } = await openHerd(bobs(2));
    const late = await beginSame(door, 2);
    give(response, 'old');
    expect(await bodies(waiting)).toEqual(['old', 'old']);
    give(await door.next(), 'new');
    expect(await bodies(late)).toEqual(['new', 'new']);
    expect(door.asked).toHaveLength(3);
  });

  test('have no body when it is the head that was asked for', async () => {
    const door = await openQuietDoor();
    const first = await beginSame(door, 1, 'HEAD');
    const before = await door.next();
    const waiting = await beginSame(door, 2, 'HEAD');
    give(before, 'the manifest');
    await Promise.all(first);
    give(await door.next(), 'the manifest');
    for (const { status, headers, body } of await Promise.all(waiting)) {
      expect({ status, length: headers['content-length'], body }).toEqual({ status: 200, length: '12', body: '' });
    }
    expect(door.asked).toHaveLength(2);
  });

  test.each<[string, string, string, Record<string, string>]>([
    ['another method', 'HEAD', manifest, ofImage],
    ['another tag', 'GET', '/v2/team/app/manifests/2', ofImage],
    ['another repository', 'GET', '/v2/team/other/manifests/1', ofImage],
    ['another query', 'GET', `${manifest}?ns=docker.io`, ofImage],
    ['another media type', 'GET', manifest, { ...bob, Accept: 'application/json' }],
    ['no media type', 'GET', manifest, bob],
    ...['If-Match', 'If-None-Match', 'If-Modified-Since', 'If-Unmodified-Since', 'If-Range', 'Range'].map(
      (name): [string, string, string, Record<string, string>] => [name, 'GET', manifest, { ...ofImage, [name]: 'x' }],
    ),
  ])('do not wait for one with %s', async (_, method, path, headers) => {
    const door = await openQuietDoor();
    const first = await beginSame(door, 1);
    const held = await door.next();
    const other = await beginSame(door, 1, method, path, headers);
    give(await door.next(), method === 'HEAD' ? '' : 'other');
    expect(await Promise.all(other)).toMatchObject([{ status: 200 }]);
    give(held, 'first');
    expect(await bodies(first)).toEqual(['first']);
  });

  test.each([
    ['PUT', manifest],
    ['DELETE', manifest],
    ['GET', `/v2/team/app/blobs/sha256:${'a'.repeat(64)}`],
    ['GET', '/v2/team/app/tags/list'],
  ])('are waited for, but not those with %s %s', async (method, path) => {
    const door = await openQuietDoor();
    const both = await beginSame(door, 2, method, path, basic('admin'));
    const responses = [await door.next(), await door.next()];
    for (const response of responses) give(response, 'its own');
    expect(await bodies(both)).toEqual(['its own', 'its own']);
  });

  test('of several accounts are one, and who may not pull is refused while they wait', async () => {
    const path = '/v2/bob/app/manifests/1';
    const door = await openQuietDoor();
    const first = await beginSame(door, 1, 'GET', path);
    const before = await door.next();
    const waiting = await begin(
      door,
      ['bob', 'admin'].map((name) => () => ask(door, 'GET', path, { ...ofImage, ...basic(name) })),
    );
    expect(await ask(door, 'GET', path, { ...ofImage, ...basic('eve') })).toMatchObject({ status: 403 });
    expect(await ask(door, 'GET', path, { Accept: ofImage.Accept })).toMatchObject({ status: 401 });
    give(before, 'before');
    await Promise.all(first);
    give(await door.next(), 'after');
    expect(await bodies(waiting)).toEqual(['after', 'after']);
    expect(door.asked.map(({ identity }) => identity?.subject)).toEqual(['bob', 'bob']);
  });

  test.each([
    ['is an error', 404, { 'Content-Length': 5 }],
    ['is a part', 206, { 'Content-Length': 5 }],
    ['has no length', 200, undefined],
    ['is long', 200, { 'Content-Length': mostShared + 1 }],
  ])('ask for themselves when the answer %s', async (_, status, headers) => {
    const { door, waiting, response } = await openHerd(bobs(3));
    response.writeHead(status, headers).end('x'.repeat(headers?.['Content-Length'] ?? 5));
    give(await door.next(), 'own');
    give(await door.next(), 'own');
    const answers = await Promise.all(waiting);
    expect(answers.filter(({ body }) => body === 'own')).toHaveLength(2);
    expect(answers.filter((answer) => answer.status === status && answer.body !== 'own')).toHaveLength(1);
    expect(door.asked).toHaveLength(4);
  });

  test('ask for themselves when the registry breaks off the answer, which is a 502 for one', async () => {
    const { door, waiting, response } = await openHerd(bobs(3));
    response.writeHead(200, { 'Content-Length': 10 }).write('half');
    setImmediate(() => response.socket?.destroy());
    give(await door.next(), 'own');
    give(await door.next(), 'own');
    expect((await Promise.all(waiting)).map(({ status }) => status).sort()).toEqual([200, 200, 502]);
    expect(door.log.filter(({ msg }) => msg === 'the registry broke off an answer')).toHaveLength(1);
  });

  test('ask for themselves when the one whose request it was leaves', async () => {
    const door = await openQuietDoor();
    const first = await beginSame(door, 1);
    const before = await door.next();
    const [leaving] = await begin(door, [() => send(door)]);
    const waiting = await beginSame(door, 2);
    give(before, 'before');
    await Promise.all(first);
    const response = await door.next();
    response.writeHead(200, { 'Content-Length': 10 }).write('half');
    leaving?.destroy();
    await once(response, 'close');
    give(await door.next(), 'own');
    give(await door.next(), 'own');
    expect(await bodies(waiting)).toEqual(['own', 'own']);
    expect(door.log.filter(({ msg }) => msg !== 'request')).toEqual([]);
  });

  test('are not sent for those who left while they waited', async () => {
    const door = await openQuietDoor();
    const first = await beginSame(door, 1);
    const before = await door.next();
    await leave(
      door,
      await begin(
        door,
        times(2, () => send(door)),
      ),
    );
    give(before, 'before');
    await Promise.all(first);
    const last = await beginSame(door, 1);
    give(await door.next(), 'last');
    expect(await bodies(last)).toEqual(['last']);
    expect(door.asked).toHaveLength(2);
  });

  test.each([
    ['can be shared', 200, 0],
    ['cannot', 404, 1],
  ])('reach those who stayed when the answer %s', async (_, status, more) => {
    const { door, waiting, response } = await openHerd((door) => times(3, () => send(door)));
    const [first, leaving, last] = waiting;
    const answers = [first, last].map((sent) => once(sent as ClientRequest, 'response'));
    await leave(door, [leaving as ClientRequest]);
    response.writeHead(status, { 'Content-Length': 0 }).end();
    if (more > 0) give(await door.next(), 'own');
    await Promise.all(answers);
    expect(door.asked).toHaveLength(2 + more);
  });

  test.each([
    ['one whose answer several get', 1, mostShared],
    // More than the buffers of the connection take.
    ['one that asked alone', 0, 32 * 1024 * 1024],
  ])('are not held up by a client that does not read: %s', async (_, others, length) => {
    const { door, waiting, response } = await openHerd((door) => [
      () => {
        sendOnly(door);
        return undefined;
      },
      ...bobs(others)(door),
    ]);
    const late = await beginSame(door, 1);
    give(response, 'x'.repeat(length));
    for (const answer of waiting) if (answer) expect((await answer).body).toHaveLength(length);
    give(await door.next(), 'late');
    expect(await bodies(late)).toEqual(['late']);
  });

  test('wait for the registry that takes the request when another one does not', async () => {
    const door = await openQuietDoor();
    const [working] = door.upstreams.all;
    // Asked first, and not known to be gone.
    (door.upstreams.all as unknown[]).push(upstreamAt(await deadPort()), working);
    const first = await beginSame(door, 1);
    const before = await door.next();
    const waiting = await beginSame(door, 3);
    give(before, 'before');
    await Promise.all(first);
    give(await door.next(), 'after');
    expect(await bodies(waiting)).toEqual(['after', 'after', 'after']);
    expect(door.asked).toHaveLength(2);
  });

  test('do not wait for a silent registry for long', async () => {
    const { door, waiting, response } = await openHerd(bobs(2));
    const late = await beginSame(door, 2);
    vi.advanceTimersByTime(patience - 1);
    await turn();
    expect(door.asked).toHaveLength(2);
    vi.advanceTimersByTime(1);
    for (let count = 0; count < 3; count += 1) give(await door.next(), 'own');
    expect(await bodies(late)).toEqual(['own', 'own']);
    expect(await Promise.race(waiting)).toMatchObject({ body: 'own' });
    const later = await beginSame(door, 1);
    give(await door.next(), 'later');
    expect(await bodies(later)).toEqual(['later']);
    give(response, 'at last');
    expect((await bodies(waiting)).sort()).toEqual(['at last', 'own']);
  });

  test('leave no timer behind', async () => {
    const door = await openQuietDoor();
    const round = async () => {
      const asked = await beginSame(door, 3);
      give(await door.next(), 'first');
      give(await door.next(), 'second');
      await Promise.all(asked);
      return vi.getTimerCount();
    };
    // Agents and the like have timers of their own.
    expect(await round()).toBe(await round());
  });
});

/** Has clients leave, and waits until the door knows. */
async function leave(door: TestDoor, clients: ClientRequest[]): Promise<void> {
  const before = broken(door);
  for (const sent of clients) sent.destroy();
  await expect.poll(() => broken(door)).toBe(before + clients.length);
}

function broken({ log }: TestDoor): number {
  return log.filter((line) => line['broken']).length;
}
