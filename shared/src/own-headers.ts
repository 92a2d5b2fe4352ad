/** Headers that every answer of either service carries, whoever made it. */
export function ownHeaders(requestId: string): Record<string, string> {
  return {
    'Docker-Distribution-API-Version': 'registry/2.0',
    'X-Content-Type-Options': 'nosniff',
    'X-Request-Id': requestId,
  };
}
