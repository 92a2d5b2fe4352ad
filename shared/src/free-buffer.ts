import { MessageChannel } from 'node:worker_threads';

/** What is smaller than this is left to V8: to free it costs more than it holds, and it may share its memory with others. */
const least = 4096;

/** A port without another side: what is sent there changes hands, and is nobody's. */
const nowhere = new MessageChannel().port1;
nowhere.close();

/**
 * Frees the memory of a buffer of which nothing looks at a byte any more; its length is 0 from now on. V8 frees a buffer
 * when it collects, and begins that by the size of its own heap: what buffers hold lies outside, so that some hundred
 * megabytes of dead ones gather while gigabytes stream. A buffer that is a part of something larger is left alone.
 */
export function freeBuffer({ buffer, byteLength }: Uint8Array): void {
  if (byteLength < least || byteLength !== buffer.byteLength) return;
  nowhere.postMessage(undefined, [buffer as ArrayBuffer]);
}
