import { fork } from 'node:child_process';
import { createServer, type Socket } from 'node:net';
import type { Logger } from '@wharfie/shared';
import { register } from '@wharfie/shared';
import type { RegistrySettings } from './settings.js';
import { SummedMetrics } from './summed-metrics.js';
import { Worker } from './worker.js';

/** How long (milliseconds) none is started after one that did not get ready: whatever kept it from that keeps the next. */
const recovery = 30_000;

/**
 * Processes that share one port: this one serves and, as soon as it has enough connections at a time, starts up to
 * `workers - 1` more and hands a share of the connections to them. A process more costs 90 MB, and brings nothing while one
 * client pushes.
 */
export class Workers {
  /** Give it to `listen`. */
  readonly port = createServer({ pauseOnConnect: true, noDelay: true }, (socket) => {
    this.#share(socket);
  });
  readonly #workers: Worker[] = [];
  readonly #summed = new SummedMetrics();
  #open = 0;
  #next = 0;
  #noneBefore = 0;
  #closing = false;

  /**
   * @param own the HTTP server of this process
   * @param start makes another process
   */
  constructor(
    private readonly own: { emit(event: 'connection', socket: Socket): boolean },
    private readonly settings: Pick<RegistrySettings, 'workers' | 'alone'>,
    private readonly logger: Logger,
    private readonly start = () => fork(new URL('./main.js', import.meta.url), ['--worker']),
  ) {}

  /** Those of all processes, in Prometheus' format. */
  async metrics(): Promise<string> {
    const asked = this.#workers.map(async (worker) => {
      const metrics = await worker.metrics();
      if (metrics && this.#workers.includes(worker)) this.#summed.remember(worker, metrics);
    });
    await Promise.all(asked);
    return this.#summed.with(await register.getMetricsAsJSON());
  }

  /** Takes no more connections, and resolves when the other processes have ended: on their own within `seconds`, or killed. */
  async close(seconds: number): Promise<void> {
    this.#closing = true;
    this.port.close();
    await Promise.all(this.#workers.map((worker) => worker.end(seconds)));
  }

  #share(socket: Socket): void {
    const { workers, alone } = this.settings;
    if (this.#open < alone || workers === 1) {
      this.#serve(socket);
      return;
    }
    if (this.#workers.length < workers - 1 && Date.now() >= this.#noneBefore) this.#add();
    this.#next = (this.#next + 1) % (this.#workers.length + 1);
    if (this.#workers[this.#next]?.take(socket) !== true) this.#serve(socket);
  }

  #serve(socket: Socket): void {
    this.#open += 1;
    socket.once('close', () => {
      this.#open -= 1;
    });
    this.own.emit('connection', socket);
    socket.resume();
  }

  #add(): void {
    const child = this.start();
    const { pid } = child;
    child.on('error', (error) => {
      this.logger.error({ worker: pid, err: error }, 'a worker cannot be started or reached');
    });
    if (pid === undefined) {
      this.#noneBefore = Date.now() + recovery;
      return;
    }
    const worker = new Worker(child, (socket) => {
      this.#serve(socket);
    });
    this.#workers.push(worker);
    this.logger.info({ worker: pid }, 'a worker more');
    child.once('exit', (code, signal) => {
      if (!worker.isReady) this.#noneBefore = Date.now() + recovery;
      this.#workers.splice(this.#workers.indexOf(worker), 1);
      this.#summed.ended(worker);
      if (!this.#closing) this.logger.error({ worker: pid, code, signal }, 'a worker died');
    });
  }
}
