import { freeBuffer, giveBack, takeBuffer } from '@wharfie/shared';
import type { ByteSource } from './storage-driver.js';

/** Milliseconds for which bytes wait for more, so that few large pieces go on. */
const patience = 1000;
const late = Symbol('late');

/** How many portions are gathered to their full size at once: those of clients that are slow would take any memory. */
const mostGathered = 64;
/** Bytes of a portion beyond these. */
const leastGathered = 64 * 1024;
let gathering = 0;

/** Has a source taken, and lets it go afterwards. @param signal ends the source with a failure */
export async function taking<T>(
  source: ByteSource,
  signal: AbortSignal,
  action: (intake: Intake) => Promise<T>,
): Promise<T> {
  const intake = new Intake(source, signal);
  try {
    return await action(intake);
  } finally {
    intake.close();
  }
}

/** A source that is taken in portions. When it fails, what came before stays usable: the failure is kept beside it. */
export class Intake {
  readonly #iterator: AsyncIterator<Uint8Array>;
  /** What was read and is yet to be taken. */
  #kept: Uint8Array[] = [];
  /** What was asked for, and then not waited for. */
  #coming: Promise<Uint8Array | undefined> | undefined;
  #interrupt: ((reason: unknown) => void) | undefined;
  #cutOff: { reason: unknown } | undefined;
  /** No byte follows. */
  ended = false;
  failure: { error: unknown } | undefined;

  /** @param signal ends the source with a failure */
  constructor(
    source: ByteSource,
    private readonly signal: AbortSignal,
  ) {
    this.#iterator = source[Symbol.asyncIterator]();
    if (signal.aborted) this.#abort();
    else signal.addEventListener('abort', this.#abort);
  }

  /** All that comes, when it is at most so many bytes; else undefined, and nothing is taken. */
  async whole(atMost: number): Promise<Buffer | undefined> {
    const head = await this.#gather(atMost + 1);
    if (head.length <= atMost) return head;
    this.#kept.unshift(head);
    return undefined;
  }

  /** The next bytes, as many as asked for unless the source ends before, or many others are being gathered. */
  async gather(atMost: number): Promise<Buffer> {
    const most = gathering < mostGathered ? atMost : Math.min(atMost, leastGathered);
    gathering += 1;
    try {
      return await this.#gather(most);
    } finally {
      gathering -= 1;
    }
  }

  async #gather(atMost: number): Promise<Buffer> {
    // In one piece: a client may send them one by one, and a Buffer for each would take a hundred times the memory.
    let [gathered, size] = [Buffer.alloc(0), 0];
    for await (const chunk of this.portion(atMost)) {
      const needed = size + chunk.length;
      const more = Math.max(needed, Math.min(2 * gathered.length, atMost));
      if (needed > gathered.length) gathered = Buffer.concat([gathered], more);
      gathered.set(chunk, size);
      size = needed;
      freeBuffer(chunk);
    }
    return gathered.subarray(0, size);
  }

  /** The same, as they come. */
  async *portion(atMost: number): AsyncGenerator<Uint8Array> {
    for (let left = atMost; left > 0;) {
      const chunk = await this.#next();
      if (!chunk) return;
      if (chunk.length > left) this.#kept.unshift(chunk.subarray(left));
      const part = chunk.subarray(0, left);
      left -= part.length;
      yield part;
    }
  }

  /**
   * The same in large pieces, however small those are that come; what came waits for more for a second at most. A piece is
   * somebody else's when the next one is asked for.
   */
  async *pieces(atMost: number): AsyncGenerator<Uint8Array> {
    for (let left = atMost; left > 0;) {
      // Whoever waits for a client holds no memory meanwhile.
      const first = await this.#next();
      if (!first) return;
      this.#kept.unshift(first);
      const piece = takeBuffer();
      try {
        const size = await this.#fill(piece.subarray(0, left));
        left -= size;
        yield piece.subarray(0, size);
      } finally {
        giveBack(piece);
      }
    }
  }

  /** @throws what the source failed with */
  check(): void {
    if (this.failure) throw this.failure.error;
  }

  /** Ends the source with a failure, whatever it is waiting for. */
  cutOff(reason: unknown): void {
    this.#cutOff ??= { reason };
    this.#interrupt?.(reason);
  }

  /** Lets the source go, which may still be waiting for bytes of its own. */
  close(): void {
    this.signal.removeEventListener('abort', this.#abort);
    if (!this.ended || this.#cutOff) this.#iterator.return?.().catch(() => undefined);
  }

  /** Copies what comes until `target` is full, or `patience` over; how much that is. */
  async #fill(target: Uint8Array): Promise<number> {
    let size = 0;
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<typeof late>((resolve) => (timer = setTimeout(resolve, patience, late)));
    while (size < target.length) {
      const next = this.#next();
      const chunk = await Promise.race([next, timeout]);
      if (chunk === late) this.#coming = next;
      if (chunk === late || !chunk) break;
      const part = chunk.subarray(0, target.length - size);
      target.set(part, size);
      size += part.length;
      if (part.length < chunk.length) this.#kept.unshift(chunk.subarray(part.length));
      else freeBuffer(chunk);
    }
    clearTimeout(timer);
    return size;
  }

  #next(): Promise<Uint8Array | undefined> {
    const next = this.#coming ?? this.#read();
    this.#coming = undefined;
    return next;
  }

  async #read(): Promise<Uint8Array | undefined> {
    const kept = this.#kept.shift();
    if (kept || this.ended) return kept;
    try {
      if (this.#cutOff) throw this.#cutOff.reason;
      const next = await this.#unlessCutOff(this.#iterator.next());
      if (!next.done) return next.value;
    } catch (error) {
      this.failure = { error };
    }
    this.ended = true;
    return undefined;
  }

  #unlessCutOff<T>(next: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#interrupt = reject;
      next.then(resolve, reject);
    });
  }

  readonly #abort = (): void => {
    this.cutOff(this.signal.reason);
  };
}
