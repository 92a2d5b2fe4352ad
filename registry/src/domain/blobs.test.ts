import { afterEach, expect, it, vi } from 'vitest';
import { digestOf } from '@wharfie/shared';
import { MemoryDriver } from '../storage/memory.js';
import { Blobs } from './blobs.js';

const signal = new AbortController().signal;
const digest = digestOf(Buffer.from('a layer'));

afterEach(() => {
  vi.restoreAllMocks();
});

it.each([
  { seconds: 29, answers: [true, false] },
  { seconds: 31, answers: [false, false] },
])(
  'takes bytes that came through here to be there for half a minute, once ($seconds seconds later)',
  async ({ seconds, answers }) => {
    const blobs = new Blobs(new MemoryDriver());
    blobs.remember(digest, 7);
    // What the memory tells the time by.
    vi.spyOn(performance, 'now').mockReturnValue(performance.now() + seconds * 1000);
    for (const answer of answers) expect(await blobs.exists(digest, signal)).toBe(answer);
  },
);
