import type { IncomingMessage } from 'node:http';
import { clientLeft, type Exchange } from './exchange.js';

/** How long others wait for one answer before each asks for its own, in milliseconds: its registry may be gone. */
const patience = 500;
/** More than any manifest has, in bytes. */
const mostShared = 4 * 1024 * 1024;

/** With one of these an answer may differ from that to others who ask for the same. */
const conditions = ['if-match', 'if-modified-since', 'if-none-match', 'if-range', 'if-unmodified-since', 'range'];

/** A request that is sent for its client, and perhaps for others. */
export interface Asking {
  /** Who gets the same answer. Whoever gives it to them takes them out. */
  readonly others: Exchange[];
  /** Lets those go on who still wait for this answer to come. May be said more than once. */
  readonly over: () => void;
}

const alone: Asking = { others: [], over: () => undefined };

/**
 * Requests for one manifest at the same time, as the machines of a cluster send them: while one is under way, those that
 * come wait, and the next one is sent for all of them. It is sent after they came, so nobody gets what was read before.
 */
export class Herd {
  /** By what they ask for. */
  readonly #waiting = new Map<string, Exchange[]>();

  constructor(private readonly send: (exchange: Exchange, asking: Asking) => void) {}

  /** Has a request sent that is allowed, at once or for several. */
  add(exchange: Exchange): void {
    const key = keyOf(exchange);
    const waiting = key === undefined ? undefined : this.#waiting.get(key);
    if (waiting) waiting.push(exchange);
    else if (key === undefined) this.send(exchange, alone);
    else this.#ask(key, exchange, []);
  }

  #ask(key: string, exchange: Exchange, others: Exchange[]): void {
    const waiting: Exchange[] = [];
    this.#waiting.set(key, waiting);
    const over = () => {
      clearTimeout(timer);
      // Those who did not get this answer, because it is not for all, or does not come.
      for (const other of others.splice(0).filter(isThere)) this.send(other, alone);
      if (this.#waiting.get(key) !== waiting) return;
      const [next, ...rest] = waiting.filter(isThere);
      if (next) this.#ask(key, next, rest);
      else this.#waiting.delete(key);
    };
    const timer = setTimeout(over, patience);
    this.send(exchange, { others, over });
  }
}

/** Whether an answer is the same for all who asked, and can be held. */
export function isShareable({ statusCode, headers }: IncomingMessage): boolean {
  return statusCode === 200 && Number(headers['content-length']) <= mostShared;
}

/** What a request asks for; undefined when its answer is for nobody else. */
function keyOf({ request: { method = '', url = '', headers }, route }: Exchange): string | undefined {
  if (route?.kind !== 'manifest' || (method !== 'GET' && method !== 'HEAD')) return undefined;
  if (conditions.some((name) => name in headers)) return undefined;
  return `${method} ${url} ${headers.accept ?? ''}`;
}

function isThere(exchange: Exchange): boolean {
  return !clientLeft(exchange);
}
