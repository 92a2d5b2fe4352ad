import { deriveKey, identitySigner, identityVerifier, repositoryAccess } from '@wharfie/shared';
import bcrypt from 'bcryptjs';
import { createSigner } from 'fast-jwt';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { parsePolicy } from '../src/access/policy.js';
import { parseHtpasswd } from '../src/htpasswd/file.js';
import { hashPassword, saltOf } from '../src/htpasswd/password.js';
import { ask, basic, dial, heard, hears, openDoor, openPolicyText, passwordOf, policyText, secret } from './harness.js';

type Door = Awaited<ReturnType<typeof openDoor>>;

interface TokenAnswer {
  token: string;
  access_token: string;
  expires_in: number;
  issued_at: string;
  scope: string;
  refresh_token?: string;
}

const open = () => openDoor({ policy: openPolicyText });
const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });
const pushToApp = '/v2/team/app/blobs/uploads/';

async function getToken(door: Door, query: string, headers = {}): Promise<TokenAnswer> {
  const { status, body } = await ask(door, 'GET', `/token?service=wharfie&${query}`, headers);
  expect(status, body).toBe(200);
  return JSON.parse(body) as TokenAnswer;
}

async function postToken(door: Door, fields: Record<string, string>): Promise<TokenAnswer> {
  const { status, body } = await ask(door, 'POST', '/token', form, new URLSearchParams(fields).toString());
  expect(status, body).toBe(200);
  return JSON.parse(body) as TokenAnswer;
}

function accessIn(token: string): unknown {
  const [, claims = ''] = token.split('.');
  return (JSON.parse(Buffer.from(claims, 'base64url').toString()) as { access: unknown }).access;
}

describe('the challenge', () => {
  test('is Bearer alone, with the address that was asked, as soon as a rule names $anonymous', async () => {
    const door = await open();
    const { status, headers } = await ask(door, 'GET', '/v2/', { Host: 'registry.example:5000' });
    expect(status).toBe(401);
    expect(headers['www-authenticate']).toBe('Bearer realm="http://registry.example:5000/token",service="wharfie"');
    door.policy.current = parsePolicy(policyText);
    expect((await ask(door, 'GET', '/v2/')).headers['www-authenticate']).toMatch(/^Basic /);
  });

  test.each([
    ['GET', '/v2/team/app/manifests/1', 'repository:team/app:pull'],
    ['POST', pushToApp, 'repository:team/app:pull,push'],
    ['DELETE', '/v2/team/app/manifests/1', 'repository:team/app:delete'],
    [
      'POST',
      `${pushToApp}?mount=sha256:${'a'.repeat(64)}&from=team/other`,
      'repository:team/app:pull,push repository:team/other:pull',
    ],
  ])('names the scope of %s %s', async (method, path, scope) => {
    const { headers } = await ask(await open(), method, path);
    expect(headers['www-authenticate']).toContain(`,scope="${scope}"`);
  });

  test('names the public address when there is one', async () => {
    const door = await openDoor({ policy: openPolicyText, publicUrl: 'https://registry.example/' });
    const { headers } = await ask(door, 'GET', '/v2/', { Host: 'inside:5000' });
    expect(headers['www-authenticate']).toContain('realm="https://registry.example/token"');
  });

  test('never repeats a Host that is none', async () => {
    const door = await open();
    for (const host of ['a",realm="http://evil', 'a b', 'a/b']) {
      const { headers } = await ask(door, 'GET', '/v2/', { Host: host });
      expect(headers['www-authenticate']).toContain(`realm="http://127.0.0.1:${door.port}/token"`);
    }
    expect(await heard(write(door, 'GET /v2/ HTTP/1.0\r\n\r\n'))).toContain(`realm="http://127.0.0.1:${door.port}/`);
    door.server.once('connection', (socket) => Object.defineProperty(socket, 'localAddress', { value: '::1' }));
    expect(await heard(write(door, 'GET /v2/ HTTP/1.0\r\n\r\n'))).toContain(`realm="http://[::1]:${door.port}/`);
  });

  test('says what is wrong with a token', async () => {
    const door = await open();
    const bad = await ask(door, 'GET', '/v2/', bearer('x'));
    expect(bad.headers['www-authenticate']).toContain('error="invalid_token"');
    const { token } = await getToken(door, 'scope=repository:team/app:pull', basic('bob'));
    const narrow = await ask(door, 'POST', pushToApp, bearer(token));
    expect(narrow.status).toBe(401);
    expect(narrow.headers['www-authenticate']).toContain(
      'scope="repository:team/app:pull,push",error="insufficient_scope"',
    );
  });
});

