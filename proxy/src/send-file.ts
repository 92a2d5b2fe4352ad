import { giveBack, takeBuffer, type HandedFile } from '@wharfie/shared';
import type { ServerResponse } from 'node:http';
import { open, type FileHandle } from 'node:fs/promises';

/** Opens what the registry handed over. @throws Error when that is another file, with `ENOENT` when it was replaced; or what opening a file throws */
export async function openHanded({ path, device, inode, size }: HandedFile): Promise<FileHandle> {
  const handle = await open(path, 'r');
  try {
    const found = await handle.stat({ bigint: true });
    const isThere = String(found.dev) === device;
    if (isThere && String(found.ino) === inode && Number(found.size) === size) return handle;
    const message = `${path} is not the file that the registry means`;
    // On the same device it was, a moment ago: the same blob was pushed again.
    throw isThere ? Object.assign(new Error(message), { code: 'ENOENT' }) : new Error(message);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * Sends a part of a file as a body, reading on while one piece is written, and closes the file.
 * @param sent is told of the bytes that went
 * @throws when the client leaves, or bytes are missing
 */
export async function sendFile(
  handle: FileHandle,
  { start, length }: HandedFile,
  response: ServerResponse,
  sent: (bytes: number) => void,
): Promise<void> {
  let [filling, waiting] = [takeBuffer(), takeBuffer()];
  let position = start;
  const end = start + length;
  const read = async (): Promise<Buffer> => {
    const { bytesRead } = await handle.read(filling, 0, Math.min(filling.length, end - position), position);
    if (bytesRead === 0) throw new Error('the file became shorter while it was sent');
    position += bytesRead;
    return filling.subarray(0, bytesRead);
  };
  try {
    let reading: Promise<Buffer> | undefined = length > 0 ? read() : undefined;
    while (reading) {
      const piece: Buffer = await reading;
      [filling, waiting] = [waiting, filling];
      reading = position < end ? read() : undefined;
      const [written] = await Promise.allSettled([write(response, piece), reading]);
      if (written.status === 'rejected') throw written.reason;
      sent(piece.length);
    }
  } finally {
    giveBack(filling, waiting);
    await handle.close();
  }
}

/**
 * Resolves when the connection has taken the bytes; rejects when it is closed, and never will. Either way the buffer is free
 * again. The response itself is silent when it waits for the one before it on its connection.
 */
function write(response: ServerResponse, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const { socket } = response.req;
    const left = (): void => {
      reject(new Error('the client left'));
    };
    socket.once('close', left);
    response.write(bytes, (error) => {
      socket.off('close', left);
      if (error) reject(error);
      else resolve();
    });
    if (socket.destroyed) left();
  });
}
