import type { Server } from 'node:http';
import type { Logger } from '@wharfie/shared';
import { listen, loadSecret } from '@wharfie/shared';
import { createApp } from './create-app.js';
import type { RegistrySettings } from './settings.js';
import { createDriver } from './storage/create-driver.js';

export interface Serving {
  /** Stops accepting, lets requests under way end for `seconds`, then cuts off the rest. */
  close(seconds: number): Promise<void>;
}

/** One registry process at work. @throws SettingsError */
export async function serve(settings: RegistrySettings, logger: Logger): Promise<Serving> {
  const storage = await createDriver(settings);
  const app = await createApp(storage, await loadSecret(settings.secretFile), logger);
  const server = app.getHttpServer();
  await listen(server, settings.registryListen, 'WHARFIE_REGISTRY_LISTEN');
  return {
    close: async (seconds) => {
      await closeServer(server, seconds);
      await app.close();
      await storage.close();
    },
  };
}

function closeServer(server: Server, seconds: number): Promise<void> {
  return new Promise((resolve) => {
    const cutOff = setTimeout(() => {
      server.closeAllConnections();
    }, seconds * 1000);
    // A connection that was busy when we began to close is idle after its answer: it is closed then.
    const tidy = setInterval(() => {
      server.closeIdleConnections();
    }, 100);
    server.close(() => {
      clearTimeout(cutOff);
      clearInterval(tidy);
      resolve();
    });
  });
}
