import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { together } from '@wharfie/shared';
import type { StorageDriver } from './storage-driver.js';

/** Says why a storage cannot be used just now, or undefined: it writes, reads and removes a small object. */
export type Probe = () => Promise<string | undefined>;

/**
 * Probes `storage`. Who asks meanwhile gets the same answer: it is always one object, so that no more than that is left
 * where it cannot be removed, and one attempt alone hangs where a disk does.
 * @param patience milliseconds that the storage has
 */
export function probeOf(storage: StorageDriver, patience: number): Probe {
  const path = `wharfie/probe/${randomUUID()}`;
  const late = `the storage does not work: no answer for ${patience} ms`;
  const attempt = together(async (): Promise<string | undefined> => {
    const signal = AbortSignal.timeout(patience);
    try {
      await storage.put(path, Buffer.from('probe'), signal);
      await storage.get(path, signal);
      await storage.delete(path, signal);
      return undefined;
    } catch (error) {
      return signal.aborted ? late : `the storage does not work: ${(error as Error).message}`;
    }
  });
  return () => Promise.race([attempt(), delay(patience, late, { ref: false })]);
}
