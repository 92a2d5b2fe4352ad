import { everything } from '@wharfie/shared';
import { describe, expect, test } from 'vitest';
import { parseHtpasswd } from '../src/htpasswd/file.js';
import { hashPassword } from '../src/htpasswd/password.js';
import { ask, basic, openDoor, openPolicyText, passwordOf } from './harness.js';

const digest = `sha256:${'a'.repeat(64)}`;
const challenge = 'Basic realm="Wharfie", charset="UTF-8"';
const defaultTexts = ['authentication required', 'requested access to the resource is denied'];

describe('who is it', () => {
  test.each([
    ['GET', '/v2/'],
    ['HEAD', '/v2/'],
    ['GET', '/v2'],
    ['GET', '/v2/_catalog'],
    ['GET', '/v2/team/app/manifests/1'],
    ['PUT', '/v2/team/app/manifests/1'],
    ['POST', '/v2/team/app/blobs/uploads/'],
    ['DELETE', `/v2/team/app/blobs/${digest}`],
  ])('asks for credentials: %s %s', async (method, path) => {
    const door = await openDoor();
    const { status, headers, error } = await ask(door, method, path);
    expect(status).toBe(401);
    expect(headers['www-authenticate']).toBe(challenge);
    if (method !== 'HEAD') {
      expect(error?.code).toBe('UNAUTHORIZED');
      expect(defaultTexts).not.toContain(error?.message);
    }
    expect(door.asked).toEqual([]);
  });

  test('takes an empty name with an empty password for nobody', async () => {
    const door = await openDoor({ policy: openPolicyText });
    const nobody = { Authorization: 'Basic Og==' };
    expect(await ask(door, 'GET', '/v2/', nobody)).toMatchObject({ status: 401 });
    expect(await ask(door, 'GET', '/v2/public/app/manifests/1', nobody)).toMatchObject({ status: 200 });
  });

  test('never takes one password that is not UTF-8 for another', async () => {
    const door = await openDoor();
    // What Node makes of any byte that is not UTF-8.
    door.accounts.current = parseHtpasswd(`bob:${await hashPassword('p\uFFFDss', 4)}\n`);
    for (const credentials of ['bob:p\xe4ss', 'bob:p\xf6ss']) {
      const headers = { Authorization: `Basic ${Buffer.from(credentials, 'latin1').toString('base64')}` };
      expect(await ask(door, 'GET', '/v2/', headers)).toMatchObject({ status: 401 });
    }
  });

  test.each([
    ['a wrong password', basic('bob', 'wrong')],
    ['an unknown name', basic('nobody', 'wrong')],
    ['an empty password', basic('bob', '')],
    ['another scheme', { Authorization: 'Bearer abc' }],
    ['no base64', { Authorization: 'Basic %%%' }],
    ['no colon', { Authorization: `Basic ${Buffer.from('bob').toString('base64')}` }],
  ])('refuses %s, also where nobody needs an account', async (_, headers) => {
    const door = await openDoor({ policy: openPolicyText });
    const answer = await ask(door, 'GET', '/v2/public/app/manifests/1', headers);
    expect(answer).toMatchObject({ status: 401, error: { code: 'UNAUTHORIZED' } });
    expect(answer.headers['www-authenticate']).toMatch(/^Bearer /);
    expect(defaultTexts).not.toContain(answer.error?.message);
    expect(door.asked).toEqual([]);
  });

  test('lets an account see the version, with a token that allows nothing', async () => {
    const door = await openDoor();
    expect(await ask(door, 'GET', '/v2/', basic('eve'))).toMatchObject({ status: 200, body: '{}' });
    expect(door.asked).toMatchObject([{ method: 'GET', url: '/v2/', identity: { subject: 'eve', access: [] } }]);
  });

  test('never lets the version be seen without an account, even where something is open', async () => {
    const door = await openDoor({ policy: openPolicyText });
    expect((await ask(door, 'GET', '/v2/')).status).toBe(401);
  });
});

