import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { listen } from './listen.js';
import { SettingsError } from './settings-error.js';

let folder: string;
const servers: Server[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wharfie-'));
});

afterEach(async () => {
  for (const server of servers.splice(0)) server.close();
  await rm(folder, { recursive: true });
});

function newServer(): Server {
  const server = createServer((socket) => socket.end());
  servers.push(server);
  return server;
}

async function reaches(path: string): Promise<void> {
  const socket = connect(path);
  await once(socket, 'connect');
  socket.destroy();
}

describe('listening on a unix socket', () => {
  it('replaces one that a killed process left behind', async () => {
    const path = join(folder, 'socket');
    const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    expect(spawnSync(process.execPath, ['-e', script]).signal).toBe('SIGKILL');
    expect((await stat(path)).isSocket()).toBe(true);

    await listen(newServer(), { path }, 'WHARFIE_REGISTRY_LISTEN');
    await reaches(path);
  });

  it('leaves one alone that somebody answers on', async () => {
    const path = join(folder, 'socket');
    await listen(newServer(), { path }, 'WHARFIE_REGISTRY_LISTEN');
    await expect(listen(newServer(), { path }, 'WHARFIE_REGISTRY_LISTEN')).rejects.toThrow(
      /^WHARFIE_REGISTRY_LISTEN: .* is in use/,
    );
    await reaches(path);
  });

  it('refuses a path that is longer than one may be, and makes nothing', async () => {
    const path = join(folder, 'x'.repeat(108));
    await expect(listen(newServer(), { path }, 'WHARFIE_LISTEN')).rejects.toThrow(
      /^WHARFIE_LISTEN: a socket's path may have 107 bytes/,
    );
    expect(await readdir(folder)).toEqual([]);
    const elsewhere = { path: join(folder, 'none', 'socket') };
    await expect(listen(newServer(), elsewhere, 'WHARFIE_LISTEN')).rejects.toThrow(/a folder that is there/);
  });

  it('never removes a file that is no socket', async () => {
    const path = join(folder, 'htpasswd');
    await writeFile(path, 'bob:x\n');
    await expect(listen(newServer(), { path }, 'WHARFIE_REGISTRY_LISTEN')).rejects.toThrow(SettingsError);
    expect(await readFile(path, 'utf8')).toBe('bob:x\n');
  });

  it('lets nobody but its user and group connect', async () => {
    const path = join(folder, 'socket');
    await listen(newServer(), { path }, 'WHARFIE_REGISTRY_LISTEN');
    expect((await stat(path)).mode & 0o777).toBe(0o660);
  });

  it('names the setting when the folder is missing', async () => {
    const attempt = listen(newServer(), { path: join(folder, 'missing', 'socket') }, 'WHARFIE_REGISTRY_LISTEN');
    await expect(attempt).rejects.toThrow(/^WHARFIE_REGISTRY_LISTEN: cannot listen on .*EACCES|ENOENT/);
  });
});

describe('listening on a port', () => {
  it('names the setting when the port is in use', async () => {
    const first = newServer();
    await listen(first, { host: '127.0.0.1', port: 0 }, 'WHARFIE_LISTEN');
    const { port } = first.address() as AddressInfo;
    await expect(listen(newServer(), { host: '127.0.0.1', port }, 'WHARFIE_LISTEN')).rejects.toThrow(
      `WHARFIE_LISTEN: 127.0.0.1:${port} is in use`,
    );
  });

  it('names the setting when the address is not one of this machine', async () => {
    // 192.0.2.0/24 is for documentation: no machine has it (RFC 5737).
    await expect(listen(newServer(), { host: '192.0.2.1', port: 0 }, 'WHARFIE_LISTEN')).rejects.toThrow(
      /^WHARFIE_LISTEN: cannot listen on 192\.0\.2\.1:0 \(EADDRNOTAVAIL\)/,
    );
  });
});
