import { once } from 'node:events';
import type { IncomingMessage, RequestListener } from 'node:http';
import { request } from 'node:http';
import { describe, expect, test, vi } from 'vitest';
import { parsePolicy } from '../src/access/policy.js';
import { ask, basic, deferred, openDoor, openPolicyText, switchProtocols, type TestDoor } from './harness.js';

/** A registry's catalog over `repositories`, in pages of at most `page`. */
function catalogOf(repositories: string[], page = 1000): RequestListener {
  return (incoming, response) => {
    const { searchParams } = new URL(incoming.url ?? '', 'http://registry');
    const n = Math.min(Number(searchParams.get('n') ?? 100), page);
    const last = searchParams.get('last') ?? '';
    const after = repositories.filter(
      (name) => last === '' || Buffer.compare(Buffer.from(name), Buffer.from(last)) > 0,
    );
    const listed = after.slice(0, n);
    if (after.length > n) response.setHeader('Link', `</v2/_catalog?n=${n}&last=${listed.at(-1) ?? ''}>; rel="next"`);
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify({ repositories: listed }));
  };
}

const numbered = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, index) => `${prefix}/${String(index).padStart(4, '0')}`);

async function list(door: TestDoor, name: string | undefined, query = '') {
  const answer = await ask(door, 'GET', `/v2/_catalog${query}`, name === undefined ? {} : basic(name));
  const { repositories } = JSON.parse(answer.body) as { repositories?: string[] };
  return { status: answer.status, repositories, link: answer.headers['link'] as string | undefined };
}

