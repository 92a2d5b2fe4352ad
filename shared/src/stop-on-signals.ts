/** Ends this process by `stop` when it is told to, or when who started it is gone. */
export function stopOnSignals(stop: (reason: string) => Promise<void>): void {
  let stopping = false;
  const begin = (reason: string): void => {
    // Asked twice, nobody wants to wait.
    if (stopping) process.exit(1);
    stopping = true;
    void stop(reason).then(() => process.exit(0));
  };
  process.on('SIGTERM', begin).on('SIGINT', begin);
  // Nobody is left who would tell us to stop.
  process.once('disconnect', () => {
    begin('disconnect');
  });
}
