import type { CanActivate, ExecutionContext } from '@nestjs/common';
import { Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { exchangeOf } from './exchange.js';

/** Lets through what the proxy signed for, and nothing else. */
@Injectable()
export class IdentityGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const exchange = exchangeOf(context.switchToHttp().getRequest<FastifyRequest>().raw);
    if ('refusal' in exchange) throw exchange.refusal;
    return true;
  }
}
