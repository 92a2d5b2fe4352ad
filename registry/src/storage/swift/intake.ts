import type { ByteSource } from '../storage-driver.js';

/** A source that is taken in portions. When it fails, what came before stays usable: the failure is kept beside it. */
export class Intake {
  readonly #iterator: AsyncIterator<Uint8Array>;
  #rest: Uint8Array | undefined;
  /** No byte follows. */
  ended = false;
  failure: { error: unknown } | undefined;

  /** @param signal ends the source with a failure */
  constructor(
    source: ByteSource,
    private readonly signal: AbortSignal,
  ) {
    this.#iterator = source[Symbol.asyncIterator]();
  }

  /** The next bytes, as many as asked for unless the source ends before. */
  async gather(atMost: number): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of this.portion(atMost)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  /** The same, as they come. */
  async *portion(atMost: number): AsyncGenerator<Uint8Array> {
    for (let left = atMost; left > 0;) {
      const chunk = this.#rest ?? (await this.#next());
      this.#rest = undefined;
      if (!chunk) return;
      if (chunk.length > left) this.#rest = chunk.subarray(left);
      left -= Math.min(chunk.length, left);
      yield this.#rest ? chunk.subarray(0, chunk.length - this.#rest.length) : chunk;
    }
  }

  /** Lets the source go, which may still be waiting for bytes of its own. */
  close(): void {
    if (!this.ended || this.signal.aborted) this.#iterator.return?.().catch(() => undefined);
  }

  async #next(): Promise<Uint8Array | undefined> {
    try {
      const next = this.ended ? undefined : await this.#unlessAborted(this.#iterator.next());
      if (next && !next.done) return next.value;
    } catch (error) {
      this.failure = { error };
    }
    this.ended = true;
    return undefined;
  }

  #unlessAborted<T>(next: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        reject(this.signal.reason as Error);
      };
      if (this.signal.aborted) abort();
      this.signal.addEventListener('abort', abort, { once: true });
      next.then(resolve, reject).finally(() => {
        this.signal.removeEventListener('abort', abort);
      });
    });
  }
}
