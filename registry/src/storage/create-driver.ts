import { SettingsError } from '@wharfie/shared';
import type { RegistrySettings } from '../settings.js';
import { FilesystemDriver } from './filesystem.js';
import { MemoryDriver } from './memory.js';
import type { StorageDriver } from './storage-driver.js';
import { openSwift } from './swift/open.js';

/** The storage that the settings name. @throws SettingsError when it cannot be used */
export async function createDriver(settings: RegistrySettings): Promise<StorageDriver> {
  const { storage, storageRoot } = settings;
  if (storage === 'memory') return new MemoryDriver();
  if (storage === 'swift') return openSwift(settings);
  try {
    return await FilesystemDriver.open(storageRoot);
  } catch (error) {
    throw new SettingsError(
      'WHARFIE_STORAGE_ROOT',
      `${storageRoot} cannot be used: ${(error as Error).message}; make it writable for this user`,
    );
  }
}
