import { expect, it, vi } from 'vitest';
import { thisBoot } from './boot.js';

it.runIf(process.platform === 'linux')('a start of the machine has one name, whichever process asks', async () => {
  vi.resetModules();
  expect((await import('./boot.js')).thisBoot).toBe(thisBoot);
});

it('has a name of its own in each process where the system does not tell', async () => {
  vi.resetModules();
  vi.doMock('node:fs', () => ({ readFileSync: () => readMissing() }));
  const one = (await import('./boot.js')).thisBoot;
  vi.resetModules();
  const two = (await import('./boot.js')).thisBoot;
  vi.doUnmock('node:fs');
  expect(one).toMatch(/^[\w-]{16}$/);
  expect(two).not.toBe(one);
});

function readMissing(): never {
  throw Object.assign(new Error(), { code: 'ENOENT' });
}
