import type { ServerResponse } from 'node:http';

/** The status that was answered, for logs and metrics; 499, as nginx writes it, when the client left before any was. */
export function answeredStatus({ headersSent, statusCode }: ServerResponse): number {
  return headersSent ? statusCode : 499;
}
