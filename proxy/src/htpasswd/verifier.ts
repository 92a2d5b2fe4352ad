import { OciError } from '@wharfie/shared';
import { LRUCache } from 'lru-cache';
import { createHmac, randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';
import type { Htpasswd } from './file.js';
import { passwordProblem, saltOf } from './password.js';

/** Checks that may wait for a thread; at cost 10 one thread does some twenty a second. */
const maxWaiting = 1000;

/** How long an idle thread stays, in milliseconds: the next one starts in less time than a check takes. */
const idleTimeout = 2_000;

/**
 * Says whether a password is right, at the speed of a hash table once it has been: bcrypt runs in worker threads only,
 * once for each pair of line and password. `file.current` is read at every call, so a changed line counts at the next
 * one.
 */
export class Verifier {
  /** Answers that needed no bcrypt, and bcrypt checks begun; for metrics. */
  cacheHits = 0;
  checks = 0;

  readonly #key = randomBytes(32);
  // Right passwords only: remembering wrong ones would let a stranger push the right ones out.
  readonly #verified = new LRUCache<string, true>({ max: 10_000, ttl: 3_600_000 });
  readonly #underWay = new Map<string, Promise<boolean>>();
  readonly #pool = new Piscina<{ password: string; hash: string }, boolean>({
    filename: fileURLToPath(new URL('./bcrypt-worker.js', import.meta.url)),
    minThreads: 0,
    maxThreads: Math.min(Math.max(availableParallelism() - 1, 1), 4),
    idleTimeout,
  });
  #dummy: { file: Htpasswd; hash: string } | undefined;

  constructor(private readonly file: { readonly current: Htpasswd }) {}

  /** Checks that wait for a thread. */
  get queueSize(): number {
    return this.#pool.queueSize;
  }

  /**
   * Whether `password` is `name`'s. A name that is unknown, or whose line cannot be used, takes as long as a wrong
   * password. bcrypt would take any password that begins with the right 72 bytes, so one of more bytes is nobody's.
   * @throws OciError TOOMANYREQUESTS when too many checks wait
   */
  async verify(name: string, password: string): Promise<boolean> {
    if (passwordProblem(password)) return false;
    const known = this.file.current.users.get(name)?.bcrypt;
    const hash = known?.hash ?? this.#dummyHash();
    const pair = createHmac('sha256', this.#key).update(`${name}:${hash}\0${password}`).digest('base64');
    if (this.#verified.has(pair)) {
      this.cacheHits++;
      return true;
    }
    const matches = await this.#joined(pair, hash, password);
    // The password may have been changed while the old one was checked.
    const right = matches && known !== undefined && this.#isCurrent(name, known.hash);
    if (right) this.#verified.set(pair, true);
    return right;
  }

  /** Ends the threads; checks under way are rejected. */
  async destroy(): Promise<void> {
    await this.#pool.destroy();
  }

  async #joined(pair: string, hash: string, password: string): Promise<boolean> {
    const other = this.#underWay.get(pair);
    if (other) return other;
    if (this.queueSize >= maxWaiting) {
      const message = 'more logins are being checked than this server can do at once: try again in a few seconds';
      throw new OciError('TOOMANYREQUESTS', message, undefined, { 'Retry-After': '5' });
    }
    this.checks++;
    const check = this.#pool.run({ password, hash }).finally(() => this.#underWay.delete(pair));
    this.#underWay.set(pair, check);
    return check;
  }

  #isCurrent(name: string, hash: string): boolean {
    const current = this.file.current.users.get(name)?.bcrypt?.hash;
    return current !== undefined && saltOf(current) === saltOf(hash);
  }

  /** A hash of no password, of the commonest cost in the file, so that timing tells names from nothing. */
  #dummyHash(): string {
    const file = this.file.current;
    if (this.#dummy?.file !== file) this.#dummy = { file, hash: randomHash(commonestCost(file)) };
    return this.#dummy.hash;
  }
}

function commonestCost({ users }: Htpasswd): number {
  const counts = new Map<number, number>();
  for (const { bcrypt } of users.values()) {
    if (bcrypt) counts.set(bcrypt.cost, (counts.get(bcrypt.cost) ?? 0) + 1);
  }
  const [commonest] = [...counts].sort(([, a], [, b]) => b - a);
  return commonest?.[0] ?? 10;
}

function randomHash(cost: number): string {
  const text = randomBytes(40).toString('base64').replaceAll('+', '.').slice(0, 53);
  return `$2y$${String(cost).padStart(2, '0')}$${text}`;
}
