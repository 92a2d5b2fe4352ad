import { Counter, Gauge, requestCounter, type Answered, type Registry } from '@wharfie/shared';
import type { Login } from './exchange.js';
import type { CountedBy } from './htpasswd/guesses.js';
import type { Verifier } from './htpasswd/verifier.js';
import { nameOf, type Upstreams } from './upstreams.js';

export interface Measured extends Answered {
  login: Login;
  bytesIn: number;
  bytesOut: number;
}

export interface Metrics {
  count(measured: Measured): void;
  /** Counts a wait that wrong passwords brought about. */
  locked(by: CountedBy): void;
  /** A changed htpasswd or access.yml was taken, or was wrong. */
  reloaded(file: 'htpasswd' | 'access.yml', outcome: 'taken' | 'refused'): void;
}

/** The proxy's own metrics, in `register`. Labels take few values: a repository or a user never is one. */
export function createMetrics(register: Registry): Metrics {
  const registers = [register];
  const countRequest = requestCounter('proxy', register);
  const bytes = new Counter({
    name: 'wharfie_proxy_body_bytes_total',
    help: 'Bytes of bodies, in: from clients, out: to clients',
    labelNames: ['direction'],
    registers,
  });
  const logins = new Counter({
    name: 'wharfie_proxy_logins_total',
    help: 'Requests by what their credentials proved',
    labelNames: ['outcome'],
    registers,
  });
  const locks = new Counter({
    name: 'wharfie_proxy_login_locks_total',
    help: 'Waits that too many wrong passwords brought about, by what was counted',
    labelNames: ['by'],
    registers,
  });
  const reloads = new Counter({
    name: 'wharfie_proxy_reloads_total',
    help: 'Contents of htpasswd and access.yml that came into force, the first included, or were refused',
    labelNames: ['file', 'outcome'],
    registers,
  });
  return {
    locked: (by) => {
      locks.inc({ by });
    },
    reloaded: (file, outcome) => {
      reloads.inc({ file, outcome });
    },
    count: ({ login, bytesIn, bytesOut, ...answered }) => {
      countRequest(answered);
      bytes.inc({ direction: 'in' }, bytesIn);
      bytes.inc({ direction: 'out' }, bytesOut);
      logins.inc({ outcome: login });
    },
  };
}

/** Metrics of the passwords that are checked, in `register`. */
export function observePasswords(passwords: Verifier, register: Registry): void {
  const registers = [register];
  /** What the verifier counts itself. */
  const mirror = (name: string, help: string, counted: () => number) =>
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(counted());
      },
    });
  mirror('wharfie_proxy_bcrypt_checks_total', 'Passwords checked by bcrypt', () => passwords.checks);
  mirror(
    'wharfie_proxy_password_cache_hits_total',
    'Passwords known to be right without bcrypt',
    () => passwords.cacheHits,
  );
  new Gauge({
    name: 'wharfie_proxy_bcrypt_queue',
    help: 'Password checks that wait for a thread',
    registers,
    collect() {
      this.set(passwords.queueSize);
    },
  });
}

/** Metrics of the connections on both sides, in `register`. @param connections how many clients are connected now */
export function observeConnections(upstreams: Upstreams, connections: () => Promise<number>, register: Registry): void {
  const registers = [register];
  new Gauge({
    name: 'wharfie_proxy_connections',
    help: 'Connections from clients',
    registers,
    async collect() {
      this.set(await connections());
    },
  });
  new Gauge({
    name: 'wharfie_proxy_registry_up',
    help: 'Whether a registry gets requests',
    labelNames: ['registry'],
    registers,
    collect() {
      for (const upstream of upstreams.all) this.set({ registry: nameOf(upstream) }, upstreams.isUp(upstream) ? 1 : 0);
    },
  });
}
