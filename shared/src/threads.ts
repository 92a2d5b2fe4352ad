import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';

export interface ThreadsOptions {
  /** The module whose default export does the work. */
  module: URL;
  most: number;
  /** How much work one of them begins before the first is done. */
  tasksAtOnce?: number;
  /** Milliseconds after which an idle one ends. */
  idleTimeout: number;
}

/** The work was not done, as no thread could start. */
export class NoThread extends Error {
  override readonly name = 'NoThread';

  constructor(cause: unknown) {
    super(`no thread could start: ${(cause as Error).message}`, { cause });
  }
}

/** Worker threads, which start when there is work. */
export class Threads<Work, Result> {
  readonly #options: ThreadsOptions;
  #pool: Piscina<Work, Result>;
  #failure: unknown;

  constructor(options: ThreadsOptions) {
    this.#options = options;
    this.#pool = this.#newPool();
  }

  /** Work that waits for a thread. */
  get queueSize(): number {
    return this.#pool.queueSize;
  }

  /** @throws NoThread, after which the next call tries again, and what the work throws */
  async run(work: Work): Promise<Result> {
    const pool = this.#pool;
    try {
      return await pool.run(work);
    } catch (error) {
      throw pool === this.#pool ? error : new NoThread(this.#failure);
    }
  }

  /** Ends when all work is done, or has not been for half a minute. */
  close(): Promise<void> {
    return this.#pool.close();
  }

  /** Ends now; what is under way is rejected. */
  destroy(): Promise<void> {
    return this.#pool.destroy();
  }

  #newPool(): Piscina<Work, Result> {
    const { module, most, tasksAtOnce = 1, idleTimeout } = this.#options;
    const pool = new Piscina<Work, Result>({
      filename: fileURLToPath(module),
      minThreads: 0,
      maxThreads: most,
      concurrentTasksPerWorker: tasksAtOnce,
      idleTimeout,
      recordTiming: false,
    });
    // A thread could not start: what waits in this pool would wait for ever.
    pool.on('error', (error) => {
      if (pool !== this.#pool) return;
      this.#failure = error;
      this.#pool = this.#newPool();
      void pool.destroy();
    });
    return pool;
  }
}
