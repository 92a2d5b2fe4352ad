import { createHmac, timingSafeEqual } from 'node:crypto';
import { deriveKey } from './secret.js';

/** Values that leave this process as text, which anybody may read and nobody change: signed with HMAC-SHA256, for one purpose. */
export class Seal {
  readonly #key: Buffer;

  constructor(secret: Buffer, purpose: string) {
    this.#key = deriveKey(secret, purpose);
  }

  /** @param context what must be the same when it is opened */
  close(value: unknown, context = ''): string {
    const payload = Buffer.from(JSON.stringify(value)).toString('base64url');
    return `${payload}.${this.#mac(context, payload).toString('base64url')}`;
  }

  /** The value, or undefined when it was not sealed so. */
  open(text: string, context = ''): unknown {
    const [payload = '', mac = ''] = text.split('.');
    const [given, expected] = [Buffer.from(mac, 'base64url'), this.#mac(context, payload)];
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
    return JSON.parse(Buffer.from(payload, 'base64url').toString());
  }

  #mac(context: string, payload: string): Buffer {
    return createHmac('sha256', this.#key).update(`${context}.${payload}`).digest();
  }
}
