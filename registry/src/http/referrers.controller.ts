import { Controller, Get, Inject, Res } from '@nestjs/common';
import { mediaTypes } from '@wharfie/shared';
import type { FastifyReply } from 'fastify';
import { Referrers, referrersIndex } from '../domain/referrers.js';
import type { Exchange } from './exchange.js';
import { CurrentExchange } from './exchange.js';
import { linkNext } from './pagination.js';

/** https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers */
@Controller('referrers')
export class ReferrersController {
  constructor(@Inject(Referrers) private readonly referrers: Referrers) {}

  @Get()
  async list(
    @CurrentExchange() { route, signal }: Exchange<'referrers'>,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<Buffer> {
    const { repository, digest, artifactType, page } = route;
    const { referrers, next } = await this.referrers.list(repository, digest, artifactType, page, signal);
    if (artifactType !== undefined) void reply.header('OCI-Filters-Applied', 'artifactType');
    if (next !== undefined)
      linkNext(reply, `/v2/${repository}/referrers/${digest}`, { artifactType, n: page.n, last: next });
    void reply.header('Content-Type', mediaTypes.ociIndex);
    // As bytes: to text Fastify would add a charset, which this media type does not have.
    return Buffer.from(JSON.stringify(referrersIndex(referrers)));
  }
}
