import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Bytes that pass between two collections. */
const budget = 4 * 1024 * 1024;

let collect: ((options: { type: 'minor' }) => void) | undefined;
let passed = 0;

/**
 * To be told of the bytes of bodies that pass. V8 begins a collection by the size of its own heap, and a Buffer there is
 * small: the 64 KiB that it holds lie outside, so that some hundred megabytes of dead ones gather while gigabytes stream.
 * A minor collection every few megabytes costs about a hundredth of the time and keeps the process small.
 */
export function buffersPassed(bytes: number): void {
  passed += bytes;
  if (passed < budget) return;
  passed = 0;
  if (!collect) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as typeof collect;
  }
  collect?.({ type: 'minor' });
}
