import { expect, it } from 'vitest';
import { giveBack, takeBuffer } from './buffer-pool.js';

const mebibyte = 1024 * 1024;

it('buffers that thousands hold on to stay within bounds, and are larger again afterwards', () => {
  const held = Array.from({ length: 10_000 }, takeBuffer);
  expect(held.reduce((sum, { length }) => sum + length, 0)).toBeLessThan(256 * mebibyte);
  expect(held.at(-1)?.length).toBe(16 * 1024);
  giveBack(...held);
  const again = Array.from({ length: 100 }, takeBuffer);
  expect(again.filter(({ length }) => length === mebibyte)).toHaveLength(16);
  expect(Math.min(...again.map(({ length }) => length))).toBe(128 * 1024);
  giveBack(...again);
});