describe('may they', () => {
  test.each([
    ['GET', '/v2/team/app/manifests/1', 'pull'],
    ['HEAD', `/v2/team/app/blobs/${digest}`, 'pull'],
    ['GET', '/v2/team/app/tags/list?n=5', 'pull'],
    ['GET', `/v2/team/app/referrers/${digest}`, 'pull'],
    ['PUT', '/v2/team/app/manifests/1', 'push'],
    ['POST', '/v2/team/app/blobs/uploads/', 'push'],
    ['DELETE', '/v2/team/app/blobs/uploads/01234567-0123-4123-8123-0123456789ab', 'push'],
  ])('signs exactly what %s %s needs', async (method, path, action) => {
    const door = await openDoor();
    expect((await ask(door, method, path, basic('bob'))).status).toBe(200);
    expect(door.asked).toHaveLength(1);
    expect(door.asked[0]).toMatchObject({ method, url: path });
    expect(door.asked[0]?.identity).toEqual({
      subject: 'bob',
      access: [{ type: 'repository', name: 'team/app', actions: [action] }],
    });
  });

  test.each([
    [
      'eve',
      'PUT',
      '/v2/team/app/manifests/1',
      /^eve may not push to team\/app: that takes the right push there; ask admin \(request [\w-]+\)$/,
    ],
    [
      'eve',
      'POST',
      '/v2/bob/app/blobs/uploads/',
      /^eve may not push to bob\/app: that takes the right push there; ask admin \(request [\w-]+\)$/,
    ],
    [
      'bob',
      'DELETE',
      '/v2/team/app/manifests/1',
      /^bob may not delete from team\/app: that takes the right delete there; ask admin \(request [\w-]+\)$/,
    ],
    [
      'bob',
      'GET',
      '/v2/other/app/manifests/1',
      /^bob may not pull other\/app: that takes the right pull there; ask admin \(request [\w-]+\)$/,
    ],
    [
      'bob',
      'GET',
      '/v2/team/tags/list',
      /^bob may not pull team: that takes the right pull there; ask admin \(request [\w-]+\)$/,
    ],
  ])('says that %s may not %s %s', async (name, method, path, message) => {
    const door = await openDoor();
    const { status, error } = await ask(door, method, path, basic(name));
    expect(status).toBe(403);
    expect(error?.code).toBe('DENIED');
    expect(error?.message).toMatch(message);
    expect(door.asked).toEqual([]);
    const line = door.log.find(({ msg }) => msg === 'request');
    expect(error?.message).toContain(`(request ${String(line?.['requestId'])})`);
    expect(error?.message).toContain(line?.['reason']);
  });

  test.each([
    ['admins: [admin, root]', 'ask admin or root ('],
    ['admins: ["@ops"]\ngroups: {ops: [carl, dora]}', 'ask carl or dora ('],
    ['admins: [a, b, c, d, e]', 'ask a, b, c or another admin ('],
    ['rules: []', 'ask whoever runs this registry ('],
  ])('names whom to ask: %s', async (policy, expected) => {
    const door = await openDoor({ policy });
    const { error } = await ask(door, 'PUT', '/v2/team/app/manifests/1', basic('bob'));
    expect(error?.message).toContain(expected);
  });

  test('lets who may delete delete, and an admin everything', async () => {
    const door = await openDoor();
    expect((await ask(door, 'DELETE', '/v2/team/app/manifests/1', basic('eve'))).status).toBe(200);
    expect((await ask(door, 'DELETE', '/v2/other/app/manifests/1', basic('admin'))).status).toBe(200);
    expect(door.asked.map(({ identity }) => identity?.access[0]?.actions)).toEqual([['delete'], ['delete']]);
  });

  test('lets anybody read what is open, and nothing else', async () => {
    const door = await openDoor({ policy: openPolicyText });
    expect((await ask(door, 'GET', '/v2/public/app/manifests/1')).status).toBe(200);
    expect(door.asked[0]?.identity).toEqual({
      subject: '',
      access: [{ type: 'repository', name: 'public/app', actions: ['pull'] }],
    });
    expect((await ask(door, 'PUT', '/v2/public/app/manifests/1')).status).toBe(401);
    expect((await ask(door, 'GET', '/v2/team/app/manifests/1')).status).toBe(401);
    expect((await ask(door, 'PUT', '/v2/public/app/manifests/1', basic('bob'))).status).toBe(403);
    expect(door.asked).toHaveLength(1);
  });
});

