import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { NoThread, Threads } from './threads.js';

const folder = mkdtempSync(join(tmpdir(), 'threads-'));
const file = join(folder, 'work.mjs');
const threads = new Threads<number, number>({ module: pathToFileURL(file), most: 1, idleTimeout: 0 });

afterEach(async () => {
  await threads.destroy();
  rmSync(folder, { recursive: true });
});

test('threads that cannot start fail the work that waits, and nothing else; the next work gets one that can', async () => {
  writeFileSync(file, `throw new Error('cannot be loaded')`);
  const failed = await Promise.allSettled([threads.run(1), threads.run(2), threads.run(3)]);
  expect(failed.map((one) => one.status === 'rejected' && (one.reason as unknown))).toEqual(
    failed.map(() => expect.any(NoThread) as unknown),
  );

  writeFileSync(file, 'export default (number) => 2 * number');
  expect(await Promise.all([threads.run(2), threads.run(3)])).toEqual([4, 6]);
});
