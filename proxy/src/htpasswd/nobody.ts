import { createHmac, randomBytes } from 'node:crypto';
import type { Htpasswd } from './file.js';

const usualCost = 10;

/**
 * Hashes of no password, for names without an account. Each name gets the cost of some account: so how long a check takes
 * tells nobody which names there are, not even where their costs differ. It is always the same one, with one key, and stays
 * that of most names when an account comes or goes: a cost that changes would tell as much.
 */
export class NobodysHashes {
  readonly #rest = randomBytes(40).toString('base64').replaceAll('+', '.').slice(0, 53);
  #costs: { file: Htpasswd; all: number[] } | undefined;

  constructor(private readonly key: Buffer) {}

  hashOf(name: string, file: Htpasswd): string {
    if (this.#costs?.file !== file) this.#costs = { file, all: costsOf(file) };
    const { all } = this.#costs;
    const place = createHmac('sha256', this.key).update(name).digest().readUInt32BE() / 2 ** 32;
    return `$2y$${String(all[Math.floor(place * all.length)] ?? usualCost).padStart(2, '0')}$${this.#rest}`;
  }
}

function costsOf({ users }: Htpasswd): number[] {
  const costs = [...users.values()].flatMap(({ bcrypt }) => (bcrypt ? [bcrypt.cost] : []));
  return costs.sort((one, two) => one - two);
}
