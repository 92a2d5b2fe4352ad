import type { FastifyReply } from 'fastify';

/**
 * Names the next page, in a relative `Link` as RFC 8288 has it.
 * https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags
 * @param parameters those of this request that the next one needs too
 */
export function linkNext(
  reply: FastifyReply,
  path: string,
  parameters: Record<string, string | number | undefined>,
): void {
  const query = Object.entries(parameters).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`],
  );
  void reply.header('Link', `<${path}?${query.join('&')}>; rel="next"`);
}
