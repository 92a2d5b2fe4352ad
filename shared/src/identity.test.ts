import { createHmac, randomBytes } from 'node:crypto';
import { createSigner } from 'fast-jwt';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { identitySigner, identityVerifier } from './identity.js';
import { OciError } from './oci-error.js';
import { repositoryAccess } from './permission.js';
import { deriveKey } from './secret.js';

const secret = randomBytes(32);
const identity = { subject: 'bob', access: [repositoryAccess('team/app', 'pull', 'push')] };
const verify = identityVerifier(secret);

/** A token as anybody can put it together who knows `key`. */
function forge(header: object, claims: object, key = deriveKey(secret, 'identity')): string {
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');
  const content = `${encode(header)}.${encode(claims)}`;
  return `${content}.${createHmac('sha256', key).update(content).digest('base64url')}`;
}

const header = { alg: 'HS256', typ: 'JWT' };
const claims = () => ({
  iss: 'wharfie-proxy',
  aud: 'wharfie-registry',
  sub: 'bob',
  access: identity.access,
  iat: Math.floor(Date.now() / 1000),
  exp: Math.floor(Date.now() / 1000) + 60,
});

function expectRefusal(token: string): void {
  expect(() => verify(token)).toThrow(OciError);
  expect(() => verify(token)).toThrow(expect.objectContaining({ status: 401, code: 'UNAUTHORIZED' }));
}

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe('an identity', () => {
  it('arrives as it was sent', () => {
    expect(verify(identitySigner(secret)(identity))).toEqual(identity);
  });

  it('may be that of nobody', () => {
    const nobody = { subject: '', access: [] };
    expect(verify(identitySigner(secret)(nobody))).toEqual(nobody);
  });

  it('is signed once for requests that need the same, and again before it gets old', () => {
    vi.useFakeTimers({ toFake: ['Date', 'setTimeout'] });
    // The cache took hold of the clock when it was loaded, so fake timers cannot replace it.
    const clock = vi.spyOn(performance, 'now').mockReturnValue(1);
    const sign = identitySigner(secret);
    const first = sign(identity);
    expect(sign({ ...identity })).toBe(first);
    expect(sign({ ...identity, subject: 'carol' })).not.toBe(first);
    vi.advanceTimersByTime(61_000);
    clock.mockReturnValue(61_000);
    expect(sign(identity)).not.toBe(first);
  });

  it('passes when put together by hand as the proxy does it, so that the refusals below have one reason each', () => {
    expect(verify(forge(header, claims()))).toEqual(identity);
  });

  it('is refused when another key signed it', () => {
    expectRefusal(identitySigner(randomBytes(32))(identity));
    expectRefusal(forge(header, claims(), secret));
    expectRefusal(forge(header, claims(), deriveKey(secret, 'uploads')));
  });

  it('is refused without a signature', () => {
    const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');
    expectRefusal(`${encode({ alg: 'none', typ: 'JWT' })}.${encode(claims())}.`);
    expectRefusal(`${encode(header)}.${encode(claims())}.`);
    expectRefusal(forge({ alg: 'none' }, claims()));
  });

  it('is refused when it brings the key along that it is to be checked with (CVE-2025-24976)', () => {
    const own = randomBytes(32);
    const jwk = { kty: 'oct', k: own.toString('base64url'), alg: 'HS256' };
    expectRefusal(forge({ ...header, kid: 'x', jwk }, claims(), own));
  });

  it('is refused with another algorithm of the same key', () => {
    expectRefusal(createSigner({ key: deriveKey(secret, 'identity'), algorithm: 'HS512' })(claims()));
  });

  it('is refused when it was changed', () => {
    const [head, , signature] = identitySigner(secret)(identity).split('.');
    const body = Buffer.from(JSON.stringify({ ...claims(), sub: 'admin' })).toString('base64url');
    expectRefusal(`${head ?? ''}.${body}.${signature ?? ''}`);
  });

  it('is refused for another audience or from another issuer', () => {
    expectRefusal(forge(header, { ...claims(), aud: 'somewhere-else' }));
    expectRefusal(forge(header, { ...claims(), iss: 'somebody-else' }));
  });

  it.each(['iss', 'aud', 'sub', 'access', 'exp'])('is refused without the claim %s', (name) => {
    expectRefusal(forge(header, Object.fromEntries(Object.entries(claims()).filter(([claim]) => claim !== name))));
  });

  it('is refused with claims of another shape', () => {
    expectRefusal(forge(header, { ...claims(), access: 'everything' }));
    expectRefusal(forge(header, { ...claims(), access: [{ type: 'repository', name: 'a', actions: 'push' }] }));
  });

  it('is refused when it has expired for longer than clocks may differ, although it was good before', () => {
    // A whole second, as the times in a token are.
    vi.useFakeTimers({ toFake: ['Date', 'setTimeout'], now: 1_800_000_000_000 });
    const clock = vi.spyOn(performance, 'now').mockReturnValue(1);
    const token = identitySigner(secret)(identity);
    expect(verify(token)).toEqual(identity);
    vi.advanceTimersByTime(359_500);
    clock.mockReturnValue(359_500);
    expect(verify(token)).toEqual(identity);
    vi.advanceTimersByTime(1_500);
    clock.mockReturnValue(361_000);
    expectRefusal(token);
  });

  it.each(['', 'x', '..', 'a.b.c', 'Bearer x'])('is refused when it is no token: %j', (token) => {
    expectRefusal(token);
  });
});