function write(door: Door, bytes: string) {
  const socket = dial(door);
  socket.write(bytes);
  return socket;
}

describe('GET /token', () => {
  test('gives an account what it asks for and may have', async () => {
    const door = await open();
    const answer = await getToken(door, 'account=bob&scope=repository:team/app:push,pull', basic('bob'));
    expect(answer.access_token).toBe(answer.token);
    expect(answer.expires_in).toBeGreaterThanOrEqual(60);
    expect(Math.abs(Date.now() - Date.parse(answer.issued_at))).toBeLessThan(60_000);
    expect(accessIn(answer.token)).toEqual([repositoryAccess('team/app', 'pull', 'push')]);
    expect(answer).not.toHaveProperty('refresh_token');
    expect((await ask(door, 'POST', pushToApp, bearer(answer.token))).status).toBe(200);
    expect(door.asked[0]?.identity).toEqual({ subject: 'bob', access: [repositoryAccess('team/app', 'push')] });
  });

  test('logs an account in without any scope', async () => {
    const door = await open();
    const { token } = await getToken(door, 'account=eve&client_id=docker&offline_token=true', basic('eve'));
    expect((await ask(door, 'GET', '/v2/', bearer(token))).status).toBe(200);
    expect(door.asked[0]?.identity).toEqual({ subject: 'eve', access: [] });
    expect((await ask(door, 'GET', '/v2/team/app/manifests/1', bearer(token))).status).toBe(401);
  });

  test('serves those without an account, with what is open', async () => {
    const door = await open();
    for (const headers of [{}, { Authorization: 'Basic Og==' }]) {
      const { token, refresh_token } = await getToken(
        door,
        'offline_token=true&scope=repository:public/app:pull,push&scope=repository:team/app:pull',
        headers,
      );
      expect(refresh_token).toBeUndefined();
      expect(accessIn(token)).toEqual([repositoryAccess('public/app', 'pull')]);
      expect((await ask(door, 'GET', '/v2/', bearer(token))).status).toBe(200);
      expect((await ask(door, 'GET', '/v2/public/app/manifests/1', bearer(token))).status).toBe(200);
      expect((await ask(door, 'GET', '/v2/team/app/manifests/1', bearer(token))).status).toBe(401);
      expect((await ask(door, 'PUT', '/v2/public/app/manifests/1', bearer(token))).status).toBe(401);
    }
  });

  test.each([
    ['a wrong password', basic('bob', 'wrong')],
    ['an unknown name', basic('nobody')],
    ['no password', basic('bob', '')],
    ['another scheme', { Authorization: 'Bearer abc' }],
  ])('refuses %s, in our words', async (_, headers) => {
    const { status, error, headers: answered } = await ask(await open(), 'GET', '/token', headers);
    expect(status).toBe(401);
    expect(error).toMatchObject({ code: 'UNAUTHORIZED' });
    expect(error?.message).toMatch(/log in/);
    expect(answered['www-authenticate']).toMatch(/^Basic /);
  });

  test('gives strangers nothing where nothing is open, and accounts a token all the same', async () => {
    const door = await openDoor();
    expect((await ask(door, 'GET', '/token')).status).toBe(401);
    const { token } = await getToken(door, 'scope=repository:team/app:pull', basic('bob'));
    expect((await ask(door, 'GET', '/v2/team/app/manifests/1', bearer(token))).status).toBe(200);
  });

  test.each([
    ['scope=repository:team/app:pull&scope=repository:team/app:push', ['pull', 'push']],
    ['scope=repository:team/app:push%20repository:team/app:pull', ['pull', 'push']],
    ['scope=repository:team/app:push,push,pull,dance', ['pull', 'push']],
    ['scope=repository:team/app:*', ['pull', 'push']],
    ['scope=repository:team/app:pull&scope=plugin:x:pull&scope=nonsense&scope=repository:UP:pull&scope=', ['pull']],
    ['scope=repository:team/app:delete', undefined],
    ['scope=repository:other/app:pull,push', undefined],
    ['scope=repository(plugin):team/app:pull', undefined],
    ['scope=repository:host:5000/team/app:pull', undefined],
    ['scope=registry:catalog:push', undefined],
  ])('takes %s as a set and leaves out what may not be', async (query, actions) => {
    const { token } = await getToken(await open(), query, basic('bob'));
    expect(accessIn(token)).toEqual(actions ? [{ type: 'repository', name: 'team/app', actions }] : []);
  });

  test('gives the catalog to who may list, filtered as ever', async () => {
    const door = await openDoor({
      policy: openPolicyText,
      registry: (_, response) => {
        response.end(JSON.stringify({ repositories: ['other/app', 'public/app', 'team/app'] }));
      },
    });
    const { token } = await getToken(door, 'scope=registry:catalog:*');
    const { body } = await ask(door, 'GET', '/v2/_catalog', bearer(token));
    expect(JSON.parse(body)).toEqual({ repositories: ['public/app'] });
    const without = await getToken(door, '');
    expect((await ask(door, 'GET', '/v2/_catalog', bearer(without.token))).status).toBe(401);
  });

  test('refuses a token too long to be shown again', async () => {
    const door = await open();
    const scope = Array.from({ length: 400 }, (_, n) => `repository:team/${'x'.repeat(9)}${n}:pull`).join(' ');
    const fields = { grant_type: 'password', username: 'bob', password: passwordOf('bob'), scope };
    const { status, error } = await ask(door, 'POST', '/token', form, new URLSearchParams(fields).toString());
    expect([status, error?.message]).toEqual([400, expect.stringContaining('fewer')]);
  });
});

