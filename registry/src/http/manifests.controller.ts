import { Controller, Delete, Get, Head, Inject, Put, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { maxManifestSize } from '../domain/manifest.js';
import { Manifests } from '../domain/manifests.js';
import { answer } from './answer.js';
import { isKnown } from './conditional.js';
import type { Exchange } from './exchange.js';
import { CurrentExchange } from './exchange.js';
import { withBody } from './raw-body.js';

/** https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests */
@Controller('manifest')
export class ManifestsController {
  constructor(@Inject(Manifests) private readonly manifests: Manifests) {}

  @Get()
  get(@CurrentExchange() exchange: Exchange<'manifest'>, @Res() reply: FastifyReply): Promise<void> {
    return this.#answer(exchange, reply);
  }

  @Head()
  head(@CurrentExchange() exchange: Exchange<'manifest'>, @Res() reply: FastifyReply): Promise<void> {
    return this.#answer(exchange, reply);
  }

  @Put()
  async put(
    @CurrentExchange() { request, route, identity, signal, contentType }: Exchange<'manifest'>,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { repository, reference } = route;
    // Tags beside a manifest that is named by a tag would be several names for one: only a digest may have them.
    const tags = reference.digest === undefined ? [] : [...new Set(route.tags)];
    const stored = await withBody(request, maxManifestSize, identity.subject, (content) =>
      this.manifests.put(repository, reference, tags, content, contentType, signal),
    );
    answer(reply, 201, {
      Location: `/v2/${repository}/manifests/${stored.digest}`,
      'Docker-Content-Digest': stored.digest,
      'Content-Length': 0,
      ...(stored.subject ? { 'OCI-Subject': stored.subject } : {}),
      ...(tags.length > 0 ? { 'OCI-Tag': tags.join(', ') } : {}),
    });
  }

  @Delete()
  async delete(@CurrentExchange() { route, signal }: Exchange<'manifest'>, @Res() reply: FastifyReply): Promise<void> {
    await this.manifests.delete(route.repository, route.reference, signal);
    answer(reply, 202, { 'Content-Length': 0 });
  }

  /** Serves what is stored, whatever `Accept` says: a client that cannot read it says so better than a 404. */
  async #answer({ request, route, signal }: Exchange<'manifest'>, reply: FastifyReply): Promise<void> {
    const { digest, content, mediaType } = await this.manifests.get(route.repository, route.reference, signal);
    const headers = { 'Docker-Content-Digest': digest, ETag: `"${digest}"` };
    if (isKnown(request.headers['if-none-match'], digest)) answer(reply, 304, headers);
    else {
      const described = { ...headers, 'Content-Type': mediaType, 'Content-Length': content.length };
      answer(reply, 200, described, request.method === 'HEAD' ? undefined : content);
    }
  }
}
