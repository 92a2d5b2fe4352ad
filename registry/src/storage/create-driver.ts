import { SettingsError } from '@wharfie/shared';
import type { RegistrySettings } from '../settings.js';
import { FilesystemDriver } from './filesystem.js';
import { MemoryDriver } from './memory.js';
import type { StorageDriver } from './storage-driver.js';

/** The storage that the settings name. @throws SettingsError when it cannot be used */
export async function createDriver({ storage, storageRoot }: RegistrySettings): Promise<StorageDriver> {
  if (storage === 'memory') return new MemoryDriver();
  if (storage === 'swift') throw new SettingsError('WHARFIE_STORAGE', 'swift is not built yet; use filesystem');
  try {
    return await FilesystemDriver.open(storageRoot);
  } catch (error) {
    throw new SettingsError(
      'WHARFIE_STORAGE_ROOT',
      `${storageRoot} cannot be used: ${(error as Error).message}; make it writable for this user`,
    );
  }
}
