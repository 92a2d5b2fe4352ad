import { pino, type DestinationStream, type Logger } from 'pino';
import pretty from 'pino-pretty';

export type { Logger } from 'pino';

export interface LogSettings {
  level: string;
  format: 'pretty' | 'json';
}

/** The log of one service, on standard output or, as JSON, wherever `destination` puts it. Nothing that a client authenticated with is ever handed to it. */
export function createLogger(
  service: 'proxy' | 'registry',
  { level, format }: LogSettings,
  destination?: DestinationStream,
): Logger {
  const options = { level, base: { service }, timestamp: pino.stdTimeFunctions.isoTime };
  // pino's own default writes later, and at the end of the process tries for ever what nobody reads any more.
  if (format === 'json') return pino(options, destination ?? pino.destination({ sync: true }));
  const stream = pretty({
    sync: true,
    ignore: 'pid,hostname,service',
    messageFormat: `${service}: {msg}`,
    singleLine: true,
  });
  return pino(options, stream);
}
