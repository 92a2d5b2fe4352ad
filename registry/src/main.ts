import cluster from 'node:cluster';
import { SettingsError } from '@wharfie/shared';
import { registrySettings } from './settings.js';

/** Workers are the same program. What only they need is loaded only there. */
try {
  const settings = registrySettings();
  if (cluster.isPrimary) await (await import('./supervisor.js')).supervise(settings);
  else await (await import('./worker.js')).work(settings);
} catch (error) {
  if (!(error instanceof SettingsError)) throw error;
  // A worker's failure is told once, by the primary.
  if (cluster.isPrimary) process.stderr.write(`wharfie registry: ${error.message}\n`);
  else process.send?.({ failed: error.message });
  process.exitCode = 1;
  if (cluster.isPrimary) process.exit(1);
  else process.disconnect();
}
