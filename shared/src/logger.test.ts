import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { describeWith } from '../../e2e/harness/requirements.js';

const logger = (format: string) => `
  import { createLogger } from ${JSON.stringify(new URL('../dist/logger.js', import.meta.url).href)};
  const logger = createLogger('registry', { level: 'info', format: '${format}' });`;

// Logs, and once its reader is gone logs again and ends.
const service = (format: string) => `
  ${logger(format)}
  logger.info('somebody reads this');
  process.once('message', () => {
    for (let line = 0; line < 3; line += 1) logger.info('nobody reads this');
    process.exit(7);
  });
  process.send('logged');`;

it.each(['json', 'pretty'])('a service ends as it would, when nobody reads its %s log any more', async (format) => {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', service(format)], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  await once(child, 'message');
  const { stdout } = child;
  if (!stdout) throw new Error('it has no standard output');
  stdout.destroy();
  await once(stdout, 'close');
  child.send('go on');
  expect(await once(child, 'exit')).toEqual([7, null]);
});

// Logs four megabytes to its standard output, then a little to the file that takes its place.
const crowded = (format: string, file: string) => `
  import { closeSync, openSync } from 'node:fs';
  ${logger(format)}
  logger.info('the first line');
  for (let line = 0; line < 4096; line += 1) logger.info('x'.repeat(1024));
  logger.fatal('a fatal line');
  closeSync(1);
  openSync(${JSON.stringify(file)}, 'w');
  for (const line of ['there is room', 'the last line']) logger.info(line);
  process.exit(7);`;

describeWith(['/dev/full'], 'on a full disk', () => {
  it.each(['json', 'pretty'])(
    'a service that logs %s goes on, keeps little, and logs again once there is room',
    async (format) => {
      const folder = mkdtempSync(join(tmpdir(), 'wharfie-log-'));
      const full = openSync('/dev/full', 'w');
      onTestFinished(() => {
        closeSync(full);
        rmSync(folder, { recursive: true });
      });
      const file = join(folder, 'log');
      const child = spawn(process.execPath, ['--input-type=module', '--eval', crowded(format, file)], {
        stdio: ['ignore', full, 'inherit'],
      });
      expect(await once(child, 'exit')).toEqual([7, null]);
      const text = readFileSync(file, 'utf8');
      expect(text).toContain('the first line');
      expect(text).toContain('the last line');
      expect(text.length).toBeLessThan(2 ** 21);
    },
  );
});
