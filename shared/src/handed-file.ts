import { Seal } from './seal.js';

/**
 * The header by which the proxy, where both are on one machine, offers to send a blob's file itself, and by which the registry
 * answers with a HandedFile in place of the bytes.
 */
export const fileHeader = 'wharfie-file';

/** A part of a file, and what tells that it is this very file and as long as it was. */
export interface HandedFile {
  path: string;
  /** `stat`'s, as text. */
  device: string;
  inode: string;
  /** Bytes of the whole file. */
  size: number;
  start: number;
  length: number;
}

/** Signs such files, each for one request. */
export class HandedFiles {
  readonly #seal: Seal;

  constructor(secret: Buffer) {
    this.#seal = new Seal(secret, 'handed file');
  }

  sign(file: HandedFile, requestId: string): string {
    return this.#seal.close(file, requestId);
  }

  /** The file, or undefined when it was not signed by the registry for this request. */
  read(text: string, requestId: string): HandedFile | undefined {
    return this.#seal.open(text, requestId) as HandedFile | undefined;
  }
}
