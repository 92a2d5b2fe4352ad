import { SettingsError } from '@wharfie/shared';
import type { RegistrySettings } from '../settings.js';
import { FilesystemDriver } from './filesystem/driver.js';
import { MemoryDriver } from './memory.js';
import type { StorageDriver } from './storage-driver.js';

/** The storage that the settings name. @throws SettingsError when it cannot be used */
export async function createDriver(settings: RegistrySettings): Promise<StorageDriver> {
  const { storage, storageRoot } = settings;
  if (storage === 'memory') return new MemoryDriver();
  // Loaded where it is wanted: with its HTTP client it costs every other registry 10 MB.
  if (storage === 'swift') return (await import('./swift/open.js')).openSwift(settings);
  try {
    return await FilesystemDriver.open(storageRoot);
  } catch (error) {
    throw new SettingsError(
      'WHARFIE_STORAGE_ROOT',
      `${storageRoot} cannot be used: ${(error as Error).message}; make it writable for this user`,
    );
  }
}
