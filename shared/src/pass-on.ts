import type { Readable, Writable } from 'node:stream';
import { freeBuffer } from './free-buffer.js';

/**
 * Writes a piece of a body that nobody else holds, and frees it once the system has taken it.
 * @returns whether `to` wants more; otherwise it says `drain` when it does
 */
export function writeAndFree(to: NodeJS.WritableStream, bytes: Buffer): boolean {
  return to.write(bytes, () => {
    freeBuffer(bytes);
  });
}

/**
 * Passes on a body whose pieces nobody else holds. Resolves at its end, and leaves `to` open. A pipeline would make an
 * AbortController and its error each time, and wait until `from` is closed.
 * @param seen is told how many bytes a piece has
 * @throws what `from` or the writing fails with; also when either is closed before
 */
export function passOn(from: Readable, to: Writable, seen: (bytes: number) => void): Promise<void> {
  from.on('data', (piece: Buffer) => {
    seen(piece.length);
    try {
      if (!writeAndFree(to, piece)) from.pause();
    } catch (error) {
      // Such as more bytes than the head of the answer has promised.
      from.destroy(error as Error);
    }
  });
  to.on('drain', () => from.resume()).once('close', () => from.destroy());
  if (to.destroyed) from.destroy();
  return new Promise((resolve, reject) => {
    from.once('end', resolve).once('error', reject);
    from.once('close', () => {
      if (!from.readableEnded) reject(new Error('the body ended early'));
    });
  });
}
