import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { Logger } from '@wharfie/shared';
import { collectDefaultMetrics, register } from '@wharfie/shared';
import { serve } from './serve.js';
import type { RegistrySettings } from './settings.js';
import type { ProcessMetrics } from './summed-metrics.js';

/** How long a process may take to open its storage until what waits for it is served without it, in milliseconds. */
const patience = 5_000;
/** How much longer than it is given a process may take to end, in milliseconds. */
const grace = 2_000;

/** A process that serves what the first one hands over, as that one sees it. */
export class Worker {
  /** `late` is one that takes too long to open its storage. */
  #state: 'starting' | 'late' | 'ready' = 'starting';
  /** Connections on their way. Node sends one when the one before was taken, and forgets them when the process dies. */
  readonly #waiting = new Set<Socket>();

  /** @param giveBack takes a connection that the process does not get */
  constructor(
    private readonly child: ChildProcess,
    private readonly giveBack: (socket: Socket) => void,
  ) {
    const timer = setTimeout(() => {
      this.#state = 'late';
      this.#giveAllBack();
    }, patience);
    child.once('message', () => {
      clearTimeout(timer);
      this.#state = 'ready';
      for (const socket of this.#waiting) this.#send(socket);
    });
    child.once('exit', () => {
      clearTimeout(timer);
      this.#giveAllBack();
    });
  }

  get isReady(): boolean {
    return this.#state === 'ready';
  }

  /** Whether it gets this connection, at once or when it is ready: one that is late or dying does not. */
  take(socket: Socket): boolean {
    if (!this.child.connected || this.#state === 'late') return false;
    this.#waiting.add(socket);
    if (this.isReady) this.#send(socket);
    return true;
  }

  /** What it counts, or undefined when it does not say. */
  async metrics(): Promise<ProcessMetrics | undefined> {
    if (!this.isReady) return undefined;
    const answer = once(this.child, 'message', { signal: AbortSignal.timeout(1000) });
    this.child.send('metrics', () => undefined);
    const [metrics] = (await answer.catch(() => [])) as [ProcessMetrics?];
    return metrics;
  }

  /** Resolves when it has ended: on its own within `seconds`, or killed. */
  async end(seconds: number): Promise<void> {
    const kill = setTimeout(() => this.child.kill('SIGKILL'), seconds * 1000 + grace);
    const gone = new Promise((resolve) => this.child.once('exit', resolve));
    // One that is starting serves nobody yet, and may have to wait long for its storage.
    if (!this.isReady) {
      this.#giveAllBack();
      this.child.kill('SIGKILL');
    }
    // One that is dying cannot be told, and need not.
    else if (this.child.connected) this.child.send('stop', () => undefined);
    await gone;
    clearTimeout(kill);
  }

  #send(socket: Socket): void {
    // Kept open here until it is sent: a connection that Node were to close would stay open for ever if the process dies.
    this.child.send('connection', socket, { keepOpen: true }, (error) => {
      if (!this.#waiting.delete(socket)) return;
      if (error) this.giveBack(socket);
      else socket.destroy();
    });
  }

  #giveAllBack(): void {
    for (const socket of this.#waiting) this.giveBack(socket);
    this.#waiting.clear();
  }
}

/** Serves, in a process of its own, the connections that the first one hands over, until that says that it is enough. */
export async function work(settings: RegistrySettings, logger: Logger): Promise<void> {
  // The terminal's Ctrl-C reaches every process; only the first decides.
  process.on('SIGINT', ignore).on('SIGTERM', ignore);
  collectDefaultMetrics();
  const serving = serve(settings, logger);
  const stop = (): void => {
    void serving.then((running) => running.close(settings.drain)).then(() => process.exit(0));
  };
  process.on('message', (message, socket) => {
    if (message === 'connection' && socket) {
      void serving.then(({ server }) => {
        server.emit('connection', socket);
        (socket as Socket).resume();
      });
    } else if (message === 'metrics')
      void register.getMetricsAsJSON().then((metrics) => process.send?.(metrics, ignore));
    else if (message === 'stop') stop();
  });
  process.once('disconnect', stop);
  await serving;
  process.send?.('ready');
}

function ignore(): void {
  // See above.
}
