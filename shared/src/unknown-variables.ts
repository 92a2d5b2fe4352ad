import type { Environment } from './setting.js';

/** A `WHARFIE_` variable that no service reads, and the name that was probably meant. */
export interface UnknownVariable {
  name: string;
  nearest?: string;
}

/** Most letters that may differ between a slip and the name that was meant. */
const farthest = 4;

/** The variables of `environment` that begin with `WHARFIE_` and that `known` does not hold. */
export function unknownVariables(environment: Environment, known: readonly string[]): UnknownVariable[] {
  return Object.keys(environment)
    .filter((name) => name.startsWith('WHARFIE_') && !known.includes(name))
    .map((name) => {
      const [nearest] = known
        .map((candidate) => ({ candidate, distance: distance(name, candidate) }))
        .filter((one) => one.distance <= farthest)
        .sort((a, b) => a.distance - b.distance);
      return { name, ...(nearest && { nearest: nearest.candidate }) };
    });
}

/** Letters to insert, remove or replace (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of Array.from(a).entries()) {
    const next = [i + 1];
    for (const [j, other] of Array.from(b).entries()) {
      const replaced = (row[j] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
