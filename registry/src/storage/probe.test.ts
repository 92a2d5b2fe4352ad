import { expect, it } from 'vitest';
import { MemoryDriver } from './memory.js';
import { probeOf } from './probe.js';

const signal = new AbortController().signal;

it('a probe leaves one object at most where it cannot remove it, and says why the storage does not work', async () => {
  const storage = new MemoryDriver();
  const probe = probeOf(storage, 1000);
  storage.delete = () => Promise.reject(new Error('no'));
  for (let time = 0; time < 3; time += 1) expect(await probe()).toBe('the storage does not work: no');
  expect(await storage.list('wharfie/probe', '', 10, signal)).toHaveLength(1);
});

it('says so when the storage never answers, to whoever asks meanwhile as well', async () => {
  const storage = new MemoryDriver();
  storage.put = () => new Promise(() => undefined);
  const probe = probeOf(storage, 50);
  for (let time = 0; time < 2; time += 1) expect(await probe()).toBe('the storage does not work: no answer for 50 ms');
});

it('asked by many at once it works, and leaves nothing', async () => {
  const storage = new MemoryDriver();
  const probe = probeOf(storage, 1000);
  expect(await Promise.all(Array.from({ length: 20 }, probe))).toEqual(Array(20).fill(undefined));
  expect(await storage.list('wharfie/probe', '', 10, signal)).toEqual([]);
});
