import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { parseHtpasswd } from './file.js';
import { NobodysHashes } from './nobody.js';

const rest = '.'.repeat(53);
const names = Array.from({ length: 1000 }, (_, index) => `name ${index}`);
const key = randomBytes(32);
const costs = (lines: string[]) => {
  const [file, hashes] = [parseHtpasswd(lines.join('')), new NobodysHashes(key)];
  return names.map((name) => {
    const hash = hashes.hashOf(name, file);
    // The same name takes as long every time.
    expect(hashes.hashOf(name, file)).toBe(hash);
    return Number(/^\$2y\$(\d\d)\$[./A-Za-z0-9]{53}$/.exec(hash)?.[1]);
  });
};

test('names without an account have the costs of the accounts, in their proportion', () => {
  const three = ['a', 'b', 'c'].map((name) => `${name}:$2y$10$${rest}\n`);
  expect(new Set(costs(three))).toEqual(new Set([10]));
  const mixed = costs([...three, `d:$2y$12$${rest}\n`, 'e:no hash\n']);
  expect(new Set(mixed)).toEqual(new Set([10, 12]));
  const rare = mixed.filter((cost) => cost === 12).length;
  expect(rare).toBeGreaterThan(150);
  expect(rare).toBeLessThan(350);
});

test('names have a cost where there is no account at all', () => {
  expect(new Set(costs([]))).toEqual(new Set([10]));
});

test('a cost stays that of a name, for all who share a key, and for most names when an account comes', () => {
  const line = (name: string, cost: number) => `${name}:$2y$${cost}$${rest}\n`;
  const lines = [line('a', 12), line('b', 10), line('c', 12), line('d', 10), line('e', 10)];
  const before = costs(lines);
  expect(costs(lines.toReversed())).toEqual(before);
  const after = costs([line('f', 10), ...lines]);
  expect(after.filter((cost, index) => cost !== before[index]).length).toBeLessThan(150);
});
