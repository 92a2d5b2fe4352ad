import { Controller, Get, Inject, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { Catalog } from '../domain/catalog.js';
import type { Exchange } from './exchange.js';
import { CurrentExchange } from './exchange.js';
import { linkNext } from './pagination.js';

/** https://distribution.github.io/distribution/spec/api/#listing-repositories */
@Controller('catalog')
export class CatalogController {
  constructor(@Inject(Catalog) private readonly catalog: Catalog) {}

  @Get()
  async list(
    @CurrentExchange() { route, signal }: Exchange<'catalog'>,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<{ repositories: string[] }> {
    const { repositories, more } = await this.catalog.list(route.page, signal);
    if (more) linkNext(reply, '/v2/_catalog', { n: repositories.length, last: repositories.at(-1) });
    return { repositories };
  }
}