describe('POST /token', () => {
  const password = (name: string) => ({ grant_type: 'password', username: name, password: passwordOf(name) });

  test('takes a password and gives what OAuth 2 asks for', async () => {
    const door = await open();
    const answer = await postToken(door, {
      ...password('bob'),
      scope: 'repository:team/app:pull,push',
      client_id: 'c',
    });
    expect(answer).toMatchObject({
      scope: 'repository:team/app:pull,push',
      expires_in: 300,
      token: answer.access_token,
    });
    expect(answer).not.toHaveProperty('refresh_token');
    expect((await ask(door, 'POST', pushToApp, bearer(answer.access_token))).status).toBe(200);
  });

  test('gives a token to keep instead of the password, which gets others', async () => {
    const door = await open();
    const kept = [
      (await postToken(door, { ...password('bob'), access_type: 'offline' })).refresh_token ?? '',
      (await getToken(door, 'offline_token=true', basic('bob'))).refresh_token ?? '',
    ];
    for (const refresh_token of kept) {
      const fields = { grant_type: 'refresh_token', refresh_token, scope: 'repository:team/app:push' };
      const { access_token } = await postToken(door, fields);
      expect((await ask(door, 'POST', pushToApp, bearer(access_token))).status).toBe(200);
      // It opens nothing by itself.
      expect((await ask(door, 'GET', '/v2/', bearer(refresh_token))).status).toBe(401);
    }
  });

  test.each([
    ['a wrong password', { grant_type: 'password', username: 'bob', password: 'wrong' }, 401],
    ['no password', { grant_type: 'password', username: 'bob' }, 401],
    ['neither name nor password', { grant_type: 'password', username: '', password: '' }, 401],
    ['a refresh token that is none', { grant_type: 'refresh_token', refresh_token: 'x' }, 401],
    ['no refresh token', { grant_type: 'refresh_token' }, 401],
    ['another grant', { grant_type: 'client_credentials' }, 400],
    ['no grant', { username: 'bob' }, 400],
  ])('refuses %s', async (_, fields, expected) => {
    const body = new URLSearchParams(fields as Record<string, string>).toString();
    const { status, error } = await ask(await open(), 'POST', '/token', form, body);
    expect(status).toBe(expected);
    expect(error?.message).toMatch(/log in|grant_type/);
  });

  test('takes no access token for a refresh token', async () => {
    const door = await open();
    const { token } = await getToken(door, '', basic('bob'));
    const body = `grant_type=refresh_token&refresh_token=${token}`;
    expect((await ask(door, 'POST', '/token', form, body)).status).toBe(401);
  });

  test.each([
    ['no form', { 'Content-Type': 'application/json' }, '{}', 400],
    ['no body', form, '', 400],
    ['a form that is too long', form, `scope=${'x'.repeat(70_000)}`, 413],
    ['a long form in chunks', { ...form, 'Transfer-Encoding': 'chunked' }, `scope=${'x'.repeat(70_000)}`, 413],
  ])('refuses %s', async (_, headers, body, expected) => {
    const { status, error } = await ask(await open(), 'POST', '/token', headers, body);
    expect(status).toBe(expected);
    expect(error).toBeDefined();
  });

  test('reads the form of a client that waits to be told so', async () => {
    const door = await open();
    const body = new URLSearchParams(password('bob')).toString();
    const head = `POST /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Type: ${form['Content-Type']}\r\nContent-Length: ${body.length}\r\n\r\n`;
    expect(await heard(write(door, head + body))).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK/);
  });

  test.each(['PUT', 'DELETE', 'HEAD'])('says what is possible instead of %s', async (method) => {
    const { status, headers } = await ask(await open(), method, '/token');
    expect([status, headers.allow]).toEqual([405, 'GET, POST']);
  });
});

