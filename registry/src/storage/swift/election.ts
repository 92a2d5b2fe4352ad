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

/** Where a participant stands when it comes with its candidate. */
interface Standing<V> {
  round: number;
  /** Nobody else is alone in this round. */
  alone: boolean;
  adopted?: V | undefined;
  decided?: V | undefined;
}

/** The first pause between two rounds, in milliseconds; doubles. */
const firstPause = 20;
const longestPause = 2000;

/**
 * Agrees on one of several candidates without a compare-and-swap: everybody who returns returns the same one, whoever else
 * is slow, stops or dies at any point. It rests only on this: a read returns what the last write before it left.
 *
 * Rounds follow each other until one decides. In a round at most one is `alone`. That one proposes its value and has
 * decided when nobody has reported a conflict by then. Everybody else reports a conflict first and takes over what is
 * proposed second: if the one alone did not see the report, they see its proposal, and no other value goes on to the next
 * round (Gafni's adopt-commit). What nobody can have without a compare-and-swap is a bound on the rounds: so they are
 * spread in time.
 *
 * Alone in the first round is the favourite, if there is one: the caller promises that there are never two. It needs one
 * write and one read. In the others it is who wrote `x`, found `y` empty, filled it, and finds its own mark in `x` (Moir
 * and Anderson's splitter).
 */
export class Election<V extends Candidate> {
  readonly #registers: Registers<V>;
  readonly #mark: V;
  readonly #standing: Promise<Standing<V>>;
  /** Done when others can see that this one takes part. The favourite leaves no mark before its proposal. */
  readonly marked: Promise<void>;
  /** Whether more than the favourite's proposal was needed. */
  contested = true;

  /** Begins at once: what does not need the candidate takes place while the caller prepares it. */
  constructor(registers: Registers<V>, id: string, favourite: boolean) {
    this.#registers = registers;
    this.#mark = { id } as V;
    this.marked = favourite ? Promise.resolve() : registers.write('0/conflict', this.#mark);
    this.#standing = favourite ? Promise.resolve({ round: 0, alone: true }) : this.#standAside();
    this.#standing.catch(() => undefined);
  }

  /** The candidate that stands, for ever. The register `decision` has it too, unless the favourite met nobody. */
  async decide(candidate: V, signal: AbortSignal): Promise<V> {
    const { read, write } = this.#registers;
    const { round: first, alone: isAlone, adopted, decided: known } = await this.#standing;
    if (known !== undefined) return known;
    let value = adopted ?? candidate;
    for (let round = first, alone = isAlone; ; alone = await this.#alone(round)) {
      if (alone) {
        await write(`${round}/proposal`, value);
        if ((await read(`${round}/conflict`)) === undefined) {
          this.contested = round > 0;
          if (this.contested) await write('decision', value);
          return value;
        }
      } else {
        await write(`${round}/conflict`, this.#mark);
        value = (await read(`${round}/proposal`)) ?? value;
      }
      const decided = await read('decision');
      if (decided !== undefined) return decided;
      await delay(Math.random() * Math.min(firstPause * 2 ** round, longestPause), undefined, { signal });
      round += 1;
    }
  }

  /** The first round of one who is not the favourite, and the start of the second. */
  async #standAside(): Promise<Standing<V>> {
    const { read } = this.#registers;
    await this.marked;
    const adopted = await read('0/proposal');
    const decided = await read('decision');
    return { round: 1, alone: decided === undefined && (await this.#alone(1)), adopted, decided };
  }

  async #alone(round: number): Promise<boolean> {
    const { read, write } = this.#registers;
    await write(`${round}/x`, this.#mark);
    if ((await read(`${round}/y`)) !== undefined) return false;
    await write(`${round}/y`, this.#mark);
    return (await read(`${round}/x`))?.id === this.#mark.id;
  }
}
