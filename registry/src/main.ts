import { SettingsError, createLogger } from '@wharfie/shared';
import { probe } from './probe.js';
import { registrySettings } from './settings.js';
import { supervise } from './supervisor.js';
import { work } from './worker.js';

try {
  const settings = registrySettings();
  const logger = createLogger('registry', { level: settings.logLevel, format: settings.logFormat });
  if (process.argv.includes('--probe')) {
    const missing = await probe(settings);
    if (missing !== undefined) process.stdout.write(`${missing}\n`);
  } else await (process.argv.includes('--worker') ? work : supervise)(settings, logger);
} catch (error) {
  if (!(error instanceof SettingsError)) throw error;
  process.stderr.write(`wharfie registry: ${error.message}\n`);
  process.exit(1);
}
