import { chmod, lstat, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import type { ListenAddress } from './listen-address.js';
import { formatListenAddress } from './listen-address.js';
import { reasonOf } from './reason-of.js';
import { SettingsError } from './settings-error.js';

/** Bytes, with room for the NUL that ends it (unix(7)); other systems than Linux have fewer. */
const longestPath = 107;

/**
 * Listens, or says which setting to change.
 * A unix socket that a killed process left behind is replaced; one that somebody answers on is not.
 * @throws SettingsError naming `variable`
 */
export async function listen(server: Server, address: ListenAddress, variable: string): Promise<void> {
  // Of a longer one Node takes the beginning.
  if (Buffer.byteLength(address.path ?? '') > longestPath) {
    const reason = `a socket's path may have ${longestPath} bytes, and this has more: set it to a shorter one`;
    throw new SettingsError(variable, reason);
  }
  try {
    await tryListen(server, address);
  } catch (error) {
    if (address.path === undefined || codeOf(error) !== 'EADDRINUSE' || !(await isAbandonedSocket(address.path))) {
      throw explained(error, address, variable);
    }
    try {
      await unlink(address.path);
      await tryListen(server, address);
    } catch (again) {
      throw explained(again, address, variable);
    }
  }
  // For the service's group as well, such as that of a web server in front: who may connect may only ask.
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

/** Whether `path` is a socket on which nobody listens. Anything else that stands there is somebody's file. */
async function isAbandonedSocket(path: string): Promise<boolean> {
  if (!(await lstat(path)).isSocket()) return false;
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', (error) => {
      resolve(codeOf(error) === 'ECONNREFUSED');
    });
  });
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

function explained(error: unknown, address: ListenAddress, variable: string): SettingsError {
  const place = formatListenAddress(address);
  const reason =
    codeOf(error) === 'EADDRINUSE'
      ? `${place} is in use; stop what listens there or set ${variable} to another address`
      : address.path === undefined
        ? `cannot listen on ${place} (${reasonOf(error)}); set ${variable} to an address of this machine that you may use`
        : `cannot listen on ${place} (${reasonOf(error)}); set ${variable} to a path in a folder that is there and that you may write`;
  return new SettingsError(variable, reason);
}
