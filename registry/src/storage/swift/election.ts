import { setTimeout as delay } from 'node:timers/promises';

/** Small objects that everybody reads and overwrites as a whole. */
export interface Registers<T> {
  /** The newest content, or undefined. */
  read: (register: string) => Promise<T | undefined>;
  write: (register: string, content: T) => Promise<void>;
}

/** A candidate: `id` is its own and nobody else's. */
export interface Candidate {
  id: string;
}

/** The first pause between two rounds, in milliseconds; doubles. */
const firstPause = 20;
const longestPause = 2000;

/**
 * Agrees on one of several candidates without a compare-and-swap: everybody who returns returns the same one, whoever else
 * is slow, stops or dies at any point. It rests only on this: a read returns what the last write before it left.
 *
 * Rounds follow each other until one decides. In a round at most one is `alone` (Moir and Anderson's splitter: who wrote
 * `x`, found `y` empty, filled it, and finds its own mark in `x`, can have no equal). That one proposes its value and has
 * decided when nobody has reported a conflict by then. Everybody else reports a conflict first and takes over what is
 * proposed second: if the one alone did not see the report, they see its proposal, and no other value goes on to the next
 * round (Gafni's adopt-commit). What nobody can have without a compare-and-swap is a bound on the rounds: so they are
 * spread in time. One without rivals needs a single round.
 */
export class Election<V extends Candidate> {
  readonly #registers: Registers<V>;
  readonly #id: string;
  #entered: Promise<boolean>;

  /** Begins at once: the first half of the first round takes place while the caller prepares its candidate. */
  constructor(registers: Registers<V>, id: string) {
    this.#registers = registers;
    this.#id = id;
    this.#entered = this.#alone(0);
    this.#entered.catch(() => undefined);
  }

  /** The candidate that stands, for ever. It can be read from the register `decision` afterwards. */
  async decide(candidate: V, signal: AbortSignal): Promise<V> {
    const { read, write } = this.#registers;
    let value = candidate;
    for (let round = 0; ; round += 1) {
      if (await this.#entered) {
        await write(`${round}/proposal`, value);
        if ((await read(`${round}/conflict`)) === undefined) {
          await write('decision', value);
          return value;
        }
      } else {
        await write(`${round}/conflict`, value);
        value = (await read(`${round}/proposal`)) ?? value;
      }
      const decided = await read('decision');
      if (decided !== undefined) return decided;
      await delay(Math.random() * Math.min(firstPause * 2 ** round, longestPause), undefined, { signal });
      this.#entered = this.#alone(round + 1);
    }
  }

  async #alone(round: number): Promise<boolean> {
    const { read, write } = this.#registers;
    const mark = { id: this.#id } as V;
    await write(`${round}/x`, mark);
    if ((await read(`${round}/y`)) !== undefined) return false;
    await write(`${round}/y`, mark);
    return (await read(`${round}/x`))?.id === this.#id;
  }
}
