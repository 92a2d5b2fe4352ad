import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Bytes that pass between two collections: more than is on its way through one upload at a time. */
const budget = 2 * 1024 * 1024;
/** Bytes of buffers, dead or alive, below which old ones are left lying. */
const tolerated = 12 * 1024 * 1024;

let collect: ((options: { type: 'minor' | 'major' }) => void) | undefined;
let passed = 0;
let most = tolerated;

/**
 * To be told of the bytes of bodies that pass. V8 begins a collection by the size of its own heap, and a Buffer there is
 * small: the 64 KiB that it holds lie outside, so that some hundred megabytes of dead ones gather while gigabytes stream.
 * A minor collection every few megabytes costs about a hundredth of the time and keeps the process small. Where the other
 * side is slow, buffers live through two of those and count as old: once they have doubled, a major one frees the dead.
 */
export function buffersPassed(bytes: number): void {
  passed += bytes;
  if (passed < budget) return;
  passed = 0;
  if (!collect) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as NonNullable<typeof collect>;
  }
  collect({ type: 'minor' });
  if (buffered() > most) collect({ type: 'major' });
  most = Math.max(tolerated, Math.min(most, 2 * buffered()));
}

function buffered(): number {
  return process.memoryUsage().arrayBuffers;
}
