// A running `npm start` for programs that are no tests: the conformance suite and the benchmarks.
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from './free-port.mjs';
import { servicesBelow } from './processes.mjs';

const script = fileURLToPath(new URL('../../scripts/start.mjs', import.meta.url));
const password = 'known to the test';

/**
 * @typedef {object} Running
 * @property {string} address
 * @property {string} password of the account `admin`
 * @property {() => number[]} processes those of both services
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
  // Into a file: whoever measures must not be busy with reading it.
  const folder = mkdtempSync(join(tmpdir(), 'wharfie-log-'));
  const log = join(folder, 'log');
  const output = openSync(log, 'w');
  const child = spawn(process.execPath, [script], {
    stdio: ['ignore', output, 'inherit'],
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
  closeSync(output);
  const ended = new Promise((resolve) => child.once('exit', resolve));
  while (!readFileSync(log, 'utf8').includes('docker push')) {
    if (child.exitCode !== null) throw new Error(`Wharfie did not start:\n${readFileSync(log, 'utf8')}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const authorization = `Basic ${Buffer.from(`admin:${password}`).toString('base64')}`;
  return {
    address,
    password,
    processes: () => servicesBelow(child.pid ?? 0),
    fetch: (path, init) => fetch(`http://${address}${path}`, { ...init, headers: { authorization } }),
    stop: async () => {
      child.kill();
      await ended;
      rmSync(folder, { recursive: true });
    },
  };
}