describe('mounts', () => {
  let asked: Record<string, string>;
  const mount = async (name: string, query: string) => {
    const door = await openDoor();
    const path = `/v2/${name}/app/blobs/uploads/`;
    expect((await ask(door, 'POST', `${path}?${query}`, basic(name))).status).toBe(200);
    const { url = '', identity } = door.asked[0] ?? {};
    expect(url.startsWith(path)).toBe(true);
    asked = Object.fromEntries(new URLSearchParams(url.slice(path.length)));
    return identity?.access;
  };
  const push = (name: string) => ({ type: 'repository', name: `${name}/app`, actions: ['push'] });

  test('add pull on the source to the token when the asker may pull it', async () => {
    const pull = { type: 'repository', name: 'team/base', actions: ['pull'] };
    expect(await mount('bob', `mount=${digest}&from=team/base`)).toEqual([push('bob'), pull]);
    expect(asked).toEqual({ mount: digest, from: 'team/base' });
    expect(await mount('bob', `from=team%2Fbase&mount=sha256%3A${'a'.repeat(64)}`)).toEqual([push('bob'), pull]);
    expect(asked).toEqual({ mount: digest, from: 'team/base' });
  });

  test('are uploads for the registry, whichever it is, when the asker may not pull the source', async () => {
    for (const query of [
      `mount=${digest}&from=other/base`,
      `mount=${digest}&from=other/base&from=team/base`,
      `mount=${digest}&from=%zz&from=other/base`,
      `mount=${digest};from=other/base&from=UP`,
    ]) {
      expect(await mount('bob', query)).toEqual([push('bob')]);
      expect(asked).toEqual({});
    }
  });

  test('without a source add pull on everything only for who may pull everything', async () => {
    expect(await mount('bob', `mount=${digest}`)).toEqual([push('bob')]);
    expect(asked).toEqual({});
    const all = { type: 'repository', name: everything, actions: ['pull'] };
    expect(await mount('admin', `mount=${digest}`)).toEqual([push('admin'), all]);
    expect(asked).toEqual({ mount: digest });
  });

  test('leave what an upload says of its digest', async () => {
    await mount('bob', `digest=${digest}&x=y`);
    expect(asked).toEqual({ digest });
    await mount('bob', 'digest-algorithm=sha512');
    expect(asked).toEqual({ 'digest-algorithm': 'sha512' });
  });
});

