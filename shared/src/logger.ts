import { pino, type DestinationStream, type Logger } from 'pino';
import { prettyFactory } from 'pino-pretty';

export type { Logger } from 'pino';

export interface LogSettings {
  level: string;
  format: 'pretty' | 'json';
}

/** The log of one service, on standard output or wherever `destination` puts it. Nothing that a client authenticated with is ever handed to it. */
export function createLogger(
  service: 'proxy' | 'registry',
  { level, format }: LogSettings,
  destination: DestinationStream = standardOutput(),
): Logger {
  const options = { level, base: { service }, timestamp: pino.stdTimeFunctions.isoTime };
  if (format === 'json') return pino(options, destination);
  const prettify = prettyFactory({
    ignore: 'pid,hostname,service',
    messageFormat: `${service}: {msg}`,
    singleLine: true,
  });
  return pino(options, {
    write: (line) => {
      destination.write(prettify(line));
    },
  });
}

/** Standard output, at most 1 MiB of which waits while a full disk takes nothing; what comes then is lost. */
function standardOutput(): DestinationStream {
  // pino's own default writes later, and at the end of the process tries for ever what nobody reads any more.
  const stream = pino.destination({ sync: true, minLength: 1, maxLength: 2 ** 20 });
  // It tries again at the next line. Without a listener the process would end.
  stream.on('error', () => undefined);
  // A line that is dropped tries nothing by itself; `flush` does, with a minLength.
  stream.on('drop', () => {
    stream.flush();
  });
  // Not the stream itself: after a fatal line pino would call its flushSync, which never returns on a full disk.
  return { write: (line) => void stream.write(line) };
}
