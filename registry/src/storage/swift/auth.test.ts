import { Agent } from 'undici';
import { afterEach, describe, expect, it } from 'vitest';
import { loginV1 } from './auth-v1.js';
import { loginV2 } from './auth-v2.js';
import { loginV3 } from './auth-v3.js';
import { SwiftRefused, SwiftUnreachable } from './session.js';
import { serve, type Reply, type Seen } from '../testing/serve.js';

const dispatcher = new Agent();
const signal = new AbortController().signal;
const end = '2030-01-02T03:04:05.000000Z';

describe('a login', () => {
  let close: () => void = () => undefined;
  afterEach(() => {
    close();
  });
  const server = async (answer: (seen: Seen, address: string) => Reply) => {
    const running = await serve(answer);
    close = running.close;
    return running;
  };

  it('of version 1 sends user and key, and counts the seconds that are left', async () => {
    const headers = { 'x-auth-token': 'tk', 'x-storage-url': 'http://swift/v1/AUTH_a/', 'x-auth-token-expires': '100' };
    const { address, seen } = await server(() => ({ status: 200, headers }));
    const session = await loginV1(`${address}/auth/v1.0`, 'account:user', 'key')(dispatcher, signal);
    expect(seen[0]).toMatchObject({
      url: '/auth/v1.0',
      headers: { 'x-auth-user': 'account:user', 'x-auth-key': 'key' },
    });
    expect(session).toMatchObject({ token: 'tk', storageUrl: 'http://swift/v1/AUTH_a' });
    expect((session.expires ?? 0) - Date.now()).toBeGreaterThan(90_000);
  });

  it('of version 2 finds the endpoint of its region and interface', async () => {
    const endpoint = (region: string) => ({
      region,
      publicURL: `http://${region}/v1`,
      internalURL: `http://in-${region}/v1`,
    });
    const access = {
      token: { id: 'tk', expires: end },
      serviceCatalog: [
        { type: 'compute', endpoints: [endpoint('two')] },
        { type: 'object-store', endpoints: [endpoint('one'), endpoint('two')] },
      ],
    };
    const { address, seen } = await server(() => ({ status: 200, body: JSON.stringify({ access }) }));
    const who = { username: 'u', password: 'p', tenantName: 't' };
    const login = loginV2(`${address}/v2.0/`, who, { region: 'two', interface: 'internal' });
    expect(await login(dispatcher, signal)).toEqual({
      token: 'tk',
      storageUrl: 'http://in-two/v1',
      expires: Date.parse(end),
    });
    expect(seen[0]?.url).toBe('/v2.0/tokens');
    expect(JSON.parse(seen[0]?.body ?? '')).toEqual({
      auth: { passwordCredentials: { username: 'u', password: 'p' }, tenantName: 't' },
    });
  });

  const catalog = [
    {
      type: 'object-store',
      endpoints: [
        { interface: 'admin', url: 'http://admin', region: 'one' },
        { interface: 'public', url: 'http://one/v1/AUTH_p', region: 'one' },
        { interface: 'public', url: 'http://two/v1/AUTH_p', region_id: 'two' },
      ],
    },
  ];
  const v3 = (): Reply => ({
    status: 201,
    headers: { 'x-subject-token': 'tk' },
    body: JSON.stringify({ token: { expires_at: end, catalog } }),
  });

  it.each([
    ['http://one/v1/AUTH_p', {}],
    ['http://two/v1/AUTH_p', { region: 'two' }],
  ])('of version 3 takes %s', async (storageUrl, place) => {
    const { address, seen } = await server(v3);
    const who = {
      user: { name: 'u' },
      userDomain: { id: 'd1' },
      password: 'p',
      project: { name: 'pr' },
      projectDomain: { name: 'Other' },
    };
    const session = await loginV3(address, who, { interface: 'public', ...place })(dispatcher, signal);
    expect(session).toEqual({ token: 'tk', storageUrl, expires: Date.parse(end) });
    expect(seen[0]?.url).toBe('/v3/auth/tokens');
    expect(JSON.parse(seen[0]?.body ?? '')).toEqual({
      auth: {
        identity: { methods: ['password'], password: { user: { name: 'u', domain: { id: 'd1' }, password: 'p' } } },
        scope: { project: { name: 'pr', domain: { name: 'Other' } } },
      },
    });
  });

  it('of version 3 by ids names no domain, and a trust or an application credential no project', async () => {
    const { address, seen } = await server(v3);
    const place = { interface: 'public' };
    const byId = { user: { id: 'u1' }, userDomain: {}, password: 'p', project: { id: 'p1' }, projectDomain: {} };
    await loginV3(`${address}/v3`, byId, place)(dispatcher, signal);
    await loginV3(address, { ...byId, project: {}, trust: 't1' }, place)(dispatcher, signal);
    const credential = { credential: { id: 'c1' }, secret: 's', user: {}, userDomain: {} };
    await loginV3(`${address}/v3/`, credential, place)(dispatcher, signal);
    expect(seen.map(({ url }) => url)).toEqual(Array(3).fill('/v3/auth/tokens'));
    expect(seen.map(({ body }) => (JSON.parse(body) as { auth: unknown }).auth)).toEqual([
      {
        identity: { methods: ['password'], password: { user: { id: 'u1', password: 'p' } } },
        scope: { project: { id: 'p1' } },
      },
      {
        identity: { methods: ['password'], password: { user: { id: 'u1', password: 'p' } } },
        scope: { 'OS-TRUST:trust': { id: 't1' } },
      },
      { identity: { methods: ['application_credential'], application_credential: { id: 'c1', secret: 's' } } },
    ]);
  });

  it.each(['', '/', '/v3', '/v3/', '/v2.0', '/v2.0/'])(
    'of version 3 takes an address that ends with "%s"',
    async (end) => {
      const { address, seen } = await server(v3);
      const who = { credential: { id: 'c' }, secret: 's', user: {}, userDomain: {} };
      await loginV3(`${address}/identity${end}`, who, { interface: 'public' })(dispatcher, signal);
      expect(seen[0]?.url).toBe('/identity/v3/auth/tokens');
    },
  );

  it.each([
    ['2', (server: string) => loginV2(server, { username: 'u', password: 'p' }, { interface: 'public' })],
    [
      '3',
      (server: string) =>
        loginV3(server, { credential: { id: 'c' }, secret: 's', user: {}, userDomain: {} }, { interface: 'public' }),
    ],
  ])('of version %s ends when it said, by our clock and not by its own', async (_, login) => {
    const [issued, expires] = ['2001-01-01T00:00:00Z', '2001-01-01T01:00:00Z'];
    const endpoint = { interface: 'public', url: 'http://s', publicURL: 'http://s' };
    const { address } = await server(() => ({
      status: 200,
      headers: { 'x-subject-token': 'tk' },
      body: JSON.stringify({
        token: { issued_at: issued, expires_at: expires, catalog: [{ type: 'object-store', endpoints: [endpoint] }] },
        access: {
          token: { id: 'tk', issued_at: issued, expires },
          serviceCatalog: [{ type: 'object-store', endpoints: [endpoint] }],
        },
      }),
    }));
    const session = await login(address)(dispatcher, signal);
    expect((session.expires ?? 0) - Date.now()).toBeGreaterThan(3_500_000);
  });

  it('that is refused says what was said, and one without an answer that there was none', async () => {
    const body = JSON.stringify({
      error: { code: 401, message: 'The request you have made requires authentication.' },
    });
    const { address } = await server(() => ({ status: 401, body }));
    const refused = loginV1(address, 'u', 'p')(dispatcher, signal);
    await expect(refused).rejects.toThrow(SwiftRefused);
    await expect(refused).rejects.toThrow(/401: The request you have made requires/);
    await expect(loginV1('http://127.0.0.1:1/', 'u', 'p')(dispatcher, signal)).rejects.toThrow(SwiftUnreachable);
  });

  it('that finds no object-store says which was looked for', async () => {
    const { address } = await server(v3);
    const who = { user: { id: 'u' }, userDomain: {}, password: 'p', project: { id: 'p' }, projectDomain: {} };
    const login = loginV3(address, who, { interface: 'public', region: 'three' });
    await expect(login(dispatcher, signal)).rejects.toThrow(/region three/);
  });
});
