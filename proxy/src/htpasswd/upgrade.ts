import type { Logger } from '@wharfie/shared';
import { editFile } from '../files/replace-file.js';
import { parseHtpasswd, setHash, shown } from './file.js';
import { saltOf } from './password.js';

/** Puts better hashes in the place of weak ones, when their passwords are at hand. */
export interface Upgrade {
  /** Hashes of a lower cost, or of another kind than `htpasswd -B` writes, are replaced by one of this cost. */
  cost: number;
  /** Keeps `after` in the place of `before`, unless the account has got another hash meanwhile. */
  store(name: string, before: string, after: string): Promise<void>;
}

/** An upgrade of the htpasswd file at `path`. Where that cannot be written the log says so, and logins go on. */
export function upgradeFile(path: string, cost: number, log: Logger): Upgrade {
  return {
    cost,
    store: async (name, before, after) => {
      const replace = (text: string | undefined) => {
        if (text === undefined) throw new Error('it is gone');
        return parseHtpasswd(text).users.get(name)?.bcrypt?.hash === before ? setHash(text, name, after) : text;
      };
      try {
        if (await editFile(path, replace))
          log.info({ user: name, cost }, 'an account has a hash of the wanted cost now');
      } catch (error) {
        const { message } = error as Error;
        log.warn(`${path}: the hash of ${shown(name)} stays as it is, for the file cannot be replaced: ${message}`);
      }
    },
  };
}

/** The salt for a hash that is to replace `hash`, or undefined when that is good enough. */
export function betterSalt({ hash, cost }: { hash: string; cost: number }, wanted: number): string | undefined {
  if (cost >= wanted && hash.startsWith('$2y$')) return undefined;
  // The same random part: the password is no new one, so the tokens that were given for it stay good.
  const digits = String(Math.max(cost, wanted)).padStart(2, '0');
  return `$2b$${digits}$${saltOf(hash)}`;
}
