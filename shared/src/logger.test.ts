import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from 'vitest';

// Logs, and once its reader is gone logs again and ends.
const service = (format: string) => `
  import { createLogger } from ${JSON.stringify(new URL('../dist/logger.js', import.meta.url).href)};
  const logger = createLogger('registry', { level: 'info', format: '${format}' });
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
