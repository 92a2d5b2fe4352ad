import { AggregatorRegistry, collectProcessMetrics, createLogger } from '@wharfie/shared';
import { serve } from './serve.js';
import type { RegistrySettings } from './settings.js';

/** One of several registry processes: serves until the supervisor tells it to stop. */
export async function work(settings: RegistrySettings): Promise<void> {
  // Only the supervisor decides when to stop; the terminal's Ctrl-C reaches every process.
  process.on('SIGINT', ignore).on('SIGTERM', ignore);
  collectProcessMetrics();
  // Answers the supervisor when it gathers the metrics of all.
  new AggregatorRegistry();
  const serving = await serve(
    settings,
    createLogger('registry', { level: settings.logLevel, format: settings.logFormat }),
  );
  process.on('message', (message) => {
    if (message === 'stop') void serving.close(settings.drain).then(() => process.exit(0));
  });
  process.send?.({ ready: true });
}

function ignore(): void {
  // See above.
}
