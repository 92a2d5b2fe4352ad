import { createHmac, randomBytes } from 'node:crypto';
import type { Htpasswd } from './file.js';

const usualCost = 10;

/**
 * Hashes of no password, for names without an account. Each name gets the cost of some account, always the same one:
 * so how long a check takes tells nobody which names there are, not even where their costs differ.
 */
export class NobodysHashes {
  readonly #key = randomBytes(32);
  readonly #rest = randomBytes(40).toString('base64').replaceAll('+', '.').slice(0, 53);
  #costs: { file: Htpasswd; all: number[] } | undefined;

  hashOf(name: string, file: Htpasswd): string {
    if (this.#costs?.file !== file) this.#costs = { file, all: costsOf(file) };
    const { all } = this.#costs;
    const chosen = createHmac('sha256', this.#key).update(name).digest().readUInt32BE() % Math.max(all.length, 1);
    return `$2y$${String(all[chosen] ?? usualCost).padStart(2, '0')}$${this.#rest}`;
  }
}

function costsOf({ users }: Htpasswd): number[] {
  return [...users.values()].flatMap(({ bcrypt }) => (bcrypt ? [bcrypt.cost] : []));
}
