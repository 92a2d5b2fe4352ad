import type { IncomingMessage } from 'node:http';
import { OciError, buffersPassed } from '@wharfie/shared';

/** The bytes of a body of at most `limit`, as they came. @throws OciError MANIFEST_TOO_LARGE without reading on */
export async function readBody(request: IncomingMessage, limit: number): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > limit) throw tooLarge(limit);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of keptOpen(request)) {
    size += chunk.length;
    if (size > limit) throw tooLarge(limit);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The pieces of a body. Unlike the request itself, it leaves the connection open when its reader stops early. */
export async function* keptOpen(request: IncomingMessage): AsyncGenerator<Buffer> {
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    buffersPassed(chunk.length);
    yield chunk;
  }
}

function tooLarge(limit: number): OciError {
  return new OciError('MANIFEST_TOO_LARGE', `a manifest may have ${limit} bytes at most`);
}
