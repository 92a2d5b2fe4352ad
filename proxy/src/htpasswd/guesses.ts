import { OciError } from '@wharfie/shared';
import { LRUCache } from 'lru-cache';
import { hash } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { refuseBeside } from './waiting.js';

/** What wrong passwords are counted by: an address at one account, an address at all of them, an account from anywhere. */
export type CountedBy = 'login' | 'address' | 'account';

/** Wrong passwords that nobody has to wait for, and the longest wait after more of them, in seconds. */
const limits: Record<CountedBy, { free: number; longest: number }> = {
  login: { free: 10, longest: 900 },
  // Behind one address there may be many people.
  address: { free: 30, longest: 900 },
  // Short, because it also stops somebody who mistyped while others guess.
  account: { free: 20, longest: 60 },
};

/** Counters of each kind, however many names and addresses are tried; the oldest are forgotten first. */
const maxCounters = 20_000;
/** How long after the last wrong password it is forgotten how many there were, in milliseconds. */
const memory = 3_600_000;
/** How long an address is known to be one that an account logs in from, in milliseconds. */
const acquaintance = 30 * 24 * 3_600_000;

interface Counter {
  by: CountedBy;
  failures: number;
  /** Nothing is checked before this time, in milliseconds since 1970. */
  lockedUntil: number;
  underWay: number;
  /** Those who wait until fewer are under way. */
  waiting: (() => void)[];
}

/** A wait that began with a wrong password, for the log and the metrics. */
export interface Lock {
  by: CountedBy;
  name: string;
  address: string;
  failures: number;
  seconds: number;
}

/**
 * Slows down who guesses passwords, and nobody else: each wrong password too many doubles the wait, during which nothing
 * is checked. An address that an account has logged in from answers for nothing but its own mistakes with that account;
 * any other answers for all its mistakes, and for those of others with an account once it has made one there too. So the
 * right password from an address that did not guess is always let in. docs/decisions/0021 has the reasons.
 */
export class Guesses {
  readonly #counters: Record<CountedBy, LRUCache<string, Counter>> = {
    login: counters(),
    address: counters(),
    account: counters(),
  };
  readonly #known = new LRUCache<string, true>({ max: maxCounters, ttl: acquaintance });
  #waiting = 0;

  /** @param onLock called whenever a wait begins */
  constructor(private readonly onLock: (lock: Lock) => void = () => undefined) {}

  /** Everything that is remembered; bounded. */
  get size(): number {
    const caches = [...Object.values(this.#counters), this.#known];
    return caches.reduce((sum, { size }) => sum + size, 0);
  }

  /** @throws OciError TOOMANYREQUESTS while `name` may not be tried from `address` */
  refuseWhileLocked(name: string, address: string): void {
    this.#refuse(keysOf(name, address));
  }

  #refuse(keys: Keys): void {
    const until = Math.max(...this.#deciding(keys).map((by) => this.#counters[by].get(keys[by])?.lockedUntil ?? 0));
    const seconds = Math.ceil((until - Date.now()) / 1000);
    if (seconds <= 0) return;
    const message = `there were too many wrong passwords: wait ${seconds} s, then try again`;
    throw new OciError('TOOMANYREQUESTS', message, undefined, { 'Retry-After': String(seconds) });
  }

  /** Notes that `name` has logged in from `address`. */
  succeeded(name: string, address: string): void {
    this.#succeeded(keysOf(name, address));
  }

  #succeeded({ login }: Keys): void {
    this.#counters.login.delete(login);
    this.#known.set(login, true);
  }

  /**
   * Runs `check`, which says whether the password is right, and counts when it is not. No more run at once than may fail:
   * guesses side by side win nothing over guesses in a row.
   * @throws OciError TOOMANYREQUESTS
   */
  async attempt(name: string, address: string, check: () => Promise<boolean>): Promise<boolean> {
    const keys = keysOf(name, address);
    const deciding = await this.#enter(keys);
    try {
      const right = await check();
      if (right) this.#succeeded(keys);
      else this.#failed(name, keys);
      return right;
    } finally {
      for (const counter of deciding) {
        counter.underWay--;
        for (const wake of counter.waiting.splice(0)) wake();
      }
    }
  }

  /** Waits until the attempt may be under way, and counts it so in the same moment. */
  async #enter(keys: Keys): Promise<Counter[]> {
    for (;;) {
      this.#refuse(keys);
      const deciding = this.#deciding(keys).map((by) => this.#counter(by, keys));
      const full = deciding.find(({ by, failures, underWay }) => underWay >= Math.max(limits[by].free - failures, 1));
      if (!full) {
        for (const counter of deciding) counter.underWay++;
        return deciding;
      }
      refuseBeside(this.#waiting);
      this.#waiting++;
      await new Promise<void>((wake) => full.waiting.push(wake));
      this.#waiting--;
    }
  }

  #failed(name: string, keys: Keys): void {
    for (const by of kinds) {
      const counter = this.#counter(by, keys);
      const { free, longest } = limits[by];
      counter.failures++;
      // Renews the time after which it is forgotten.
      this.#counters[by].set(keys[by], counter);
      if (counter.failures < free) continue;
      const seconds = Math.min(2 ** (counter.failures - free), longest);
      counter.lockedUntil = Date.now() + seconds * 1000;
      this.onLock({ by, name, address: keys.address, failures: counter.failures, seconds });
    }
  }

  /** What says whether the name may be tried from the address. */
  #deciding({ login }: Keys): readonly CountedBy[] {
    if (this.#known.has(login)) return ['login'];
    return (this.#counters.login.get(login)?.failures ?? 0) > 0 ? kinds : ['login', 'address'];
  }

  #counter(by: CountedBy, keys: Keys): Counter {
    const there = this.#counters[by].get(keys[by]);
    if (there) return there;
    const counter = { by, failures: 0, lockedUntil: 0, underWay: 0, waiting: [] };
    this.#counters[by].set(keys[by], counter);
    return counter;
  }
}

/** The name of each counter of an attempt. */
type Keys = Record<CountedBy, string>;

const kinds = Object.keys(limits) as CountedBy[];

function counters(): LRUCache<string, Counter> {
  return new LRUCache({ max: maxCounters, ttl: memory });
}

function keysOf(name: string, address: string): Keys {
  // Names are as long as their senders like.
  const account = name.length <= 64 ? `=${name}` : hash('sha256', name, 'base64');
  const network = networkOf(address);
  return { login: `${network} ${account}`, address: network, account };
}

/** What one client can take any address of: an IPv4 address itself, of IPv6 the /64 that networks are given out as. */
export function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const first = head === '' ? [] : head.split(':');
  const last = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: 8 - first.length - last.length }, () => '0');
  return `${[...first, ...zeros, ...last].slice(0, 4).join(':')}::/64`;
}
