import { Threads } from '@wharfie/shared';
import { LRUCache } from 'lru-cache';
import { hash as digest, randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import type { BcryptHash, Htpasswd } from './file.js';
import { Guesses } from './guesses.js';
import { NobodysHashes } from './nobody.js';
import { asApacheWrites, passwordProblem, saltOf } from './password.js';
import { betterSalt, type Upgrade } from './upgrade.js';
import { refuseBeside } from './waiting.js';

type BcryptWork = { password: string; hash: string } | { password: string; salt: string };

/** How long an idle thread stays, in milliseconds: the next one starts in less time than a check takes. */
const idleTimeout = 2_000;

export interface VerifierOptions {
  guesses?: Guesses;
  /** Replaces weak hashes; they stay as they are without it. */
  upgrade?: Upgrade | undefined;
  /** Whoever has the same one gives the names without an account the same costs. */
  nobodysKey?: Buffer;
}

/**
 * Says whether a password is right, at the speed of a hash table once it has been: bcrypt runs in worker threads only,
 * once for each pair of line and password. `file.current` is read at every call, so a changed line counts at the next
 * one.
 */
export class Verifier {
  /** Answers that needed no bcrypt, and bcrypt checks begun; for metrics. */
  cacheHits = 0;
  checks = 0;

  readonly #key = randomBytes(32).toString('hex');
  // Right passwords only: remembering wrong ones would let a stranger push the right ones out.
  readonly #verified = new LRUCache<string, true>({ max: 10_000, ttl: 3_600_000 });
  readonly #underWay = new Map<string, Promise<boolean>>();
  readonly #pool = new Threads<BcryptWork, boolean | string>({
    module: new URL('./bcrypt-worker.js', import.meta.url),
    most: Math.min(Math.max(availableParallelism() - 1, 1), 4),
    idleTimeout,
  });
  readonly #nobody: NobodysHashes;
  readonly #guesses: Guesses;
  readonly #upgrade: Upgrade | undefined;

  constructor(
    private readonly file: { readonly current: Htpasswd },
    { guesses = new Guesses(), upgrade, nobodysKey = randomBytes(32) }: VerifierOptions = {},
  ) {
    this.#guesses = guesses;
    this.#upgrade = upgrade;
    this.#nobody = new NobodysHashes(nobodysKey);
  }

  /** Checks that wait for a thread. */
  get queueSize(): number {
    return this.#pool.queueSize;
  }

  /**
   * Whether `password` is `name`'s. A name that is unknown, or whose line cannot be used, takes as long as a wrong
   * password. bcrypt would take any password that begins with the right 72 bytes, so one of more bytes is nobody's.
   * @param from the address that asks, at whose expense wrong passwords are; undefined when nobody is to be slowed down
   * @throws OciError TOOMANYREQUESTS when too many checks wait, or `from` has to wait after wrong passwords
   */
  async verify(name: string, password: string, from?: string): Promise<boolean> {
    const known = this.file.current.users.get(name)?.bcrypt;
    const hash = known?.hash ?? this.#nobody.hashOf(name, this.file.current);
    const pair = this.#pair(name, hash, password);
    // Before the look at what is known, which would tell a guesser who has to wait that a guess was right.
    if (from !== undefined) this.#guesses.refuseWhileLocked(name, from);
    if (this.#verified.has(pair)) {
      this.cacheHits++;
      if (from !== undefined) this.#guesses.succeeded(name, from);
      return true;
    }
    const check = () => this.#joined(pair, () => this.#check(name, password, known, hash));
    if (from === undefined) return check();
    return this.#joined(`${from} ${pair}`, () => this.#guesses.attempt(name, from, check));
  }

  /** Ends the threads; checks under way are rejected. */
  async destroy(): Promise<void> {
    await this.#pool.destroy();
  }

  #joined(key: string, work: () => Promise<boolean>): Promise<boolean> {
    const other = this.#underWay.get(key);
    if (other) return other;
    const check = work().finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, check);
    return check;
  }

  async #check(name: string, password: string, known: BcryptHash | undefined, hash: string): Promise<boolean> {
    if (passwordProblem(password)) return false;
    refuseBeside(this.queueSize);
    this.checks++;
    const matches = await this.#pool.run({ password, hash });
    // The password may have been changed while the old one was checked.
    if (!matches || known === undefined || !this.#isCurrent(name, hash)) return false;
    this.#verified.set(this.#pair(name, hash, password), true);
    void this.#replaceWeak(name, password, known);
    return true;
  }

  /** Never fails: the login is good in any case. */
  async #replaceWeak(name: string, password: string, known: BcryptHash): Promise<void> {
    const salt = this.#upgrade && betterSalt(known, this.#upgrade.cost);
    if (!this.#upgrade || salt === undefined) return;
    const better = await this.#pool.run({ password, salt }).catch(() => undefined);
    if (typeof better !== 'string') return;
    const hash = asApacheWrites(better);
    this.#verified.set(this.#pair(name, hash, password), true);
    await this.#upgrade.store(name, known.hash, hash);
  }

  /** Under what a right pair is remembered. Nobody outside of this process sees it, so it need not be an HMAC (docs/decisions/0007). */
  #pair(name: string, hash: string, password: string): string {
    return digest('sha256', `${this.#key}${name}:${hash}\0${password}`, 'base64');
  }

  #isCurrent(name: string, hash: string): boolean {
    const current = this.file.current.users.get(name)?.bcrypt?.hash;
    return current !== undefined && saltOf(current) === saltOf(hash);
  }
}
