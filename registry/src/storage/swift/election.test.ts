import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Registers } from './election.js';
import { Election } from './election.js';

interface Value {
  id: string;
}

const signal = new AbortController().signal;

/** Registers whose every step is yielded to others at random; `dead` stops a process there for ever. */
function registersOf(shared: Map<string, Value>, dead: () => boolean = () => false): Registers<Value> {
  const step = async (): Promise<void> => {
    await delay(Math.random() * 3);
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

describe('an election', () => {
  it('gives one without rivals what it wants, in one round', async () => {
    const shared = new Map<string, Value>();
    const winner = await new Election(registersOf(shared), 'a').decide({ id: 'a' }, signal);
    expect(winner).toEqual({ id: 'a' });
    expect([...shared.keys()].filter((register) => register.startsWith('1/'))).toEqual([]);
    expect(shared.get('decision')).toEqual({ id: 'a' });
  });

  it('gives many at once the same one of them', async () => {
    for (let trial = 0; trial < 30; trial += 1) {
      const shared = new Map<string, Value>();
      const ids = Array.from({ length: 2 + (trial % 5) }, (_, index) => `candidate ${index}`);
      const winners = await Promise.all(ids.map((id) => new Election(registersOf(shared), id).decide({ id }, signal)));
      expect(new Set(winners.map(({ id }) => id)).size).toBe(1);
      expect(ids).toContain(winners[0]?.id);
      expect(shared.get('decision')).toEqual(winners[0]);
    }
  });

  it('waits for nobody who stopped on the way, and agrees with whatever that one decided', async () => {
    for (let steps = 0; steps < 26; steps += 1) {
      const shared = new Map<string, Value>();
      let left = steps;
      let decided: Value | undefined;
      const first = new Election(
        registersOf(shared, () => (left -= 1) < 0),
        'first',
      );
      void first.decide({ id: 'first' }, signal).then((winner) => {
        decided = winner;
      });
      await delay(steps * 2);
      const second = await new Election(registersOf(shared), 'second').decide({ id: 'second' }, signal);
      const third = await new Election(registersOf(shared), 'third').decide({ id: 'third' }, signal);
      expect(third).toEqual(second);
      if (decided) expect(decided).toEqual(second);
    }
  });
});
