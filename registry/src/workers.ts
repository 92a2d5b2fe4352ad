import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import type { Logger } from '@wharfie/shared';
import { collectDefaultMetrics, register } from '@wharfie/shared';
import type { RegistrySettings } from './settings.js';
import { serve } from './serve.js';
import { SummedMetrics, type ProcessMetrics } from './summed-metrics.js';

/** Processes that share one port: the first takes the connections and hands a share of them to the others. */
export interface Workers {
  /** Give it to `listen`. */
  port: Server;
  metrics(): Promise<string>;
  /** Takes no more connections, and resolves when the other processes have ended: on their own within `seconds`, or killed. */
  close(seconds: number): Promise<void>;
}

/** How long a process may take to open its storage until this one serves what waits for it, in milliseconds. */
const patience = 5_000;
/** How long (milliseconds) none is started after one that did not get ready: whatever kept it from that keeps the next. */
const recovery = 30_000;
/** How much longer than it is given a process may take to end. */
const grace = 2_000;

/**
 * Serves in this process and, as soon as it has enough connections at a time, in up to `workers - 1` more. A process more
 * costs 90 MB, and brings nothing while one client pushes.
 * @param own the HTTP server of this process
 * @param start makes another process
 */
export function spread(
  own: { emit(event: 'connection', socket: Socket): boolean },
  { workers, alone }: Pick<RegistrySettings, 'workers' | 'alone'>,
  logger: Logger,
  start = () => fork(new URL('./main.js', import.meta.url), ['--worker']),
): Workers {
  const summed = new SummedMetrics();
  const children: ChildProcess[] = [];
  /** Those that have opened their storage, and those that take too long for it. */
  const ready = new Set<ChildProcess>();
  const late = new Set<ChildProcess>();
  let open = 0;
  let next = 0;
  let closing = false;
  let noneBefore = 0;

  /**
   * Connections on their way to a worker, which gets them when it is ready. Node sends one when the one before was taken,
   * and forgets them when the worker dies.
   */
  const waiting = new Map<Socket, ChildProcess>();

  const addChild = (): void => {
    const child = start();
    child.on('error', (error) => {
      logger.error({ worker: child.pid, err: error }, 'a worker cannot be started or reached');
    });
    if (child.pid === undefined) {
      noneBefore = Date.now() + recovery;
      return;
    }
    children.push(child);
    logger.info({ worker: child.pid }, 'a worker more');
    const timer = setTimeout(() => {
      late.add(child);
      takeBack(child);
    }, patience);
    child.once('message', () => {
      clearTimeout(timer);
      late.delete(child);
      ready.add(child);
      for (const [socket, worker] of waiting) if (worker === child) give(socket, child);
    });
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      if (!ready.has(child)) noneBefore = Date.now() + recovery;
      late.delete(child);
      ready.delete(child);
      children.splice(children.indexOf(child), 1);
      summed.ended(child);
      takeBack(child);
      if (!closing) logger.error({ worker: child.pid, code, signal }, 'a worker died');
    });
  };
  const takeBack = (child: ChildProcess): void => {
    for (const [socket, worker] of waiting) if (worker === child) takeHere(socket);
  };
  const takeHere = (socket: Socket): void => {
    waiting.delete(socket);
    open += 1;
    socket.once('close', () => {
      open -= 1;
    });
    own.emit('connection', socket);
    socket.resume();
  };
  const give = (socket: Socket, child: ChildProcess): void => {
    // Kept open here until it is sent: a connection that Node were to close would stay open for ever if the worker dies.
    child.send('connection', socket, { keepOpen: true }, (error) => {
      if (!waiting.has(socket)) return;
      if (error) takeHere(socket);
      else {
        waiting.delete(socket);
        socket.destroy();
      }
    });
  };
  const port = createServer({ pauseOnConnect: true, noDelay: true }, (socket) => {
    if (open < alone || workers === 1) {
      takeHere(socket);
      return;
    }
    if (children.length < workers - 1 && Date.now() >= noneBefore) addChild();
    next = (next + 1) % (children.length + 1);
    const child = children[next];
    // A worker that is dying gets nothing more.
    if (child?.connected !== true || late.has(child)) takeHere(socket);
    else {
      waiting.set(socket, child);
      if (ready.has(child)) give(socket, child);
    }
  });
  return {
    port,
    metrics: async () => {
      const asked = [...ready].map(async (child) => {
        const metrics = await metricsOf(child);
        if (metrics && ready.has(child)) summed.remember(child, metrics);
      });
      await Promise.all(asked);
      return summed.with(await register.getMetricsAsJSON());
    },
    close: async (seconds) => {
      closing = true;
      port.close();
      await Promise.all(
        children.map((child) => {
          const kill = setTimeout(() => child.kill('SIGKILL'), seconds * 1000 + grace);
          const gone = new Promise<void>((resolve) => {
            child.once('exit', () => {
              clearTimeout(kill);
              resolve();
            });
          });
          // One that is starting serves nobody yet, and may have to wait long for its storage.
          if (!ready.has(child)) {
            takeBack(child);
            child.kill('SIGKILL');
          }
          // One that is dying cannot be told, and need not.
          else if (child.connected) child.send('stop', () => undefined);
          return gone;
        }),
      );
    },
  };
}

/** What `child` counts, or undefined when it does not say. */
async function metricsOf(child: ChildProcess): Promise<ProcessMetrics | undefined> {
  const answer = once(child, 'message', { signal: AbortSignal.timeout(1000) });
  child.send('metrics', () => undefined);
  const [metrics] = (await answer.catch(() => [])) as [ProcessMetrics?];
  return metrics;
}

/** Serves the connections that the first process hands over, until it says that it is enough. */
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
    } else if (message === 'metrics') void register.getMetricsAsJSON().then((metrics) => process.send?.(metrics));
    else if (message === 'stop') stop();
  });
  process.once('disconnect', stop);
  await serving;
  process.send?.('ready');
}

function ignore(): void {
  // See above.
}
