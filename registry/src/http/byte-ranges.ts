import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import type { Part } from '../storage/storage-driver.js';

/** A body that is the whole of something, a part of it, or several. */
export interface RangeBody {
  /** Without Content-Length. */
  headers: Record<string, string>;
  /** In bytes. */
  length: number;
  open(): Promise<Readable>;
}

/**
 * The body that answers `ranges` (undefined for the whole) of `size` bytes. Several parts come as `multipart/byteranges`.
 * RFC 9110 §14.6
 */
export function byteRanges(
  ranges: readonly Part[] | undefined,
  size: number,
  contentType: string,
  read: (part?: Part) => Promise<Readable>,
): RangeBody {
  if (!ranges) return { headers: { 'Content-Type': contentType }, length: size, open: () => read() };
  const [only, ...others] = ranges;
  if (only && others.length === 0) {
    return {
      headers: {
        'Content-Type': contentType,
        'Content-Range': contentRange(only, size),
      },
      length: only.length,
      open: () => read(only),
    };
  }
  const boundary = randomBytes(16).toString('hex');
  const parts = ranges.map((part, index) => ({
    part,
    head: `${index === 0 ? '' : '\r\n'}--${boundary}\r\nContent-Range: ${contentRange(part, size)}\r\nContent-Type: ${contentType}\r\n\r\n`,
  }));
  const end = `\r\n--${boundary}--\r\n`;
  const total = parts.reduce((sum, { part, head }) => sum + head.length + part.length, end.length);
  async function* body(): AsyncGenerator<Uint8Array> {
    for (const { part, head } of parts) {
      yield Buffer.from(head);
      yield* (await read(part)) as AsyncIterable<Uint8Array>;
    }
    yield Buffer.from(end);
  }
  return {
    headers: { 'Content-Type': `multipart/byteranges; boundary=${boundary}` },
    length: total,
    open: () => Promise.resolve(Readable.from(body(), { objectMode: false })),
  };
}

function contentRange({ start, length }: Part, size: number): string {
  return `bytes ${start}-${start + length - 1}/${size}`;
}
