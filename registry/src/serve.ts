import type { Server } from 'node:http';
import type { Logger } from '@wharfie/shared';
import { loadSecret } from '@wharfie/shared';
import { createApp } from './create-app.js';
import type { RegistrySettings } from './settings.js';
import { createDriver } from './storage/create-driver.js';
import type { StorageDriver } from './storage/storage-driver.js';

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
  const secret = await loadSecret(settings.secretFile);
  const storage = await createDriver(settings);
  const app = await createApp(storage, secret, logger);
  const server: Server = app.getHttpServer();
  // The server is given its connections. It watches over slow ones only once it believes that it listens.
  server.emit('listening');
  let connections = 0;
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
      const end = Date.now() + seconds * 1000;
      // A connection that was busy when we began to close is idle after its answer: it is closed then.
      while (connections > 0 && Date.now() < end) {
        server.closeIdleConnections();
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      server.closeAllConnections();
      await app.close();
      await storage.close();
    },
  };
}
