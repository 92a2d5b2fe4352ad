import 'reflect-metadata';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { Duplex } from 'node:stream';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { NestFactory } from '@nestjs/core';
import type { Logger } from '@wharfie/shared';
import { OciError, answerAndClose, identityVerifier, ownHeaders } from '@wharfie/shared';
import { AppModule } from './app.module.js';
import { recordWhenOver } from './http/access-log.js';
import { beginExchange, exchangeOf } from './http/exchange.js';
import type { StorageDriver } from './storage/storage-driver.js';

/** Longer than the proxy keeps idle connections, so that it is the one that closes them and never writes to a closed one. */
const keepAliveTimeout = 75_000;
const headersTimeout = 60_000;
/** Of a head, in bytes: what the proxy takes, and what that adds. */
const maxHeaderSize = 32 * 1024;

/**
 * The registry as an application that is ready to listen.
 * @param idleTimeout milliseconds for which nothing may move on a connection
 */
export async function createApp(
  storage: StorageDriver,
  secret: Buffer,
  logger: Logger,
  idleTimeout = 600_000,
): Promise<NestFastifyApplication> {
  const verify = identityVerifier(secret);
  const adapter = new FastifyAdapter({
    exposeHeadRoutes: false,
    return503OnClosing: false,
    clientErrorHandler: refuseConnection,
    serverFactory: (handle: RequestListener) => {
      const times = { keepAliveTimeout, headersTimeout, requestTimeout: 0 };
      const server = createServer({ ...times, maxHeaderSize, requireHostHeader: false });
      server.maxHeadersCount = 0;
      const begin = (request: IncomingMessage, response: ServerResponse) => {
        const exchange = beginExchange(request, response, verify);
        for (const [name, value] of Object.entries(ownHeaders(exchange.id))) response.setHeader(name, value);
        recordWhenOver(exchange, logger);
        return exchange;
      };
      for (const event of ['request', 'checkExpectation']) {
        server.on(event, (request: IncomingMessage, response: ServerResponse) => {
          begin(request, response);
          handle(request, response);
        });
      }
      // Whoever waits with the body is told to go on only when it will be read.
      server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
        if (!('refusal' in begin(request, response))) response.writeContinue();
        handle(request, response);
      });
      server.on('connect', (_request, socket) => {
        answerAndClose(socket, new OciError('UNSUPPORTED', 'this is a registry, not a way to other hosts'));
      });
      server.setTimeout(idleTimeout);
      return server;
    },
    // The request line was understood already; Nest sees only which of the eight kinds it is.
    rewriteUrl: (request: IncomingMessage) => {
      const exchange = exchangeOf(request);
      return 'refusal' in exchange ? '/refused' : `/${exchange.route.kind}`;
    },
  });
  // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- Nest's options are a class by name only
  const app = await NestFactory.create<NestFastifyApplication>(AppModule.with(storage, secret, logger), adapter, {
    logger: false,
    bodyParser: false,
    abortOnError: false,
  });
  // Bodies stay streams, whatever their type says.
  const fastify = adapter.getInstance();
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser('*', (_request, _body, done) => {
    done(null);
  });
  await app.init();
  await fastify.ready();
  return app;
}

/** Answers what is not HTTP, as far as the socket still takes an answer. */
function refuseConnection(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const problem =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? 'HEADERS_TOO_LARGE'
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? 'REQUEST_TIMEOUT'
        : 'BAD_REQUEST';
  answerAndClose(socket, new OciError(problem, 'this is not an HTTP/1.1 request that the registry understands'));
}
