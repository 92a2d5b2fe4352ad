import { collectDefaultMetrics, register, SettingsError, stopOnSignals } from '@wharfie/shared';
import { proxySettings } from './settings.js';
import { startProxy, type RunningProxy } from './start.js';

let running: RunningProxy;
try {
  collectDefaultMetrics();
  running = await startProxy(proxySettings(), register);
} catch (error) {
  if (!(error instanceof SettingsError)) throw error;
  process.stderr.write(`wharfie proxy: ${error.message}\n`);
  process.exit(1);
}

stopOnSignals((reason) => running.stop(reason));
function reopen(): void {
  running.reopen();
}
process.on('SIGHUP', reopen).on('SIGUSR2', reopen);
process.send?.({ ready: true, url: running.url, user: running.user });
