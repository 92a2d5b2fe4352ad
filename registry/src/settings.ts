import { availableParallelism } from 'node:os';
import { readSettings, settingsTable, swiftTable, type Environment } from '@wharfie/shared';

/** Connections that the first process serves before another is started: most registries never need a second one. */
const alone = 8;
/** The same where nobody asked for workers, and the proxy and one process fill all cores: a second one brings 15% there. */
const aloneOnTwoCores = 64;

/**
 * What the registry is told by its environment.
 * @throws SettingsError for the first value that is wrong
 */
export function registrySettings(environment: Environment = process.env) {
  const table = settingsTable(environment);
  const { settings, sources } = readSettings(
    {
      registryListen: table.registryListen,
      registryAdminListen: table.registryAdminListen,
      secretFile: table.secretFile,
      storage: table.storage,
      storageRoot: table.storageRoot,
      ...swiftTable,
      workers: table.workers,
      uploadLifetime: table.uploadLifetime,
      idleTimeout: table.idleTimeout,
      drain: table.drain,
      logLevel: table.logLevel,
      logFormat: table.logFormat,
    },
    environment,
  );
  // What is kept in a process's memory cannot be shared by several.
  const workers = settings.storage === 'memory' ? 1 : settings.workers;
  const asked = sources.some(({ setting, source }) => setting === 'WHARFIE_WORKERS' && source !== 'default');
  return { ...settings, workers, alone: asked || availableParallelism() > 2 ? alone : aloneOnTwoCores, sources };
}

export type RegistrySettings = ReturnType<typeof registrySettings>;
