import { register, collectProcessMetrics, SettingsError } from '@wharfie/shared';
import { proxySettings } from './settings.js';
import { startProxy, type RunningProxy } from './start.js';

let running: RunningProxy | undefined;
try {
  collectProcessMetrics();
  running = await startProxy(proxySettings(), register);
} catch (error) {
  if (!(error instanceof SettingsError)) throw error;
  process.stderr.write(`wharfie proxy: ${error.message}\n`);
  process.exit(1);
}

let stopping = false;
function stop(reason: string): void {
  // Asked twice, nobody wants to wait.
  if (stopping) process.exit(1);
  stopping = true;
  void running?.stop(reason).then(() => process.exit(0));
}
process.on('SIGTERM', stop).on('SIGINT', stop);
function reopen(): void {
  running?.reopen();
}
process.on('SIGHUP', reopen).on('SIGUSR2', reopen);
// Who started us is gone, and with it the one that would tell us to stop.
process.once('disconnect', () => {
  stop('disconnect');
});
process.send?.({ ready: true, url: running.url, user: running.user });
