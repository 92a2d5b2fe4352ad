import type { IncomingMessage } from 'node:http';
import { OciError, freeBuffer } from '@wharfie/shared';

/** All bodies that are in memory together, in bytes, and those of one account: clients and the storage may be slow. */
const mostOfAll = 128 * 1024 * 1024;
const mostOfOne = mostOfAll / 4;
let ofAll = 0;
const ofEach = new Map<string, number>();

/**
 * Hands over the bytes of a body of at most `limit`, as they came, and counts them until `use` is done with them.
 * @param account whose body it is
 * @throws OciError MANIFEST_TOO_LARGE without reading on, UNAVAILABLE when too many others are there; and what `use` throws
 */
export async function withBody<Result>(
  request: IncomingMessage,
  limit: number,
  account: string,
  use: (body: Buffer) => Promise<Result>,
): Promise<Result> {
  let size = 0;
  const count = (bytes: number): void => {
    reserve(account, bytes);
    size += bytes;
  };
  try {
    return await use(await readBody(request, limit, count));
  } finally {
    release(account, size);
  }
}

async function readBody(request: IncomingMessage, limit: number, count: (bytes: number) => void): Promise<Buffer> {
  const most = Number(request.headers['content-length'] ?? limit);
  if (most > limit) throw tooLarge(limit);
  // One piece, however small those are that come; memory is taken only as it fills.
  const body = Buffer.allocUnsafeSlow(most);
  let size = 0;
  for await (const chunk of keptOpen(request)) {
    if (size + chunk.length > most) throw tooLarge(limit);
    count(chunk.length);
    size += chunk.copy(body, size);
    freeBuffer(chunk);
  }
  return size === most ? body : Buffer.from(body.subarray(0, size));
}

function reserve(account: string, bytes: number): void {
  const own = (ofEach.get(account) ?? 0) + bytes;
  if (own > mostOfOne || ofAll + bytes > mostOfAll) throw tooMany();
  ofEach.set(account, own);
  ofAll += bytes;
}

function release(account: string, bytes: number): void {
  const own = (ofEach.get(account) ?? 0) - bytes;
  if (own > 0) ofEach.set(account, own);
  else ofEach.delete(account);
  ofAll -= bytes;
}

/**
 * The pieces of a body, each as it came: the request's own iterator would join those that wait, and `events.on` makes two
 * queues of 2048 places for each body. It leaves the connection open when its reader stops early.
 */
export async function* keptOpen(request: IncomingMessage): AsyncGenerator<Buffer> {
  const pieces: Buffer[] = [];
  let wake = (): void => undefined;
  const take = (piece: Buffer): void => {
    pieces.push(piece);
    request.pause();
    wake();
  };
  const end = (): void => {
    wake();
  };
  request.on('data', take).on('end', end).on('close', end).pause();
  try {
    for (;;) {
      const piece = pieces.shift();
      if (piece) yield piece;
      else if (request.readableEnded || request.destroyed) break;
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
          request.resume();
        });
      }
    }
  } finally {
    request.off('data', take).off('end', end).off('close', end);
    // Somebody may be draining the rest already.
    if (request.listenerCount('data') > 0) request.resume();
    else request.pause();
  }
  if (!request.readableEnded) throw new Error('the client left');
}

function tooMany(): OciError {
  const message = 'too many manifests are being sent at this moment; try again in a few seconds';
  return new OciError('UNAVAILABLE', message, undefined, { 'Retry-After': '5' });
}

function tooLarge(limit: number): OciError {
  return new OciError('MANIFEST_TOO_LARGE', `a manifest may have ${limit} bytes at most`);
}
