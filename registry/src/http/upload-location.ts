import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Route } from '@wharfie/shared';
import { OciError, deriveKey } from '@wharfie/shared';
import type { Upload } from '../domain/uploads.js';

/**
 * Uploads on their way to the client and back. What the registry must remember between two requests stands in the
 * Location, signed, so that any instance with the same secret can go on; it holds for one upload in one repository, and
 * for the account that began it.
 */
export class UploadLocations {
  readonly #key: Buffer;

  constructor(secret: Buffer) {
    this.#key = deriveKey(secret, 'upload location');
  }

  /** A relative address: it stays right behind any proxy and scheme. */
  location(upload: Upload, subject: string): string {
    const payload = Buffer.from(JSON.stringify({ ...upload, subject })).toString('base64url');
    return `/v2/${upload.repository}/blobs/uploads/${upload.id}?_state=${payload}.${this.#mac(payload).toString('base64url')}`;
  }

  /** @throws OciError BLOB_UPLOAD_INVALID for what was not signed here, or for something else */
  upload(route: Route<'upload'>, subject: string): Upload {
    const [payload = '', mac = ''] = route.state?.split('.') ?? [];
    const [given, expected] = [Buffer.from(mac, 'base64url'), this.#mac(payload)];
    if (given.length === expected.length && timingSafeEqual(given, expected)) {
      const { subject: owner, ...upload } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Upload & {
        subject: string;
      };
      if (upload.id === route.upload && upload.repository === route.repository && owner === subject) return upload;
    }
    throw new OciError(
      'BLOB_UPLOAD_INVALID',
      'this is not the Location of an upload that you began here; begin a new one',
    );
  }

  #mac(payload: string): Buffer {
    return createHmac('sha256', this.#key).update(payload).digest();
  }
}