describe('the catalog', () => {
  const mixed = ['bob/own', 'other/a', 'public/x', 'team/a', 'team/b', 'team/c', 'zoo/z'];

  test('holds what the asker may pull', async () => {
    const door = await openDoor({ registry: catalogOf(mixed) });
    const team = ['team/a', 'team/b', 'team/c'];
    expect(await list(door, 'bob')).toEqual({ status: 200, repositories: ['bob/own', ...team], link: undefined });
    expect(await list(door, 'eve')).toEqual({ status: 200, repositories: team, link: undefined });
    expect(door.asked.map(({ identity }) => identity)).toEqual(
      ['bob', 'eve'].map((subject) => ({ subject, access: [{ type: 'registry', name: 'catalog', actions: ['*'] }] })),
    );
  });

  test('is a 502 when the registry says nothing', async () => {
    const door = await openDoor({ registry: () => undefined, idle: 100 });
    expect((await list(door, 'bob')).status).toBe(502);
  });

  test('is a 502 when the registry switches protocols, each time', async () => {
    const door = await openDoor({ registry: switchProtocols });
    for (const _ of [1, 2]) expect((await list(door, 'bob')).status).toBe(502);
  });

  test('is handed on as it is for who may pull everything', async () => {
    const door = await openDoor({ registry: catalogOf(mixed) });
    expect(await list(door, 'admin', '?n=2&last=other')).toEqual({
      status: 200,
      repositories: ['other/a', 'public/x'],
      link: '</v2/_catalog?n=2&last=public/x>; rel="next"',
    });
    expect(door.asked.map(({ url }) => url)).toEqual(['/v2/_catalog?n=2&last=other']);
  });

  test('needs an account, but where something is open it holds that for everybody', async () => {
    const registry = catalogOf(mixed);
    expect((await list(await openDoor({ registry }), undefined)).status).toBe(401);
    const door = await openDoor({ registry, policy: openPolicyText });
    expect(await list(door, undefined)).toEqual({ status: 200, repositories: ['public/x'], link: undefined });
  });

  test('has a link to a next page exactly when the asker may pull something there', async () => {
    const door = await openDoor({ registry: catalogOf(mixed) });
    expect(await list(door, 'eve', '?n=2')).toEqual({
      status: 200,
      repositories: ['team/a', 'team/b'],
      link: '</v2/_catalog?n=2&last=team%2Fb>; rel="next"',
    });
    expect(await list(door, 'eve', '?n=2&last=team%2Fb')).toMatchObject({ repositories: ['team/c'], link: undefined });
    expect(await list(door, 'eve', '?n=3')).toMatchObject({ link: undefined });
  });

  test('has empty pages', async () => {
    const door = await openDoor({ registry: catalogOf(mixed) });
    expect(await list(door, 'eve', '?n=0')).toEqual({ status: 200, repositories: [], link: undefined });
    expect(door.asked).toEqual([]);
    expect(await list(door, 'eve', '?last=zoo/zz')).toEqual({ status: 200, repositories: [], link: undefined });
    const empty = await openDoor({ registry: catalogOf([]) });
    expect(await list(empty, 'eve')).toEqual({ status: 200, repositories: [], link: undefined });
  });

  test('looks through as many pages of the registry as it takes', async () => {
    const registry = catalogOf([...numbered('other', 2500), ...numbered('team', 3)]);
    const door = await openDoor({ registry });
    expect(await list(door, 'eve', '?n=2')).toMatchObject({
      repositories: ['team/0000', 'team/0001'],
      link: '</v2/_catalog?n=2&last=team%2F0001>; rel="next"',
    });
    expect(door.asked.map(({ url }) => url)).toEqual([
      '/v2/_catalog?n=1000',
      '/v2/_catalog?n=1000&last=other%2F0999',
      '/v2/_catalog?n=1000&last=other%2F1999',
    ]);
  });

  test('gives 100 names when no number is asked for, and 1000 at most', async () => {
    const door = await openDoor({ registry: catalogOf(numbered('team', 1200)) });
    const first = await list(door, 'eve');
    expect(first.repositories).toHaveLength(100);
    expect(first.link).toBe('</v2/_catalog?n=100&last=team%2F0099>; rel="next"');
    const most = await list(door, 'eve', '?n=99999999999');
    expect(most.repositories).toHaveLength(1000);
    expect(most.link).toBe('</v2/_catalog?n=1000&last=team%2F0999>; rel="next"');
  });

  test('walks through every name once, wherever the pages of the registry end', async () => {
    const names = [...numbered('other', 7), ...numbered('team', 11), ...numbered('team-b', 3)].sort();
    const door = await openDoor({ registry: catalogOf(names, 4) });
    const walked: string[] = [];
    for (let target: string | undefined = '?n=3'; target !== undefined;) {
      const { repositories = [], link } = await list(door, 'eve', target);
      walked.push(...repositories);
      target = /<\/v2\/_catalog(\?[^>]*)>/.exec(link ?? '')?.[1];
    }
    expect(walked).toEqual(numbered('team', 11));
  });

  test.each(['-1', 'abc', '1.5', ''])('refuses n=%s', async (n) => {
    const door = await openDoor({ registry: catalogOf(mixed) });
    const answer = await ask(door, 'GET', `/v2/_catalog?n=${n}`, basic('eve'));
    expect(answer).toMatchObject({ status: 400, error: { code: 'PAGINATION_NUMBER_INVALID' } });
  });

  test('asks the registry no further when the client has left', async () => {
    const asked = deferred<IncomingMessage>();
    const door = await openDoor({ registry: asked.resolve });
    const sent = request({ port: door.port, path: '/v2/_catalog', headers: basic('eve'), agent: false });
    sent.on('error', () => undefined).end();
    const incoming = await asked.promise;
    sent.destroy();
    await once(incoming.socket, 'close');
    expect(door.asked).toHaveLength(1);
  });

  test.each([
    ['fails', (_: unknown, response: Parameters<RequestListener>[1]) => response.writeHead(500).end('{}')],
    ['answers nonsense', (_: unknown, response: Parameters<RequestListener>[1]) => response.end('nonsense')],
    ['lists nothing', (_: unknown, response: Parameters<RequestListener>[1]) => response.end('{"repositories":null}')],
    ['lists no names', (_: unknown, response: Parameters<RequestListener>[1]) => response.end('{"repositories":[7]}')],
    ['breaks off', (incoming: IncomingMessage) => incoming.socket.destroy()],
  ])('is a 502 when the registry %s', async (_, registry) => {
    const door = await openDoor({ registry });
    const answer = await ask(door, 'GET', '/v2/_catalog', basic('eve'));
    expect(answer).toMatchObject({ status: 502, error: { code: 'UNAVAILABLE' } });
  });

  test('takes turns where it is filtered for the same asker', async () => {
    const waiting: Parameters<RequestListener>[1][] = [];
    const door = await openDoor({ registry: (_, response) => waiting.push(response) });
    const [first, second, other] = [list(door, 'eve'), list(door, 'eve'), list(door, 'bob')];
    await vi.waitFor(() => {
      expect(waiting).toHaveLength(2);
    });
    // Whatever else would be asked for has had the time.
    await new Promise((resolve) => setTimeout(resolve, 50));
    for (const response of waiting.splice(0)) response.end('{"repositories":[]}');
    expect((await Promise.all([other, Promise.race([first, second])])).map(({ status }) => status)).toEqual([200, 200]);
    await vi.waitFor(() => {
      expect(waiting).toHaveLength(1);
    });
    waiting[0]?.end('{"repositories":[]}');
    expect((await Promise.all([first, second])).map(({ status }) => status)).toEqual([200, 200]);
  });

  test('is filtered by the policy that is in force when its turn has come', async () => {
    const waiting: Parameters<RequestListener>[1][] = [];
    const door = await openDoor({ registry: (_, response) => waiting.push(response) });
    const lists = [list(door, 'eve'), list(door, 'eve')];
    await vi.waitFor(() => {
      expect(waiting).toHaveLength(1);
    });
    door.policy.current = parsePolicy('admins: [admin]');
    for (let turn = 0; turn < lists.length; turn += 1) {
      await vi.waitFor(() => {
        expect(waiting).toHaveLength(1);
      });
      waiting.pop()?.end('{"repositories":["team/a"]}');
    }
    for (const { repositories } of await Promise.all(lists)) expect(repositories).toEqual([]);
  });

  test('is refused for the reason that the registry gives', async () => {
    const message = 'the storage of this registry does not answer; try again later';
    const away = await openDoor({
      registry: (_, response) => response.writeHead(503).end(JSON.stringify({ errors: [{ message }] })),
    });
    const unavailable = await ask(away, 'GET', '/v2/_catalog', basic('eve'));
    expect(unavailable).toMatchObject({
      status: 503,
      error: { code: 'UNAVAILABLE', message: expect.stringContaining(message) as string },
    });
    expect(unavailable.headers['retry-after']).toBe('5');
    const wordless = await openDoor({ registry: (_, response) => response.writeHead(503).end('busy') });
    expect(await ask(wordless, 'GET', '/v2/_catalog', basic('eve'))).toMatchObject({ status: 503 });
    const otherSecret = await openDoor({ registry: (_, response) => response.writeHead(401).end('{}') });
    const refused = await ask(otherSecret, 'GET', '/v2/_catalog', basic('eve'));
    expect(refused).toMatchObject({ status: 502, error: { message: expect.stringContaining('secret') as string } });
  });
});
