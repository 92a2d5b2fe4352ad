import { accessSchema, clockTolerance, deriveKey, type Access } from '@wharfie/shared';
import { createSigner, createVerifier } from 'fast-jwt';
import { createHmac } from 'node:crypto';
import { z } from 'zod';
import type { Asker } from '../access/decide.js';
import type { Htpasswd } from '../htpasswd/file.js';
import { saltOf } from '../htpasswd/password.js';

/** What a token proves. What it may do is `scope`, as far as the policy of the moment goes along. */
export interface Bearer {
  asker: Asker;
  scope: readonly Access[];
}

/** Seconds that a client may use a token for; no less than the minute of the specification. */
export const tokenLifetime = 300;

// Neither of them, nor the key, is one that the registry takes, and it is never forwarded: only the proxy reads these.
const audience = 'wharfie';
const refreshAudience = 'wharfie-refresh';
const issuer = 'wharfie-token';

const account = { sub: z.string(), password: z.string().optional() };
const accessClaims = z.object({
  ...account,
  access: z.array(accessSchema),
});
const refreshClaims = z.object(account);

/**
 * The tokens that clients carry, with the claims of Docker's token specification. Each is tied to the password that it
 * was given for: once the account is gone or its password another one, it proves nothing. Any proxy with the same secret
 * and the same htpasswd reads them. https://distribution.github.io/distribution/spec/auth/jwt/
 */
export class ClientTokens {
  readonly #passwordKey: Buffer;
  readonly #sign: (claims: object) => string;
  readonly #signRefresh: (claims: object) => string;
  readonly #verify: (token: string) => unknown;
  readonly #verifyRefresh: (token: string) => unknown;

  /** @param accounts read anew at every call */
  constructor(
    secret: Buffer,
    private readonly accounts: { readonly current: Htpasswd },
  ) {
    this.#passwordKey = deriveKey(secret, 'client token password');
    const key = deriveKey(secret, 'client token');
    const signing = { key, algorithm: 'HS256', iss: issuer } as const;
    this.#sign = createSigner({ ...signing, aud: audience, expiresIn: tokenLifetime * 1000 });
    this.#signRefresh = createSigner({ ...signing, aud: refreshAudience });
    const checking = {
      key,
      algorithms: ['HS256' as const],
      allowedIss: issuer,
      clockTolerance,
    };
    this.#verify = createVerifier({
      ...checking,
      allowedAud: audience,
      requiredClaims: ['iss', 'aud', 'exp', 'sub', 'access'],
    });
    this.#verifyRefresh = createVerifier({
      ...checking,
      allowedAud: refreshAudience,
      requiredClaims: ['iss', 'aud', 'sub', 'password'],
    });
  }

  /** A token for `access`, good for `tokenLifetime`. */
  issue(asker: Asker, access: readonly Access[]): string {
    return this.#sign({ ...this.#claims(asker), access });
  }

  /** A token that gets others, for as long as the account keeps its password, as the password itself would. */
  issueRefresh(name: string): string {
    return this.#signRefresh(this.#claims({ name }));
  }

  /** What `token` proves, or undefined when it proves nothing (any more). */
  read(token: string): Bearer | undefined {
    const claims = attempt(() => accessClaims.parse(this.#verify(token)));
    if (!claims) return undefined;
    if (claims.sub === '') return { asker: 'anonymous', scope: claims.access };
    return this.#stillGood(claims) ? { asker: { name: claims.sub }, scope: claims.access } : undefined;
  }

  /** The account that a token of `issueRefresh` stands for, or undefined. */
  readRefresh(token: string): string | undefined {
    const claims = attempt(() => refreshClaims.parse(this.#verifyRefresh(token)));
    return claims && this.#stillGood(claims) ? claims.sub : undefined;
  }

  #claims(asker: Asker): { sub: string; password?: string } {
    if (asker === 'anonymous') return { sub: '' };
    const password = this.#fingerprint(asker.name);
    return { sub: asker.name, ...(password !== undefined && { password }) };
  }

  #stillGood({ sub, password }: { sub: string; password?: string | undefined }): boolean {
    return password !== undefined && password === this.#fingerprint(sub);
  }

  #fingerprint(name: string): string | undefined {
    const hash = this.accounts.current.users.get(name)?.bcrypt?.hash;
    if (hash === undefined) return undefined;
    return createHmac('sha256', this.#passwordKey)
      .update(`${name}:${saltOf(hash)}`)
      .digest('base64url')
      .slice(0, 22);
  }
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
