import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Bytes that pass between two collections at least: more than is on its way through one upload at a time. */
const least = 2 * 1024 * 1024;
/** What a Buffer takes beside its bytes, which matters where a client sends them one by one. */
const perBuffer = 512;
/** Bytes of buffers, dead or alive, below which old ones are left lying. */
const tolerated = 12 * 1024 * 1024;

/** All of the heap, or only what is new. */
let collect: ((options?: { type: 'minor' }) => void) | undefined;
let passed = 0;
let budget = least;
/** Nothing at first: the first collection clears away what the start of the process left. */
let most = 0;

/**
 * To be told of each buffer of a body that passes, and of its bytes. V8 begins a collection by the size of its own heap,
 * and a Buffer there is small: the 64 KiB that it holds lie outside, so that some hundred megabytes of dead ones gather
 * while gigabytes stream. A minor collection every few megabytes costs about a hundredth of the time and keeps the process
 * small. Buffers that live through two of them count as old, so the more are on their way at a time the rarer they must be;
 * and where the other side is slow, the old ones that died are freed by a whole one, once they may be as many as those that
 * live.
 */
export function buffersPassed(bytes: number): void {
  passed += bytes + perBuffer;
  if (passed < budget) return;
  passed = 0;
  if (!collect) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as NonNullable<typeof collect>;
  }
  collect({ type: 'minor' });
  let held = buffered();
  if (held > most) {
    collect();
    held = buffered();
    most = Math.max(tolerated, 2 * held);
  }
  budget = Math.max(least, (held - tolerated) / 2);
}

function buffered(): number {
  return process.memoryUsage().arrayBuffers;
}
