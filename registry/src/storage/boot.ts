import { createHash, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** Names this start of the machine; where the system does not tell (Linux does), this start of the process. */
export const thisBoot = createHash('sha256').update(bootId()).digest('base64url').slice(0, 16);

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8');
  } catch {
    return randomUUID();
  }
}
