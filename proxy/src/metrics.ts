import { Counter, Histogram, type Registry } from '@wharfie/shared';
import type { Login } from './exchange.js';

export interface Measured {
  kind: string;
  method: string;
  status: number;
  login: Login;
  bytesIn: number;
  bytesOut: number;
  milliseconds: number;
}

export interface Metrics {
  count(measured: Measured): void;
}

/** From a cached manifest to an upload of gigabytes, in seconds. */
const buckets = [0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 300, 1800];

/** The proxy's own metrics, in `register`. Labels take few values: a repository or a user never is one. */
export function createMetrics(register: Registry): Metrics {
  const registers = [register];
  const requests = new Counter({
    name: 'wharfie_proxy_requests_total',
    help: 'Requests answered, by what they were for',
    labelNames: ['kind', 'method', 'status'],
    registers,
  });
  const seconds = new Histogram({
    name: 'wharfie_proxy_request_seconds',
    help: 'From the head of a request to the end of its answer',
    labelNames: ['kind', 'method'],
    buckets,
    registers,
  });
  const bytes = new Counter({
    name: 'wharfie_proxy_body_bytes_total',
    help: 'Bytes of bodies, in: from clients, out: to clients',
    labelNames: ['direction'],
    registers,
  });
  const logins = new Counter({
    name: 'wharfie_proxy_logins_total',
    help: 'Requests by what their credentials proved',
    labelNames: ['outcome'],
    registers,
  });
  return {
    count: ({ kind, method, status, login, bytesIn, bytesOut, milliseconds }) => {
      requests.inc({ kind, method, status });
      seconds.observe({ kind, method }, milliseconds / 1000);
      bytes.inc({ direction: 'in' }, bytesIn);
      bytes.inc({ direction: 'out' }, bytesOut);
      logins.inc({ outcome: login });
    },
  };
}
