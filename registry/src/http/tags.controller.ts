import { Controller, Get, Inject, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { Tags } from '../domain/tags.js';
import type { Exchange } from './exchange.js';
import { CurrentExchange } from './exchange.js';
import { linkNext } from './pagination.js';

/** https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags */
@Controller('tags')
export class TagsController {
  constructor(@Inject(Tags) private readonly tags: Tags) {}

  @Get()
  async list(
    @CurrentExchange() { route, signal }: Exchange<'tags'>,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<{ name: string; tags: string[] }> {
    const { repository, page } = route;
    const { tags, more } = await this.tags.list(repository, page, signal);
    if (more) linkNext(reply, `/v2/${repository}/tags/list`, { n: page.n, last: tags.at(-1) });
    return { name: repository, tags };
  }
}
