import type { Server } from 'node:http';
import type { Logger } from '@wharfie/shared';
import { loadSecret } from '@wharfie/shared';
import { createApp } from './create-app.js';
import type { RegistrySettings } from './settings.js';
import { createDriver } from './storage/create-driver.js';
import type { StorageDriver } from './storage/storage-driver.js';

/** How much longer than the proxy, which knows its clients, the registry waits for what stands still, in milliseconds. */
const patience = 60_000;
/** How long clients that keep connections have to find out that we end, in milliseconds. */
const farewell = 5_000;

/** One registry process at work. Whoever holds it gives it connections. */
export interface Serving {
  server: Server;
  storage: StorageDriver;
  /** Lets requests under way end for `seconds`, then cuts off the rest. */
  close(seconds: number): Promise<void>;
}

/** @throws SettingsError */
export async function serve(settings: RegistrySettings, logger: Logger): Promise<Serving> {
  // First, for it makes the data folder, which only its owner may enter.
  const secret = await loadSecret(settings.secretFile, settings.sources);
  const storage = await createDriver(settings);
  const app = await createApp(storage, secret, logger, settings.idleTimeout + patience);
  const server: Server = app.getHttpServer();
  // The server is given its connections. It watches over slow ones only once it believes that it listens.
  server.emit('listening');
  let connections = 0;
  let closing = false;
  server.prependListener('request', (_, response) => {
    if (closing) response.shouldKeepAlive = false;
  });
  server.on('connection', (socket) => {
    connections += 1;
    socket.once('close', () => {
      connections -= 1;
    });
  });
  return {
    server,
    storage,
    close: async (seconds) => {
      closing = true;
      const start = Date.now();
      // A request may be on its way on a connection that looks idle, and would be lost: its answer ends the connection.
      while (connections > 0 && Date.now() - start < seconds * 1000) {
        if (Date.now() - start > farewell) server.closeIdleConnections();
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      server.closeAllConnections();
      await app.close();
      await storage.close();
    },
  };
}
