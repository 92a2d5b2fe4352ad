import { chmod, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import type { ListenAddress } from './listen-address.js';
import { formatListenAddress } from './listen-address.js';
import { SettingsError } from './settings-error.js';

/**
 * Listens, or says which setting to change.
 * A unix socket that a killed process left behind is replaced; one that somebody answers on is not.
 * @throws SettingsError naming `variable`
 */
export async function listen(server: Server, address: ListenAddress, variable: string): Promise<void> {
  try {
    await tryListen(server, address);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const place = formatListenAddress(address);
    if (code === 'EADDRINUSE' && address.path !== undefined && !(await answers(address.path))) {
      await unlink(address.path);
      await tryListen(server, address);
    } else if (code === 'EADDRINUSE') {
      throw new SettingsError(
        variable,
        `${place} is in use; stop what listens there or set ${variable} to another address`,
      );
    } else {
      throw new SettingsError(
        variable,
        `cannot listen on ${place} (${code ?? String(error)}); set ${variable} to an address of this machine that you may use`,
      );
    }
  }
  // Who may connect to the socket may only ask: every request still needs the proxy's signature.
  if (address.path !== undefined) await chmod(address.path, 0o660);
}

function tryListen(server: Server, address: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(
      address.path === undefined ? { host: address.host, port: address.port } : { path: address.path },
      () => {
        server.removeListener('error', reject);
        resolve();
      },
    );
  });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => {
      resolve(false);
    });
  });
}
