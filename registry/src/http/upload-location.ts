import type { Route } from '@wharfie/shared';
import { OciError, Seal } from '@wharfie/shared';
import type { Upload } from '../domain/uploads.js';

/**
 * Uploads on their way to the client and back. What the registry must remember between two requests stands in the
 * Location, signed, so that any instance with the same secret can go on; it holds for one upload in one repository, and
 * for the account that began it.
 */
export class UploadLocations {
  readonly #seal: Seal;

  constructor(secret: Buffer) {
    this.#seal = new Seal(secret, 'upload location');
  }

  /** A relative address: it stays right behind any proxy and scheme. */
  location(upload: Upload, subject: string): string {
    const state = this.#seal.close({ ...upload, subject });
    return `/v2/${upload.repository}/blobs/uploads/${upload.id}?_state=${state}`;
  }

  /** @throws OciError BLOB_UPLOAD_INVALID for what was not signed here, or for something else */
  upload(route: Route<'upload'>, subject: string): Upload {
    const state = this.#seal.open(route.state ?? '') as (Upload & { subject: string }) | undefined;
    if (state?.id === route.upload && state.repository === route.repository && state.subject === subject) {
      const { subject: _, ...upload } = state;
      return upload;
    }
    throw new OciError(
      'BLOB_UPLOAD_INVALID',
      'this is not the Location of an upload that you began here; begin a new one',
    );
  }
}