describe('the power of a token', () => {
  const push = async (door: Door, token: string) => (await ask(door, 'POST', pushToApp, bearer(token))).status;

  async function openWithToken() {
    const door = await open();
    const answer = await getToken(door, 'offline_token=true&scope=repository:team/app:pull,push', basic('bob'));
    expect(await push(door, answer.token)).toBe(200);
    return { door, token: answer.token, refresh_token: answer.refresh_token ?? '' };
  }

  test('ends at once when the account is removed', async () => {
    const { door, token, refresh_token } = await openWithToken();
    door.accounts.current = parseHtpasswd('');
    expect(await push(door, token)).toBe(401);
    const body = `grant_type=refresh_token&refresh_token=${refresh_token}`;
    expect((await ask(door, 'POST', '/token', form, body)).status).toBe(401);
  });

  test('ends at once when the password is changed, were it to the same one', async () => {
    const { door, token, refresh_token } = await openWithToken();
    door.accounts.current = parseHtpasswd(`bob:${await hashPassword(passwordOf('bob'), 4)}\n`);
    expect(await push(door, token)).toBe(401);
    const body = `grant_type=refresh_token&refresh_token=${refresh_token}`;
    expect((await ask(door, 'POST', '/token', form, body)).status).toBe(401);
  });

  test('is cut down at once by a changed policy, and never grows past its scope', async () => {
    const { door, token } = await openWithToken();
    door.policy.current = parsePolicy('rules:\n- {repositories: "**", pull: [$anonymous]}\n');
    const refused = await ask(door, 'POST', pushToApp, bearer(token));
    expect(refused).toMatchObject({
      status: 403,
      error: { message: expect.stringContaining('bob may not push') as string },
    });
    expect((await ask(door, 'GET', '/v2/team/app/manifests/1', bearer(token))).status).toBe(200);
    door.policy.current = parsePolicy('admins: [bob]\nrules:\n- {repositories: "**", pull: [$anonymous]}\n');
    expect(await push(door, token)).toBe(200);
    expect((await ask(door, 'DELETE', '/v2/team/app/manifests/1', bearer(token))).status).toBe(401);
    expect((await ask(door, 'GET', '/v2/other/app/manifests/1', bearer(token))).status).toBe(401);
  });

  test('of a stranger ends when nothing is open any more', async () => {
    const door = await open();
    const { token } = await getToken(door, 'scope=repository:public/app:pull');
    expect((await ask(door, 'GET', '/v2/public/app/manifests/1', bearer(token))).status).toBe(200);
    door.policy.current = parsePolicy(policyText);
    expect((await ask(door, 'GET', '/v2/public/app/manifests/1', bearer(token))).status).toBe(401);
    expect((await ask(door, 'GET', '/v2/', bearer(token))).status).toBe(401);
  });

  test('ends with its time', async () => {
    const { door, token } = await openWithToken();
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 361_000 });
    try {
      expect(await push(door, token)).toBe(401);
    } finally {
      vi.useRealTimers();
    }
  });

  test('over a mount ends where its scope ends', async () => {
    const door = await open();
    const mount = `${pushToApp}?mount=sha256:${'a'.repeat(64)}&from=team/other`;
    const narrow = await getToken(door, 'scope=repository:team/app:pull,push', basic('bob'));
    const wide = await getToken(
      door,
      'scope=repository:team/app:pull,push&scope=repository:team/other:pull',
      basic('bob'),
    );
    for (const { token } of [narrow, wide]) await ask(door, 'POST', mount, bearer(token));
    const [alone, both] = door.asked.map(({ identity }) => identity?.access.map(({ name }) => name));
    expect(alone).toEqual(['team/app']);
    expect(both).toEqual(['team/app', 'team/other']);
  });

  test('is nothing at the registry, nor that of the registry’s tokens at the door', async () => {
    const { door, token, refresh_token } = await openWithToken();
    const verify = identityVerifier(secret);
    for (const client of [token, refresh_token]) expect(() => verify(client)).toThrow();
    const identity = identitySigner(secret)({ subject: 'bob', access: [repositoryAccess('team/app', 'pull', 'push')] });
    expect(await push(door, identity)).toBe(401);
    const body = `grant_type=refresh_token&refresh_token=${identity}`;
    expect((await ask(door, 'POST', '/token', form, body)).status).toBe(401);
  });

  test('is nothing when another key signed it, or for another audience', async () => {
    const { door } = await openWithToken();
    const claims = { iss: 'wharfie-token', sub: '', access: [repositoryAccess('public/app', 'pull')] };
    const sign = (key: Buffer, aud: string, more = {}) =>
      createSigner({ key, algorithm: 'HS256', expiresIn: 60_000 })({ ...claims, aud, ...more });
    const get = async (token: string) => (await ask(door, 'GET', '/v2/public/app/manifests/1', bearer(token))).status;
    const key = deriveKey(secret, 'client token');
    expect(await get(sign(key, 'wharfie'))).toBe(200);
    expect(await get(sign(randomBytes(32), 'wharfie'))).toBe(401);
    expect(await get(sign(deriveKey(secret, 'identity'), 'wharfie'))).toBe(401);
    expect(await get(sign(key, 'wharfie-registry'))).toBe(401);
    // An account's name without the mark of its password.
    expect(await get(sign(key, 'wharfie', { sub: 'bob' }))).toBe(401);
    // What is given to somebody whose account goes at that moment.
    expect(await get(sign(key, 'wharfie', { sub: 'gone' }))).toBe(401);
    expect(await get(sign(key, 'wharfie', { sub: 'admin', password: '' }))).toBe(401);
  });
});

