import type { Stats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { SettingsError } from '@wharfie/shared';
import type { RegistrySettings } from './settings.js';
import { createDriver } from './storage/create-driver.js';
import { hasCode } from './storage/filesystem/disk.js';
import { probeOf } from './storage/probe.js';

const patience = 15_000;

/**
 * Tries the storage alone, without serving anybody. Says so where there is no folder for it yet: the registry's first start
 * makes that, as the user that has to write there.
 * @throws SettingsError that says what is wrong with it
 */
export async function probe(settings: RegistrySettings): Promise<string | undefined> {
  const { storage: kind, storageRoot } = settings;
  if (kind === 'filesystem') {
    try {
      becomeOwner(await stat(storageRoot));
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return `${storageRoot} does not exist`;
      // The driver says what is wrong with it.
    }
  }
  const storage = await createDriver(settings);
  const problem = await probeOf(storage, patience)();
  // Where it hangs, so would closing it.
  if (problem !== undefined) throw new SettingsError('WHARFIE_STORAGE', problem);
  await storage.close();
  return undefined;
}

/** Makes root the user to whom a folder belongs, so that what is made in it does not become root's. */
function becomeOwner({ uid, gid }: Stats): void {
  if (process.getuid?.() !== 0) return;
  process.setgroups?.([gid]);
  process.setgid?.(gid);
  process.setuid?.(uid);
}
