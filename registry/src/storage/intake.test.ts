import { randomBytes } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { setTimeout as delay, setImmediate as immediate } from 'node:timers/promises';
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

  it('is taken in short portions while many others wait for slow clients', async () => {
    const content = randomBytes(200_000);
    const slow = () => pieces(content, () => new Promise(() => undefined));
    const others = Array.from({ length: 64 }, () => new Intake(slow(), never));
    const waiting = others.map((intake) => intake.gather(2 ** 20));
    expect(await new Intake(slow(), never).gather(2 ** 20)).toHaveLength(64 * 1024);
    for (const intake of others) intake.cutOff(new Error('enough'));
    for (const gathered of await Promise.all(waiting)) expect(gathered).toHaveLength(200_000);
    expect(await new Intake(pieces(content), never).gather(2 ** 20)).toHaveLength(200_000);
  });

  it('is taken in large pieces, however small those are that come', async () => {
    const intake = new Intake(pieces('ab', 'c', 'd', 'ef', 'g', 'hi', 'j'), never);
    const taken: string[] = [];
    for await (const piece of intake.pieces(7)) taken.push(piece.toString());
    expect(taken).toEqual(['abcdefg']);
    expect(await rest(intake)).toBe('hij');
  });

  it('is taken in pieces that are no larger than a buffer, and lose nothing between them', async () => {
    const content = randomBytes(2_500_000);
    const intake = new Intake(pieces('ab', content, 'yz'), never);
    const taken: Buffer[] = [];
    for await (const piece of intake.pieces(Infinity)) taken.push(Buffer.from(piece));
    expect(taken.map(({ length }) => length)).toEqual([2 ** 20, 2 ** 20, 2_500_004 - 2 * 2 ** 20]);
    expect(Buffer.concat(taken).equals(Buffer.concat([Buffer.from('ab'), content, Buffer.from('yz')]))).toBe(true);
  });

  it('passes on what came a second ago, and loses nothing of what it waited for', async () => {
    let passedOn = false;
    async function* waiting(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('ab');
      while (!passedOn) await delay(10);
      yield Buffer.from('cd');
    }
    const taken: string[] = [];
    for await (const piece of new Intake(waiting(), never).pieces(99)) {
      taken.push(piece.toString());
      passedOn = true;
    }
    expect(taken).toEqual(['ab', 'cd']);
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

  it('is cut off, also while its source gives nothing', async () => {
    const intake = new Intake(
      pieces('ab', () => new Promise(() => undefined)),
      never,
    );
    const taken = intake.whole(9);
    await immediate();
    intake.cutOff(new Error('of no use'));
    expect((await taken)?.toString()).toBe('ab');
    expect(intake.failure).toEqual({ error: new Error('of no use') });
    expect(await rest(intake)).toBe('');
  });

  it('is told before it begins', async () => {
    const intake = new Intake(pieces('ab'), AbortSignal.abort(new Error('told')));
    expect(await intake.whole(9)).toHaveLength(0);
    expect(intake.failure).toEqual({ error: new Error('told') });
  });
});
