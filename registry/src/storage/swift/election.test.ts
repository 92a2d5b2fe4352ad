import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Registers } from './election.js';
import { Election } from './election.js';

interface Value {
  id: string;
}

const signal = new AbortController().signal;

/** Registers whose steps come in any order, as some of them take long; `dead` stops a process there for ever. */
function registersOf(shared: Map<string, Value>, dead: () => boolean = () => false): Registers<Value> {
  const step = async (): Promise<void> => {
    await delay(Math.random() < 0.12 ? 80 * Math.random() : 0);
    if (dead()) await new Promise(() => undefined);
  };
  return {
    read: async (register) => {
      await step();
      const content = shared.get(register);
      await step();
      return content;
    },
    write: async (register, content) => {
      await step();
      shared.set(register, content);
      await step();
    },
  };
}

/** Takes part as the favourite, or as anybody. */
function vote(registers: Registers<Value>, id: string, favourite: boolean): Promise<Value> {
  return new Election(registers, id, favourite).decide({ id }, new AbortController().signal);
}

describe('an election', () => {
  it('gives a favourite without rivals what it wants, by its proposal alone', async () => {
    const shared = new Map<string, Value>();
    const election = new Election(registersOf(shared), 'a', true);
    expect(await election.decide({ id: 'a' }, signal)).toEqual({ id: 'a' });
    expect(election.contested).toBe(false);
    expect([...shared.keys()]).toEqual(['0/proposal']);
  });

  it('gives anybody else without rivals what it wants, in one more round', async () => {
    const shared = new Map<string, Value>();
    const election = new Election(registersOf(shared), 'a', false);
    expect(await election.decide({ id: 'a' }, signal)).toEqual({ id: 'a' });
    expect(election.contested).toBe(true);
    expect([...shared.keys()].filter((register) => register.startsWith('2/'))).toEqual([]);
    expect(shared.get('decision')).toEqual({ id: 'a' });
  });

  it.each(['with', 'without'])('gives many at once the same one of them, %s a favourite', async (kind) => {
    const agree = async (many: number): Promise<void> => {
      const shared = new Map<string, Value>();
      const ids = Array.from({ length: many }, (_, index) => `candidate ${index}`);
      const winners = await Promise.all(
        ids.map(async (id, index) => {
          await delay(Math.random() * 6);
          return vote(registersOf(shared), id, kind === 'with' && index === 0);
        }),
      );
      expect(new Set(winners.map(({ id }) => id)).size).toBe(1);
      expect(ids).toContain(winners[0]?.id);
      expect(shared.get('decision')).toEqual(winners[0]);
    };
    // Few orders show what goes wrong, so there are many trials, side by side.
    await Promise.all(Array.from({ length: 300 }, (_, trial) => agree(2 + (trial % 5))));
  });

  it.each([
    ['a favourite', true],
    ['anybody', false],
  ])('waits for nobody, not for %s, and agrees with whatever that one decided', async (_, favourite) => {
    const agree = async (steps: number): Promise<void> => {
      const shared = new Map<string, Value>();
      let left = steps;
      let decided: Value | undefined;
      const dying = registersOf(shared, () => (left -= 1) < 0);
      void vote(dying, 'first', favourite).then((winner) => {
        decided = winner;
      });
      await delay(steps * 2);
      const second = await vote(registersOf(shared), 'second', false);
      const third = await vote(registersOf(shared), 'third', false);
      expect(third).toEqual(second);
      if (decided) expect(decided).toEqual(second);
    };
    await Promise.all(Array.from({ length: 30 }, (_, steps) => agree(steps)));
  });
});
