import { answeredStatus, type Logger } from '@wharfie/shared';
import type { AuditLog } from './audit.js';
import type { Exchange } from './exchange.js';
import type { Metrics } from './metrics.js';

/**
 * Writes one line for the exchange once it is over, and counts it. Neither headers nor the query are written: they hold
 * passwords and the state of uploads.
 */
export function recordWhenOver(
  exchange: Exchange,
  { log, metrics, audit }: { log: Logger; metrics: Metrics; audit: AuditLog | undefined },
): void {
  const { id, request, response, client } = exchange;
  const start = performance.now();
  response.once('close', () => {
    const { kind, route, user, login, refusal, bytesIn, bytesOut } = exchange;
    const { method = '' } = request;
    const status = answeredStatus(response);
    const milliseconds = Math.round((performance.now() - start) * 10) / 10;
    metrics.count({
      kind,
      method,
      status,
      login,
      bytesIn,
      bytesOut,
      milliseconds,
    });
    audit?.request(exchange);
    // What is undefined is left out.
    const line = {
      requestId: id,
      remote: client.address,
      user,
      login,
      method,
      kind,
      repository: route && 'repository' in route ? route.repository : undefined,
      action: actionOf(exchange),
      status,
      reason: refusal?.message,
      bytesIn,
      bytesOut,
      milliseconds,
      // The client, or the registry, left before the answer was complete.
      broken: response.writableFinished ? undefined : true,
    };
    if (status >= 500) log.warn(line, 'request');
    else log.info(line, 'request');
  });
}

function actionOf({ route }: Exchange): string | undefined {
  const [access] = route?.access ?? [];
  return access?.type === 'repository' ? access.actions.join() : undefined;
}
