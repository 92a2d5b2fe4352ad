// A running `npm start` for programs that are no tests: the conformance suite and the benchmarks.
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('../../scripts/start.mjs', import.meta.url));
const password = 'known to the test';

/**
 * @typedef {object} Running
 * @property {string} address
 * @property {string} password of the account `admin`
 * @property {(path: string, init?: RequestInit) => Promise<Response>} fetch through the door, as `admin`
 * @property {() => Promise<void>} stop
 */

/**
 * Starts it on free ports and waits until it is ready.
 * @param {Record<string, string>} settings
 * @returns {Promise<Running>}
 */
export async function startWharfie(settings) {
  const ports = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
  const address = `127.0.0.1:${ports[0]}`;
  const child = spawn(process.execPath, [script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: process.env['PATH'],
      WHARFIE_ADMIN_PASSWORD: password,
      WHARFIE_LISTEN: address,
      WHARFIE_REGISTRY_LISTEN: `127.0.0.1:${ports[1]}`,
      WHARFIE_ADMIN_LISTEN: `127.0.0.1:${ports[2]}`,
      WHARFIE_REGISTRY_ADMIN_LISTEN: `127.0.0.1:${ports[3]}`,
      ...settings,
    },
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  await new Promise((resolve, reject) => {
    let said = '';
    child.stdout.on('data', (/** @type {Buffer} */ chunk) => {
      said += chunk.toString();
      if (said.includes('docker push')) resolve(undefined);
    });
    child.once('exit', () => {
      reject(new Error(`Wharfie did not start:\n${said}`));
    });
  });
  const authorization = `Basic ${Buffer.from(`admin:${password}`).toString('base64')}`;
  return {
    address,
    password,
    fetch: (path, init) => fetch(`http://${address}${path}`, { ...init, headers: { authorization } }),
    stop: async () => {
      child.kill();
      await ended;
    },
  };
}

/** @returns {Promise<number>} */
function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
      server.close(() => {
        resolve(port);
      });
    });
  });
}
