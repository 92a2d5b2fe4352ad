import { setFlagsFromString } from 'node:v8';

/** How long nothing may be asked of a service until it gives back the memory that it can, in milliseconds. */
const idleTimeout = 600_000;

/**
 * What V8 is told that `NODE_OPTIONS` refuses (docs/decisions/0007). To be imported before anything else: V8 begins to wait
 * for idle seconds while modules are loaded.
 */
export const v8Flags = [
  // After eight idle seconds it would collect what it can, and with the last object of a kind goes the code compiled for it.
  `--gc-memory-reducer-start-delay-ms=${idleTimeout}`,
  // What lived long while big blobs were pushed would be made as old objects ever after, however short it lives now.
  '--no-allocation-site-pretenuring',
];

for (const flag of v8Flags) setFlagsFromString(flag);
