import cluster, { type Worker } from 'node:cluster';
import type { AdminServer, Logger } from '@wharfie/shared';
import {
  AggregatorRegistry,
  SettingsError,
  collectProcessMetrics,
  createLogger,
  loadSecret,
  register,
  startAdminServer,
} from '@wharfie/shared';
import type { Serving } from './serve.js';
import type { RegistrySettings } from './settings.js';
import { createDriver } from './storage/create-driver.js';
import { unusable } from './storage/probe.js';
import type { StorageDriver } from './storage/storage-driver.js';

const hour = 3_600_000;
const probeTimeout = 5_000;

/**
 * Runs the registry: alone in this process, or as several that share the port. Beside that it answers for their health,
 * gathers their metrics, and removes abandoned uploads.
 * @throws SettingsError
 */
export async function supervise(settings: RegistrySettings): Promise<void> {
  const logger = createLogger('registry', { level: settings.logLevel, format: settings.logFormat });
  for (const { setting, value, source } of settings.sources) logger.info(`${setting} = ${value} (${source})`);
  const storage = await createDriver(settings);
  await loadSecret(settings.secretFile);
  collectProcessMetrics();
  const registry = settings.workers > 1 ? await startWorkers(settings.workers, logger) : await alone(settings, logger);
  let admin: AdminServer;
  try {
    admin = await startAdminServer(
      settings.registryAdminListen,
      'WHARFIE_REGISTRY_ADMIN_LISTEN',
      async () => registry.unready() ?? (await unusable(storage, AbortSignal.timeout(probeTimeout))),
      () => registry.metrics(),
    );
  } catch (error) {
    await registry.close(0);
    throw error;
  }
  const stopPurging = purgeRegularly(storage, settings.uploadLifetime * hour, logger);
  logger.info({ workers: settings.workers }, 'ready');
  stopOnSignals(async (reason) => {
    logger.info({ reason }, `stopping; requests under way have ${settings.drain} s to end`);
    stopPurging();
    await registry.close(settings.drain);
    admin.close();
    await storage.close();
    logger.info('stopped');
  });
  process.send?.({ ready: true });
}

/** Registry processes as the supervisor sees them. */
interface Registry extends Serving {
  /** Why requests cannot be served just now, or undefined. */
  unready(): string | undefined;
  metrics(): Promise<string>;
}

async function alone(settings: RegistrySettings, logger: Logger): Promise<Registry> {
  const { serve } = await import('./serve.js');
  const serving = await serve(settings, logger);
  return { close: (seconds) => serving.close(seconds), unready: () => undefined, metrics: () => register.metrics() };
}

type Message = { ready: true } | { failed: string };

/** Starts the workers and keeps as many running: one that dies is replaced. @throws SettingsError what a worker could not do */
async function startWorkers(count: number, logger: Logger): Promise<Registry> {
  const gatherer = new AggregatorRegistry();
  const ready = new Set<Worker>();
  let stopping = false;
  const start = async (): Promise<void> => {
    ready.add(await startWorker());
  };
  const stop = async (): Promise<void> => {
    stopping = true;
    const workers = Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined);
    await Promise.all(
      workers.map((worker) => {
        const gone = new Promise((resolve) => worker.once('exit', resolve));
        if (worker.isConnected()) worker.send('stop');
        return gone;
      }),
    );
  };
  cluster.on('exit', (worker, code, signal) => {
    if (!ready.delete(worker) || stopping) return;
    logger.error({ worker: worker.process.pid, code, signal }, 'a worker died; another takes its place');
    start().catch((error: unknown) => {
      logger.fatal({ err: error }, 'no worker can be started');
      process.exit(1);
    });
  });
  try {
    await Promise.all(Array.from({ length: count }, start));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    close: stop,
    unready: () => (ready.size > 0 ? undefined : 'no worker runs'),
    metrics: () => gatherer.clusterMetrics(),
  };
}

function startWorker(): Promise<Worker> {
  const worker: Worker = cluster.fork();
  return new Promise((resolve, reject) => {
    worker.on('message', (message: Message) => {
      if ('ready' in message) resolve(worker);
      if ('failed' in message) reject(failure(message.failed));
    });
    worker.once('exit', (code, signal) => {
      reject(new Error(`a worker ended at its start (${signal || code})`));
    });
  });
}

function failure(line: string): SettingsError {
  const [variable = '', ...reason] = line.split(': ');
  return new SettingsError(variable, reason.join(': '));
}

function purgeRegularly(storage: StorageDriver, lifetime: number, logger: Logger): () => void {
  const abort = new AbortController();
  const purge = async (): Promise<void> => {
    try {
      const purged = await storage.purge(new Date(Date.now() - lifetime), abort.signal);
      if (purged > 0) logger.info({ purged }, 'abandoned uploads were removed');
    } catch (error) {
      if (!abort.signal.aborted) logger.error({ err: error }, 'abandoned uploads could not be removed');
    }
  };
  void purge();
  const timer = setInterval(() => void purge(), Math.min(hour, lifetime));
  return () => {
    clearInterval(timer);
    abort.abort();
  };
}

function stopOnSignals(stop: (reason: string) => Promise<void>): void {
  let stopping = false;
  const once = (reason: string): void => {
    // Asked twice, nobody wants to wait.
    if (stopping) process.exit(1);
    stopping = true;
    void stop(reason).then(() => process.exit(0));
  };
  process.on('SIGTERM', once).on('SIGINT', once);
  // Who started us is gone, and with it the one that would tell us to stop.
  process.once('disconnect', () => {
    once('disconnect');
  });
}