describe('what the registry sees', () => {
  test('is what it needs, and nothing by which a client could pass for somebody else', async () => {
    const door = await openDoor();
    const sent = {
      ...basic('bob'),
      Accept: ['application/vnd.oci.image.index.v1+json', '*/*'],
      Range: 'bytes=0-5',
      'If-None-Match': '"x"',
      'User-Agent': 'docker/29',
      Cookie: 'session=1',
      'X-Remote-User': 'admin',
      'X-Forwarded-For': '1.2.3.4',
      'X-Forwarded-Host': 'elsewhere',
      'X-Forwarded-Proto': 'https',
      Forwarded: 'host=elsewhere',
      'X-Original-URL': '/v2/other/app/manifests/1',
      'X-HTTP-Method-Override': 'DELETE',
      'X-Request-Id': 'mine',
      'Proxy-Authorization': 'Basic x',
      TE: 'trailers',
      Connection: 'close, If-None-Match, Authorization',
    };
    const { headers } = await ask(door, 'GET', '/v2/team/app/manifests/1', sent);
    const { authorization, host, ...seen } = door.asked[0]?.headers ?? {};
    expect(authorization).toMatch(/^Bearer /);
    expect(host).toMatch(/^127\.0\.0\.1:\d+$/);
    expect(seen).toEqual({
      accept: 'application/vnd.oci.image.index.v1+json, */*',
      range: 'bytes=0-5',
      'user-agent': 'docker/29',
      'x-request-id': headers['x-request-id'],
      connection: 'keep-alive',
    });
    expect(headers['x-request-id']).not.toBe('mine');
  });

  test.each([
    '/v2/team/app/tags/list?n=5&last=a%2Fb&last=..//x',
    '/v2/team/app/blobs/uploads/01234567-0123-4123-8123-0123456789ab?_state=a//b?c%20d',
    `/v2/team/app/blobs/sha256%3A${'a'.repeat(64)}`,
    '/v2?',
  ])('is the target as it was understood: %s', async (target) => {
    const door = await openDoor();
    expect((await ask(door, 'GET', target, basic('bob'))).status).toBe(200);
    expect(door.asked[0]?.url).toBe(target);
  });

  test.each([
    ['//v2/', 404],
    ['/v2//', 404],
    ['/V2/', 404],
    ['/', 404],
    ['/metrics', 404],
    ['/v2/team//app/tags/list', 400],
    ['/v2/team/../other/app/tags/list', 400],
    ['/v2/team/./app/tags/list', 400],
    ['/v2/team%2fapp/tags/list', 400],
    ['/v2/team/%2e%2e/other/tags/list', 400],
    ['/v2/team/app;x/tags/list', 400],
    ['/v2/team\\app/tags/list', 400],
    ['/v2/team/app/tags/list/', 404],
    ['/v2/Team/app/tags/list', 400],
    ['/v2/team/app/blobs/uploads/../../x', 404],
    ['/v2/team/app/manifests/1#x', 400],
    ['http://127.0.0.1/v2/team/app/manifests/1', 404],
    ['http://elsewhere/v2/', 404],
    ['*', 404],
  ])('is never %s', async (target, status) => {
    const door = await openDoor();
    const { status: given, error, headers } = await ask(door, 'GET', target, basic('admin'));
    expect(given).toBe(status);
    expect(error?.message).toBeTruthy();
    expect(error?.detail['requestId']).toBe(headers['x-request-id']);
    expect(door.asked).toEqual([]);
  });

  test.each(['OPTIONS', 'TRACE', 'PATCH', 'PROPFIND'])(
    'is never a method that it has no use for: %s',
    async (method) => {
      const door = await openDoor();
      const { status, headers } = await ask(door, method, '/v2/', basic('admin'));
      expect(status).toBe(405);
      expect(headers['allow']).toBe('GET, HEAD');
      expect(door.asked).toEqual([]);
    },
  );
});

