import { randomUUID } from 'node:crypto';
import type { StorageDriver } from './storage-driver.js';

/** Why the storage cannot be used just now, or undefined: writes, reads and removes a small object. */
export async function unusable(storage: StorageDriver, signal: AbortSignal): Promise<string | undefined> {
  const path = `wharfie/probe/${randomUUID()}`;
  try {
    await storage.put(path, Buffer.from('probe'), signal);
    await storage.get(path, signal);
    await storage.delete(path, signal);
    return undefined;
  } catch (error) {
    return `the storage does not work: ${(error as Error).message}`;
  }
}
