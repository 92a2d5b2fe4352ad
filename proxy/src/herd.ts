import type { IncomingMessage } from 'node:http';
import { changesNothing, clientLeft, type Exchange } from './exchange.js';

/** How long anybody waits for the answer to another one, in milliseconds: its registry may be gone. */
const patience = 1_000;
/** Most manifests have a tenth of it, in bytes. What is longer goes to each as a stream, as some may read slowly. */
const mostShared = 64 * 1024;

/**
 * Requests for one manifest at the same time, as the machines of a cluster send them: while one is under way, those that
 * come wait, and the next one is sent for all of them. It is sent after they came, so nobody gets what was read before.
 */
export class Herd {
  /** By what they ask for. */
  readonly #waiting = new Map<string, Exchange[]>();

  constructor(private readonly send: (exchange: Exchange) => void) {}

  /** Has a request sent that is allowed, at once or for several. */
  add(exchange: Exchange): void {
    if (exchange.route?.kind !== 'manifest' || !changesNothing(exchange)) {
      this.send(exchange);
      return;
    }
    const key = keyOf(exchange);
    const waiting = this.#waiting.get(key);
    if (waiting) waiting.push(exchange);
    else this.#ask(key, exchange, []);
  }

  /** The lists are emptied when their time is over: an exchange that lasts long must not hold all that came after it. */
  #ask(key: string, exchange: Exchange, others: Exchange[]): void {
    const waiting: Exchange[] = [];
    this.#waiting.set(key, waiting);
    const over = (): void => {
      clearTimeout(timer);
      for (const other of others.splice(0)) this.send(other);
      if (this.#waiting.get(key) !== waiting) return;
      this.#waiting.delete(key);
      const [next, ...rest] = waiting.splice(0).filter((one) => !clientLeft(one));
      if (next) this.#ask(key, next, rest);
    };
    const timer = setTimeout(() => {
      others.push(...waiting.splice(0));
      over();
    }, patience);
    exchange.asking = { others, over };
    this.send(exchange);
  }
}

/** Whether an answer is the same for all who asked, and short enough to be held for them. */
export function isShareable({ statusCode, headers }: IncomingMessage): boolean {
  return statusCode === 200 && Number(headers['content-length']) <= mostShared;
}

/** All that the registry gets of a request, but for who sends it. */
function keyOf({ request: { method, url, headers } }: Exchange): string {
  const { authorization: _token, 'x-request-id': _id, 'user-agent': _agent, ...asked } = headers;
  return JSON.stringify([method, url, asked]);
}
