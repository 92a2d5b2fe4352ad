import type { OutgoingHttpHeaders } from 'node:http';
import type { FastifyReply } from 'fastify';

/** Answers past Fastify, which would add headers of its own. */
export function answer(reply: FastifyReply, status: number, headers: OutgoingHttpHeaders, body?: Buffer): void {
  reply.hijack();
  reply.raw.writeHead(status, headers).end(body);
}
