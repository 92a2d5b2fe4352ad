import type { Logger } from '@wharfie/shared';
import { collectDefaultMetrics, listen, startAdminServer, stopOnSignals } from '@wharfie/shared';
import { serve } from './serve.js';
import type { RegistrySettings } from './settings.js';
import { probeOf } from './storage/probe.js';
import type { StorageDriver } from './storage/storage-driver.js';
import { Workers } from './workers.js';

const hour = 3_600_000;
const probeTimeout = 5_000;

/**
 * Runs the registry: serves, answers for its health, gathers the metrics of all its processes, and removes abandoned
 * uploads.
 * @throws SettingsError; then nothing is left listening
 */
export async function supervise(settings: RegistrySettings, logger: Logger): Promise<void> {
  for (const { setting, value, source } of settings.sources) logger.info(`${setting} = ${value} (${source})`);
  collectDefaultMetrics();
  const serving = await serve(settings, logger);
  const { server, storage } = serving;
  const workers = new Workers(server, settings, logger);
  await listen(workers.port, settings.registryListen, 'WHARFIE_REGISTRY_LISTEN');
  const admin = await startAdminServer(
    settings.registryAdminListen,
    'WHARFIE_REGISTRY_ADMIN_LISTEN',
    probeOf(storage, probeTimeout),
    () => workers.metrics(),
  );
  const stopPurging = purgeRegularly(storage, settings.uploadLifetime, logger);
  logger.info('ready');
  stopOnSignals(async (reason) => {
    logger.info({ reason }, `stopping; requests under way have ${settings.drain} s to end`);
    stopPurging();
    await Promise.all([workers.close(settings.drain), serving.close(settings.drain)]);
    admin.close();
    logger.info('stopped');
  });
  process.send?.({ ready: true });
}

/** Again and again, each time when the one before is over, until the returned function is called. */
function purgeRegularly(storage: StorageDriver, lifetime: number, logger: Logger): () => void {
  const abort = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const purge = async (): Promise<void> => {
    try {
      const purged = await storage.purge(new Date(Date.now() - lifetime), abort.signal);
      if (purged > 0) logger.info({ purged }, 'abandoned uploads were removed');
    } catch (error) {
      if (!abort.signal.aborted) logger.error({ err: error }, 'abandoned uploads could not be removed');
    }
    if (!abort.signal.aborted) timer = setTimeout(() => void purge(), Math.min(hour, lifetime));
  };
  void purge();
  return () => {
    clearTimeout(timer);
    abort.abort();
  };
}
