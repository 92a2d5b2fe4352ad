import type { Logger } from '@wharfie/shared';
import type { Htpasswd } from './htpasswd/file.js';
import type { Lock } from './htpasswd/guesses.js';
import type { Metrics } from './metrics.js';

/** Tells the log and the metrics of a wait. A name that is no account's is left out: it may be a password in the wrong field. */
export function guessReporter(
  accounts: { readonly current: Htpasswd },
  log: Logger,
  metrics: Metrics,
): (lock: Lock) => void {
  return ({ by, name, address, failures, seconds }) => {
    const user = accounts.current.users.has(name) ? name : undefined;
    log.warn({ by, ...(user !== undefined && { user }), address, failures, seconds }, 'too many wrong passwords');
    metrics.locked(by);
  };
}
