import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SettingsError } from '@wharfie/shared';
import type { RegistrySettings } from './settings.js';
import { createDriver } from './storage/create-driver.js';
import { probeOf } from './storage/probe.js';

const patience = 15_000;

/** Tries the storage alone, without serving anybody. @throws SettingsError that says what is wrong with it */
export async function probe(settings: RegistrySettings): Promise<void> {
  // As a start does: only its owner may enter the data folder.
  await mkdir(dirname(settings.secretFile), { recursive: true, mode: 0o700 });
  const storage = await createDriver(settings);
  const problem = await probeOf(storage, patience)();
  await storage.close();
  if (problem !== undefined) throw new SettingsError('WHARFIE_STORAGE', problem);
}
