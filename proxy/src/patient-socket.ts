import { Socket, type NetConnectOpts } from 'node:net';

type Callback = (error?: Error | null) => void;

/** How long a failed write waits for what the other side may have said before, in milliseconds. */
const patience = 1_000;

/**
 * A connection to the registry whose failed writes wait until everything that arrived has been read. A registry that
 * refuses an upload answers, closes, and so makes our next write fail; Node would throw the unread answer away with it.
 */
class PatientSocket extends Socket {
  override _write(chunk: unknown, encoding: BufferEncoding, callback: Callback): void {
    super._write(chunk, encoding, this.#patient(callback));
  }

  override _writev(chunks: { chunk: unknown; encoding: BufferEncoding }[], callback: Callback): void {
    super._writev?.(chunks, this.#patient(callback));
  }

  #patient(callback: Callback): Callback {
    return (error) => {
      if (!error || this.destroyed || this.readableEnded) {
        callback(error);
        return;
      }
      const timer = setTimeout(callback, patience, error);
      // Reading ends with the connection's error, which is the same or tells more.
      this.once('close', () => {
        clearTimeout(timer);
      });
    };
  }
}

/** As `net.connect`. */
export function connectPatiently(options: NetConnectOpts): Socket {
  const socket = new PatientSocket(options);
  if (options.timeout !== undefined) socket.setTimeout(options.timeout);
  return socket.connect(options);
}
