import { Counter, Histogram, register, type Registry } from 'prom-client';

/** A request that was answered. */
export interface Answered {
  kind: string;
  method: string;
  status: number;
  milliseconds: number;
}

/** From a cached manifest to an upload of gigabytes, in seconds. */
const buckets = [0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 300, 1800];

/** Counts the requests of a service, and how long they took. */
export function requestCounter(service: 'proxy' | 'registry', registry: Registry = register): (one: Answered) => void {
  const registers = [registry];
  const requests = new Counter({
    name: `wharfie_${service}_requests_total`,
    help: 'Requests answered, by what they were for',
    labelNames: ['kind', 'method', 'status'],
    registers,
  });
  const seconds = new Histogram({
    name: `wharfie_${service}_request_seconds`,
    help: 'From the head of a request to the end of its answer',
    labelNames: ['kind', 'method'],
    buckets,
    registers,
  });
  return ({ kind, method, status, milliseconds }) => {
    requests.inc({ kind, method, status });
    seconds.observe({ kind, method }, milliseconds / 1000);
  };
}
