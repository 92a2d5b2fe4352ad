import { createSigner, createVerifier } from 'fast-jwt';
import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import { OciError } from './oci-error.js';
import { accessSchema, type Access } from './permission.js';
import { deriveKey } from './secret.js';

/** Who asks, and what this request may do: what the proxy tells the registry. */
export interface Identity {
  /** The account; empty for somebody without one. */
  subject: string;
  access: readonly Access[];
}

const audience = 'wharfie-registry';
const issuer = 'wharfie-proxy';
const lifetimeSeconds = 300;
/** How long a token is handed out again: long before it ends, so that clocks may differ a little. */
const reuseMilliseconds = 60_000;
/** Milliseconds for which a token is taken after its end: clocks differ. */
export const clockTolerance = 60_000;
/** How long a token that was found good is not looked at again. */
const trustMilliseconds = 1_000;

const claims = z.object({
  sub: z.string(),
  access: z.array(accessSchema),
});

/**
 * Makes the tokens that travel from the proxy to the registry: HS256 with the claims of Docker's token specification.
 * https://distribution.github.io/distribution/spec/auth/jwt/
 */
export function identitySigner(secret: Buffer): (identity: Identity) => string {
  const sign = createSigner({
    key: deriveKey(secret, 'identity'),
    algorithm: 'HS256',
    expiresIn: lifetimeSeconds * 1000,
  });
  const tokens = new LRUCache<string, string>({ max: 10_000, ttl: reuseMilliseconds });
  return ({ subject, access }) => {
    const key = JSON.stringify([subject, access]);
    const known = tokens.get(key);
    if (known !== undefined) return known;
    const token = sign({ iss: issuer, aud: audience, sub: subject, access });
    tokens.set(key, token);
    return token;
  };
}

/**
 * Checks such tokens: signature, algorithm, issuer, audience and times.
 * @throws OciError UNAUTHORIZED for anything else
 */
export function identityVerifier(secret: Buffer): (token: string) => Identity {
  const verify = createVerifier({
    key: deriveKey(secret, 'identity'),
    algorithms: ['HS256'],
    allowedIss: issuer,
    allowedAud: audience,
    // fast-jwt compares issuer and audience only where a token has them.
    requiredClaims: ['iss', 'aud', 'exp', 'sub', 'access'],
    clockTolerance,
  });
  const identities = new LRUCache<string, Identity>({
    max: 10_000,
    ttl: trustMilliseconds,
    memoMethod: (token) => {
      const { sub, access } = claims.parse(verify(token));
      return { subject: sub, access };
    },
  });
  return (token) => {
    try {
      return identities.memo(token);
    } catch {
      throw new OciError(
        'UNAUTHORIZED',
        'this registry answers only requests that its proxy has signed; use the proxy’s address',
      );
    }
  };
}