describe('what the client sees', () => {
  test('is the answer of the registry without the headers of its connection, and with those of the door', async () => {
    const door = await openDoor({
      registry: (_, response) => {
        response.writeHead(206, {
          'Docker-Content-Digest': digest,
          'Content-Range': 'bytes 0-1/2',
          Location: '/v2/team/app/blobs/x',
          'X-Request-Id': 'theirs',
          'X-Of-Connection': '1',
          'Proxy-Authenticate': 'Basic',
          Connection: 'keep-alive, X-Of-Connection',
        });
        response.end('ab');
      },
    });
    const { status, headers, body } = await ask(door, 'GET', `/v2/team/app/blobs/${digest}`, basic('bob'));
    expect({ status, body }).toEqual({ status: 206, body: 'ab' });
    expect(headers).toMatchObject({
      'docker-content-digest': digest,
      'content-range': 'bytes 0-1/2',
      location: '/v2/team/app/blobs/x',
      'docker-distribution-api-version': 'registry/2.0',
      'x-content-type-options': 'nosniff',
    });
    expect(headers).not.toHaveProperty('x-of-connection');
    expect(headers).not.toHaveProperty('proxy-authenticate');
    expect(headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('has the same headers on every refusal', async () => {
    const door = await openDoor();
    for (const path of ['/v2/', '/nowhere', '/v2/UPPER/tags/list']) {
      expect((await ask(door, 'GET', path)).headers).toMatchObject({
        'docker-distribution-api-version': 'registry/2.0',
        'x-content-type-options': 'nosniff',
        'content-type': 'application/json',
        'x-request-id': expect.stringMatching(/^[0-9a-f-]{36}$/) as unknown,
      });
    }
  });

  test('keeps a length and an answer without body as they are', async () => {
    const door = await openDoor({
      registry: (_, response) => response.writeHead(200, { 'Content-Length': '12345' }).end(),
    });
    const { status, headers, body } = await ask(door, 'HEAD', `/v2/team/app/blobs/${digest}`, basic('bob'));
    expect({ status, length: headers['content-length'], body }).toEqual({ status: 200, length: '12345', body: '' });
  });
});

describe('a door below a path', () => {
  test('takes requests with that path and without it, and points to itself with it', async () => {
    const door = await openDoor({
      publicUrl: 'https://hub.example/hub/',
      registry: (incoming, response) => {
        if (incoming.url?.startsWith('/v2/_catalog')) {
          response.setHeader('Link', '</v2/_catalog?n=1000&last=team/b>; rel="next"');
          response.end('{"repositories":["team/a","team/b"]}');
        } else response.writeHead(202, { Location: '/v2/team/app/blobs/uploads/x?_state=y' }).end();
      },
    });
    for (const prefix of ['/hub', '']) {
      const answer = await ask(door, 'POST', `${prefix}/v2/team/app/blobs/uploads/`, basic('bob'));
      expect([answer.status, answer.headers.location]).toEqual([202, '/hub/v2/team/app/blobs/uploads/x?_state=y']);
      const catalog = await ask(door, 'GET', `${prefix}/v2/_catalog?n=1`, basic('bob'));
      expect(catalog.headers['link']).toBe('</hub/v2/_catalog?n=1&last=team%2Fa>; rel="next"');
    }
    expect(new Set(door.asked.map(({ url }) => url?.split('?')[0]))).toEqual(
      new Set(['/v2/team/app/blobs/uploads/', '/v2/_catalog']),
    );
  });

  test('is nowhere else', async () => {
    const door = await openDoor({ publicUrl: 'https://hub.example/hub/' });
    for (const path of ['/hub', '/hub/hub/v2/', '/hubv2/', '/other/v2/', '/hub//v2/']) {
      expect((await ask(door, 'GET', path, basic('bob'))).status, path).toBe(404);
    }
  });
});

describe('the log', () => {
  test('has one line a request, and no secrets', async () => {
    const door = await openDoor();
    const state = 'an-upload-state';
    const path = `/v2/team/app/blobs/uploads/01234567-0123-4123-8123-0123456789ab?_state=${state}`;
    const { headers } = await ask(door, 'PATCH', path, basic('bob'), 'hello');
    await ask(door, 'GET', '/v2/', basic('bob', 'not the password'));
    const lines = door.log.filter(({ msg }) => msg === 'request');
    expect(lines).toMatchObject([
      {
        requestId: headers['x-request-id'],
        user: 'bob',
        login: 'accepted',
        method: 'PATCH',
        kind: 'upload',
        repository: 'team/app',
        action: 'push',
        status: 200,
        bytesIn: 5,
        bytesOut: 2,
        remote: '127.0.0.1',
        milliseconds: expect.any(Number) as unknown,
      },
      { login: 'refused', method: 'GET', kind: 'version', status: 401 },
    ]);
    const all = JSON.stringify(door.log);
    const secrets = [
      state,
      passwordOf('bob'),
      'not the password',
      'Bearer',
      'Basic',
      basic('bob').Authorization.slice(6),
    ];
    for (const secret of secrets) expect(all).not.toContain(secret);
  });

  test('names the client that a trusted proxy forwards, and believes nobody else', async () => {
    const headers = { 'X-Forwarded-For': '203.0.113.9' };
    for (const [trusted, remote] of [
      ['127.0.0.0/8', '203.0.113.9'],
      ['10.0.0.0/8', '127.0.0.1'],
    ] as const) {
      const door = await openDoor({ trusted });
      await ask(door, 'GET', '/v2/', headers);
      expect(door.log.filter(({ msg }) => msg === 'request')).toMatchObject([{ remote }]);
    }
  });

  test('has its counters', async () => {
    const door = await openDoor();
    await ask(door, 'GET', '/v2/', basic('bob'));
    await ask(door, 'GET', '/v2/', basic('bob', 'wrong'));
    const text = await door.metrics.metrics();
    expect(text).toContain('wharfie_proxy_requests_total{kind="version",method="GET",status="200"} 1');
    expect(text).toContain('wharfie_proxy_requests_total{kind="version",method="GET",status="401"} 1');
    expect(text).toContain('wharfie_proxy_logins_total{outcome="refused"} 1');
    expect(text).toContain('wharfie_proxy_request_seconds_count{kind="version",method="GET"} 2');
    expect(text).toMatch(/wharfie_proxy_body_bytes_total\{direction="out"\} \d+/);
  });
});
