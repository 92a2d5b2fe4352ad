import { SettingsError } from '@wharfie/shared';
import { describe, expect, test } from 'vitest';
import { isLocal, isUnreachable, parseUpstreams, Upstreams, type Upstream } from './upstreams.js';

const listen = { host: '127.0.0.1', port: 5001 };

describe('the registries', () => {
  test('follow from the address on which the registry listens', () => {
    expect(parseUpstreams(undefined, listen)).toMatchObject([{ protocol: 'http:', host: '127.0.0.1', port: 5001 }]);
    expect(parseUpstreams(undefined, { host: '0.0.0.0', port: 1 })).toMatchObject([{ host: '127.0.0.1', port: 1 }]);
    expect(parseUpstreams(undefined, { host: '::', port: 1 })).toMatchObject([{ host: '::1', port: 1 }]);
    expect(parseUpstreams(undefined, { path: '/run/r.sock' })).toMatchObject([{ socketPath: '/run/r.sock' }]);
  });

  test('are those of the list when there is one', () => {
    expect(parseUpstreams('http://a:1, https://b,unix:/run/r.sock,http://[::1]:2', listen)).toMatchObject([
      { protocol: 'http:', host: 'a', port: 1 },
      { protocol: 'https:', host: 'b', port: 443 },
      { protocol: 'http:', socketPath: '/run/r.sock' },
      { protocol: 'http:', host: '::1', port: 2 },
    ]);
  });

  test.each([
    ['unix:/run/r.sock', true],
    ['http://127.0.0.1:1', true],
    ['http://[::1]:1', true],
    ['http://localhost:1', true],
    ['http://10.0.0.1:1', false],
    ['http://127.example.org:1', false],
  ])('at %s are on this machine: %s', (url, local) => {
    expect(parseUpstreams(url, listen).map(isLocal)).toEqual([local]);
  });

  test('are not down because this process has no connection left to make', () => {
    const upstreams = new Upstreams(parseUpstreams('http://a:1', listen));
    const [upstream] = upstreams.all as [Upstream];
    upstreams.refused(upstream, Object.assign(new Error(), { code: 'EMFILE' }));
    expect(upstreams.isUp(upstream)).toBe(true);
    upstreams.refused(upstream, Object.assign(new Error(), { code: 'ECONNREFUSED' }));
    expect(upstreams.isUp(upstream)).toBe(false);
  });

  test.each([
    ['cannot be found', 'http://nowhere.invalid:1'],
    ['do not listen', 'http://localhost:1'],
    ['have no socket', 'unix:/nowhere/r.sock'],
  ])('that %s were sent nothing', async (_, url) => {
    const upstreams = new Upstreams(parseUpstreams(url, listen));
    const failed = await upstreams.get('/', {}, AbortSignal.timeout(10_000)).catch((error: unknown) => error);
    upstreams.close();
    expect(isUnreachable(failed)).toBe(true);
  });

  test('that fall silent within a request may have acted on it', () => {
    expect(isUnreachable(Object.assign(new Error(), { code: 'ETIMEDOUT', syscall: 'read' }))).toBe(false);
  });

  test.each(['', 'a:5001', 'ftp://a', 'http://a/path', 'http://a?x', 'http://user@a', 'http://a,', 'unix:'])(
    'cannot be "%s"',
    (text) => {
      expect(() => parseUpstreams(text, listen)).toThrow(SettingsError);
    },
  );

  test('take turns, and one that refused a connection gets nothing while there are others', () => {
    const [a, b] = parseUpstreams('http://a,http://b', listen);
    if (!a || !b) throw new Error('there are two');
    const upstreams = new Upstreams([a, b]);
    expect(new Set([upstreams.next(), upstreams.next()])).toEqual(new Set([a, b]));
    upstreams.refused(a, new Error('refused'));
    expect([upstreams.next(), upstreams.next()]).toEqual([b, b]);
    upstreams.refused(b, new Error('refused'));
    expect([a, b]).toContain(upstreams.next());
  });

  test('each keep what has one key, and only the keys of one that goes move', () => {
    const all = parseUpstreams('http://a,http://b,unix:/run/c', listen);
    const upstreams = new Upstreams(all);
    const keys = Array.from({ length: 300 }, (_, index) => `upload ${index}`);
    const before = keys.map((key) => upstreams.next(key));
    expect(keys.map((key) => upstreams.next(key))).toEqual(before);
    for (const upstream of all) expect(before.filter((one) => one === upstream).length).toBeGreaterThan(50);
    const [gone] = all as [Upstream, Upstream, Upstream];
    upstreams.refused(gone, new Error('refused'));
    const after = keys.map((key) => upstreams.next(key));
    expect(after).not.toContain(gone);
    expect(after.filter((one, index) => one !== before[index] && before[index] !== gone)).toEqual([]);
  });
});
