import { Controller, Delete, Get, Head, Inject, Res } from '@nestjs/common';
import { HandedFiles, OciError, fileHeader, parseRange, passOn } from '@wharfie/shared';
import type { FastifyReply } from 'fastify';
import { Blobs } from '../domain/blobs.js';
import { StorageUnavailable } from '../storage/storage-driver.js';
import { answer } from './answer.js';
import { byteRanges } from './byte-ranges.js';
import { isKnown } from './conditional.js';
import type { Exchange } from './exchange.js';
import { CurrentExchange } from './exchange.js';

/** https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-blobs */
@Controller('blob')
export class BlobsController {
  constructor(
    @Inject(Blobs) private readonly blobs: Blobs,
    @Inject(HandedFiles) private readonly files: HandedFiles,
  ) {}

  @Get()
  get(@CurrentExchange() exchange: Exchange<'blob'>, @Res() reply: FastifyReply): Promise<void> {
    return this.#answer(exchange, reply);
  }

  @Head()
  head(@CurrentExchange() exchange: Exchange<'blob'>, @Res() reply: FastifyReply): Promise<void> {
    return this.#answer(exchange, reply);
  }

  @Delete()
  async delete(@CurrentExchange() { route, signal }: Exchange<'blob'>, @Res() reply: FastifyReply): Promise<void> {
    await this.blobs.delete(route.repository, route.digest, signal);
    answer(reply, 202, { 'Content-Length': 0 });
  }

  async #answer({ id, request, response, route, signal }: Exchange<'blob'>, reply: FastifyReply): Promise<void> {
    const { repository, digest } = route;
    const blob = await this.blobs.stat(repository, digest, signal);
    const etag = `"${digest}"`;
    const headers = {
      'Docker-Content-Digest': digest,
      ETag: etag,
      'Accept-Ranges': 'bytes',
      'Cache-Control': 'max-age=31536000, immutable',
    };
    if (isKnown(request.headers['if-none-match'], digest)) {
      answer(reply, 304, headers);
      return;
    }
    const isGet = request.method === 'GET';
    const ifRange = request.headers['if-range'];
    // No other method has ranges (RFC 9110, section 14.2).
    const asked = isGet && (ifRange === undefined || ifRange === etag) ? request.headers.range : undefined;
    const ranges = parseRange(asked, blob.size);
    if (ranges?.length === 0) {
      throw new OciError('RANGE_INVALID', `the blob has ${blob.size} bytes`, undefined, {
        'Content-Range': `bytes */${blob.size}`,
      });
    }
    const address = isGet ? await this.blobs.address(blob, signal) : undefined;
    if (address !== undefined) {
      // It ends soon, so nobody may keep it. A client follows with the ranges that it asked for.
      const elsewhere = { Location: address, 'Docker-Content-Digest': digest, 'Cache-Control': 'no-store' };
      answer(reply, 307, { ...elsewhere, 'Content-Length': 0 });
      return;
    }
    const body = byteRanges(ranges, blob.size, 'application/octet-stream', (part) =>
      this.blobs.read(blob, part, signal),
    );
    const status = ranges ? 206 : 200;
    const isOnePart = (ranges?.length ?? 1) === 1;
    const isOffered = isGet && request.headers[fileHeader] !== undefined;
    const file = isOffered && isOnePart ? await this.blobs.file(blob, signal) : undefined;
    if (file) {
      const handed = this.files.sign({ ...file, ...(ranges?.[0] ?? { start: 0, length: file.size }) }, id);
      answer(reply, status, { ...headers, ...body.headers, 'Content-Length': 0, [fileHeader]: handed });
      return;
    }
    // Opened first: a failure can still be told while no byte has been sent.
    const source = isGet ? await body.open() : undefined;
    reply.hijack();
    response.strictContentLength = true;
    response.writeHead(status, { ...headers, ...body.headers, 'Content-Length': body.length });
    if (!source) {
      response.end();
      return;
    }
    let left = body.length;
    await passOn(source, response, (bytes) => {
      left -= bytes;
    });
    // Resets the connection: never a short answer that looks whole.
    if (left > 0) throw new StorageUnavailable(`${digest} lacks its last ${left} bytes`);
    response.end();
  }
}
