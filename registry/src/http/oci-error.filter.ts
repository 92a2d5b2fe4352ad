import type { ArgumentsHost, ExceptionFilter } from '@nestjs/common';
import { Catch, Inject } from '@nestjs/common';
import type { Logger } from '@wharfie/shared';
import { OciError, answerError, errorEnvelope } from '@wharfie/shared';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { InvalidPath, PathNotFound, StorageFull, StorageUnavailable } from '../storage/storage-driver.js';
import { exchangeOf } from './exchange.js';
import { LOGGER } from './tokens.js';

/** Answers every failure in the specification's form; what nobody foresaw is logged with its stack and answered as 500. */
@Catch()
export class OciErrorFilter implements ExceptionFilter {
  constructor(@Inject(LOGGER) private readonly logger: Logger) {}

  async catch(failure: unknown, host: ArgumentsHost): Promise<void> {
    const reply = host.switchToHttp().getResponse<FastifyReply>();
    const exchange = exchangeOf(host.switchToHttp().getRequest<FastifyRequest>().raw);
    const { id, request, response, signal } = exchange;
    reply.hijack();
    // Half an answer must not pass for a whole one, and nobody reads an answer after they left.
    if (response.headersSent || signal.aborted) {
      if (!signal.aborted) this.logger.error({ requestId: id, err: failure }, 'an answer broke off');
      request.socket.destroy();
      return;
    }
    const error = 'refusal' in exchange ? exchange.refusal : this.#explained(failure, id);
    const body = Buffer.from(JSON.stringify(errorEnvelope(error, id)));
    await answerError(request, response, error.status, error.headers, body);
  }

  #explained(failure: unknown, requestId: string): OciError {
    if (failure instanceof OciError) return failure;
    if (failure instanceof PathNotFound || failure instanceof InvalidPath)
      return new OciError('NOT_FOUND', failure.message);
    this.logger.error({ requestId, err: failure }, 'a request failed');
    if (failure instanceof StorageFull) {
      return new OciError(
        'INSUFFICIENT_STORAGE',
        'the storage of this registry is full; nothing was stored. Tell its operator',
      );
    }
    if (failure instanceof StorageUnavailable) {
      return new OciError('UNAVAILABLE', 'the storage of this registry does not answer; try again later', undefined, {
        'Retry-After': '5',
      });
    }
    return new OciError('UNKNOWN', 'the registry failed at this request; its log has the reason under the request id');
  }
}
