import type { IncomingMessage } from 'node:http';
import { Controller, Delete, Get, Head, Inject, Patch, Post, Put, Res } from '@nestjs/common';
import type { Digest } from '@wharfie/shared';
import { OciError, covers, everything, hasBody, repositoryAccess } from '@wharfie/shared';
import type { FastifyReply } from 'fastify';
import type { Chunk, Upload } from '../domain/uploads.js';
import { UploadOffsetError, Uploads } from '../domain/uploads.js';
import { answer } from './answer.js';
import type { Exchange } from './exchange.js';
import { CurrentExchange } from './exchange.js';
import { keptOpen } from './raw-body.js';
import { UploadLocations } from './upload-location.js';

/** https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-blobs */
@Controller()
export class UploadsController {
  constructor(
    @Inject(Uploads) private readonly uploads: Uploads,
    @Inject(UploadLocations) private readonly locations: UploadLocations,
  ) {}

  /** Begins an upload, or does without one: mounts the blob, or takes it from this very request. */
  @Post('uploads')
  async begin(@CurrentExchange() exchange: Exchange<'uploads'>, @Res() reply: FastifyReply): Promise<void> {
    const { request, route, signal } = exchange;
    const { repository, mount, digest, algorithm } = route;
    if (mount && (await this.#mount(exchange, mount))) {
      created(exchange, reply, mount.digest);
    } else if (digest) {
      await this.uploads.store(repository, digest, wholeBody(request), signal);
      created(exchange, reply, digest);
    } else {
      const upload = await this.uploads.begin(repository, algorithm ?? 'sha256', signal);
      this.#answer(exchange, reply, 202, upload);
    }
  }

  @Patch('upload')
  async append(@CurrentExchange() exchange: Exchange<'upload'>, @Res() reply: FastifyReply): Promise<void> {
    const upload = await this.#onward(exchange, () =>
      this.uploads.append(this.#upload(exchange), chunkOf(exchange), exchange.signal),
    );
    this.#answer(exchange, reply, 202, upload);
  }

  @Put('upload')
  async finish(@CurrentExchange() exchange: Exchange<'upload'>, @Res() reply: FastifyReply): Promise<void> {
    const { request, route, signal } = exchange;
    const { digest } = route;
    const upload = this.#upload(exchange);
    if (!digest)
      throw new OciError('DIGEST_INVALID', 'the closing PUT must name the digest of the blob: ?digest=sha256:…');
    const chunk = hasBody(request) || request.headers['content-range'] !== undefined ? chunkOf(exchange) : undefined;
    await this.#onward(exchange, () => this.uploads.finish(upload, digest, chunk, signal));
    created(exchange, reply, digest);
  }

  @Get('upload')
  async status(@CurrentExchange() exchange: Exchange<'upload'>, @Res() reply: FastifyReply): Promise<void> {
    this.#answer(exchange, reply, 204, await this.uploads.status(this.#upload(exchange), exchange.signal));
  }

  @Head('upload')
  head(@CurrentExchange() exchange: Exchange<'upload'>, @Res() reply: FastifyReply): Promise<void> {
    return this.status(exchange, reply);
  }

  @Delete('upload')
  async cancel(@CurrentExchange() exchange: Exchange<'upload'>, @Res() reply: FastifyReply): Promise<void> {
    const upload = this.#upload(exchange);
    await this.uploads.cancel(upload, exchange.signal);
    answer(reply, 204, { 'Docker-Upload-UUID': upload.id });
  }

  #upload({ route, identity }: Exchange<'upload'>): Upload {
    return this.locations.upload(route, identity.subject);
  }

  /** A blob may be mounted from where the asker may pull it; else the client uploads it, and learns nothing. */
  async #mount(
    { route, identity, signal }: Exchange<'uploads'>,
    mount: { digest: Digest; from?: string },
  ): Promise<boolean> {
    const source = mount.from ?? everything;
    const allowed = covers(identity.access, repositoryAccess(source, 'pull'));
    return allowed && this.uploads.mount(route.repository, mount.digest, mount.from, signal);
  }

  /** When a chunk does not fit, tells the client where to go on. */
  async #onward<T>({ identity }: Exchange<'upload'>, call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof UploadOffsetError)) throw error;
      throw new OciError('RANGE_INVALID', error.message, error.detail, this.#headers(error.upload, identity.subject));
    }
  }

  #answer({ identity }: Exchange, reply: FastifyReply, status: number, upload: Upload): void {
    const length = status === 204 ? {} : { 'Content-Length': '0' };
    answer(reply, status, { ...this.#headers(upload, identity.subject), ...length });
  }

  #headers(upload: Upload, subject: string): Record<string, string> {
    return {
      Location: this.locations.location(upload, subject),
      // An empty upload is 0-0 too: clients of distribution know it so.
      Range: `0-${Math.max(0, upload.size - 1)}`,
      'Docker-Upload-UUID': upload.id,
    };
  }
}

function created({ route }: Exchange<'upload' | 'uploads'>, reply: FastifyReply, digest: Digest): void {
  const Location = `/v2/${route.repository}/blobs/${digest}`;
  answer(reply, 201, { Location, 'Docker-Content-Digest': digest, 'Content-Length': 0 });
}

/** The request's body, and where its `Content-Range` (`<first>-<last>`, without a unit) says that it belongs. */
function chunkOf({ request }: Exchange): Chunk {
  const body = wholeBody(request);
  const header = request.headers['content-range'];
  if (header === undefined) return body;
  const [, first, last] = /^(\d{1,15})-(\d{1,15})$/.exec(header) ?? [];
  if (first === undefined)
    throw new OciError('SIZE_INVALID', 'Content-Range must be <first byte>-<last byte>', { range: header });
  const start = Number(first);
  const length = Number(last) - start + 1;
  if (length < 1 || (body.length ?? length) !== length) {
    throw new OciError('SIZE_INVALID', 'Content-Range and Content-Length do not agree', {
      range: header,
      length: body.length ?? null,
    });
  }
  return { ...body, range: { start, length }, length };
}

function wholeBody(request: IncomingMessage): Chunk {
  const length = request.headers['content-length'];
  return { source: keptOpen(request), ...(length === undefined ? {} : { length: Number(length) }) };
}
