import { readSettings, settingsTable, swiftTable } from '@wharfie/shared';

type Environment = Readonly<Record<string, string | undefined>>;

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
      drain: table.drain,
      logLevel: table.logLevel,
      logFormat: table.logFormat,
    },
    environment,
  );
  // What is kept in a process's memory cannot be shared by several.
  const workers = settings.storage === 'memory' ? 1 : settings.workers;
  return { ...settings, workers, sources };
}

export type RegistrySettings = ReturnType<typeof registrySettings>;