test('a token that is kept instead of the password outlives a better hash of the same password', async () => {
  const door = await open();
  const { refresh_token = '' } = await getToken(door, 'offline_token=true', basic('bob'));
  const hash = door.accounts.current.users.get('bob')?.bcrypt?.hash ?? '';
  const better = bcrypt.hashSync(passwordOf('bob'), `$2b$05$${saltOf(hash)}`);
  door.accounts.current = parseHtpasswd(`bob:${better}\n`);
  await postToken(door, { grant_type: 'refresh_token', refresh_token });
});

test('Basic credentials go on to work on every request', async () => {
  const door = await open();
  expect((await ask(door, 'GET', '/v2/', basic('bob'))).status).toBe(200);
  expect((await ask(door, 'POST', pushToApp, basic('bob'))).status).toBe(200);
  const wrong = await ask(door, 'GET', '/v2/public/app/manifests/1', basic('bob', 'wrong'));
  expect(wrong.status).toBe(401);
  expect(wrong.headers['www-authenticate']).not.toContain('error=');
});

test('a form that does not come to its end is not waited for', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const door = await openDoor({ policy: openPolicyText });
  const socket = dial(door);
  socket.write(
    `POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: ${form['Content-Type']}\r\nContent-Length: 10\r\n\r\nabc`,
  );
  await once(door.server, 'request');
  await new Promise(setImmediate);
  vi.advanceTimersByTime(10_000);
  expect(await hears(socket, /\r\n\r\n\{/)).toMatch(/^HTTP\/1\.1 408 [^]*\r\nConnection: close\r\n/);
});

test('a form that comes byte by byte is read', async () => {
  const door = await open();
  const socket = dial(door);
  const said = heard(socket);
  const body = new URLSearchParams({ grant_type: 'password', username: 'bob', password: passwordOf('bob') }).toString();
  socket.write(
    `POST /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: ${form['Content-Type']}\r\nTransfer-Encoding: chunked\r\n\r\n`,
  );
  socket.write(`${body}${'&'.repeat(3000)}`.replace(/./g, '1\r\n$&\r\n') + '0\r\n\r\n');
  expect(await said).toMatch(/^HTTP\/1\.1 200 /);
});

test('a client that leaves within its form leaves nothing in the log but its line', async () => {
  const door = await openDoor({ policy: openPolicyText });
  const socket = dial(door);
  socket.write('POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n');
  socket.write('Content-Length: 100\r\n\r\nabc');
  await once(door.server, 'request');
  socket.destroy();
  await vi.waitFor(() => {
    expect(door.log).toHaveLength(1);
  });
  expect(door.log).toMatchObject([{ msg: 'request', kind: 'token', status: 499, broken: true }]);
});
