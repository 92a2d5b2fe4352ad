import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { Intake } from './intake.js';
import { pieces } from './testing/driver-contract.js';

const never = new AbortController().signal;

async function rest(intake: Intake): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of intake.portion(Infinity)) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

describe('Intake', () => {
  it('gives all of a short source at once', async () => {
    const intake = new Intake(pieces('ab', 'cd'), never);
    expect((await intake.whole(4))?.toString()).toBe('abcd');
    expect(intake.ended).toBe(true);
    expect(intake.failure).toBeUndefined();
  });

  it('takes nothing of a longer one', async () => {
    const intake = new Intake(pieces('ab', 'cd', 'ef'), never);
    expect(await intake.whole(3)).toBeUndefined();
    expect(intake.ended).toBe(false);
    expect(await rest(intake)).toBe('abcdef');
  });

  it('is taken in portions that do not care for its pieces', async () => {
    const intake = new Intake(pieces('abc', 'defg', 'h'), never);
    expect((await intake.gather(2)).toString()).toBe('ab');
    expect((await intake.gather(3)).toString()).toBe('cde');
    expect((await intake.gather(99)).toString()).toBe('fgh');
    expect(intake.ended).toBe(true);
  });

  it('needs no more memory for bytes that come one by one', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const heap = (): number => {
      collect();
      return process.memoryUsage().heapUsed;
    };
    const before = heap();
    let during = 0;
    async function* single(): AsyncGenerator<Uint8Array> {
      for (let index = 0; index < 100_000; index += 1) yield await Promise.resolve(Buffer.of(index % 251));
      during = heap();
    }
    const gathered = await new Intake(single(), never).gather(1_000_000);
    expect(gathered).toHaveLength(100_000);
    expect(gathered.every((byte, index) => byte === index % 251)).toBe(true);
    expect(during - before).toBeLessThan(5_000_000);
  });

  it('keeps what came before its source failed', async () => {
    const failure = new Error('lost');
    const intake = new Intake(
      pieces('ab', () => Promise.reject(failure)),
      never,
    );
    expect((await intake.whole(9))?.toString()).toBe('ab');
    expect(intake.failure).toEqual({ error: failure });
  });

  it('ends when it is told to, also while its source gives nothing, and lets that go', async () => {
    const stop = new AbortController();
    let released = false;
    async function* silent(): AsyncGenerator<Uint8Array> {
      try {
        yield Buffer.from('ab');
        await new Promise((resolve) => setTimeout(resolve, 50));
        yield Buffer.from('late');
      } finally {
        released = true;
      }
    }
    const intake = new Intake(silent(), stop.signal);
    const taken = intake.whole(9);
    setTimeout(() => {
      stop.abort(new Error('told'));
    }, 5);
    expect((await taken)?.toString()).toBe('ab');
    expect(intake.failure).toEqual({ error: new Error('told') });
    intake.close();
    await expect.poll(() => released).toBe(true);
  });

  it('is told before it begins', async () => {
    const intake = new Intake(pieces('ab'), AbortSignal.abort(new Error('told')));
    expect(await intake.whole(9)).toHaveLength(0);
    expect(intake.failure).toEqual({ error: new Error('told') });
  });
});
