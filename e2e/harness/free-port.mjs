import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/** @type {Set<number>} */
const given = new Set();

/**
 * A port of the loopback interface that nobody listens on just now. It lies below those that systems give to outgoing
 * connections, one of which could otherwise have it while a service is down for a moment, and above those that the Swift of
 * the tests takes. @returns {Promise<number>}
 */
export async function freePort() {
  for (;;) {
    const port = randomInt(31_100, 32_700);
    if (given.has(port)) continue;
    given.add(port);
    if (await isFree(port)) return port;
  }
}

/** @param {number} port @returns {Promise<boolean>} */
function isFree(port) {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (/** @type {NodeJS.ErrnoException} */ error) => {
      if (error.code === 'EADDRINUSE') resolve(false);
      else reject(error);
    });
    server.listen(port, '127.0.0.1', () => {
      server.close(() => {
        resolve(true);
      });
    });
  });
}
