import { createServer } from 'node:http';
import { register } from 'prom-client';
import { listen } from './listen.js';
import type { ListenAddress } from './listen-address.js';
import { together } from './together.js';

export interface AdminServer {
  close(): void;
}

/**
 * Health and metrics of a service, on an address of their own that the public door never shows:
 * `/healthz` (the process answers), `/readyz` (it can do its work; 503 with the reason when not), `/metrics` (Prometheus).
 * @param unready the reason why the service cannot work just now, or undefined
 */
export async function startAdminServer(
  address: ListenAddress,
  variable: string,
  unready: () => Promise<string | undefined>,
  metrics: () => Promise<string>,
): Promise<AdminServer> {
  const [reasonNow, metricsNow] = [together(unready), together(metrics)];
  const server = createServer((request, response) => {
    const answer = (status: number, body: string, type = 'text/plain; charset=utf-8') =>
      response.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store' }).end(body);
    const path = request.url?.split('?')[0];
    if (path === '/healthz') answer(200, 'ok\n');
    else if (path === '/readyz') {
      reasonNow().then(
        (reason) => (reason === undefined ? answer(200, 'ready\n') : answer(503, `${reason}\n`)),
        (error: unknown) => answer(503, `${String(error)}\n`),
      );
    } else if (path === '/metrics') {
      metricsNow().then(
        (text) => answer(200, text, register.contentType),
        (error: unknown) => answer(500, `${String(error)}\n`),
      );
    } else answer(404, 'healthz, readyz or metrics\n');
  });
  await listen(server, address, variable);
  return {
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
