/**
 * Every refusal that either service gives: its status, and the code that stands in the envelope. Codes are those of the
 * specification where one fits, else those of distribution, which clients know as well.
 * https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
 */
const table = {
  BLOB_UNKNOWN: [404, 'BLOB_UNKNOWN'],
  BLOB_UPLOAD_INVALID: [404, 'BLOB_UPLOAD_INVALID'],
  BLOB_UPLOAD_UNKNOWN: [404, 'BLOB_UPLOAD_UNKNOWN'],
  DENIED: [403, 'DENIED'],
  DIGEST_INVALID: [400, 'DIGEST_INVALID'],
  MANIFEST_BLOB_UNKNOWN: [400, 'MANIFEST_BLOB_UNKNOWN'],
  MANIFEST_INVALID: [400, 'MANIFEST_INVALID'],
  MANIFEST_TOO_LARGE: [413, 'SIZE_INVALID'],
  MANIFEST_UNKNOWN: [404, 'MANIFEST_UNKNOWN'],
  NAME_INVALID: [400, 'NAME_INVALID'],
  NAME_UNKNOWN: [404, 'NAME_UNKNOWN'],
  PAGINATION_NUMBER_INVALID: [400, 'PAGINATION_NUMBER_INVALID'],
  RANGE_INVALID: [416, 'RANGE_INVALID'],
  SIZE_INVALID: [400, 'SIZE_INVALID'],
  TAG_INVALID: [400, 'TAG_INVALID'],
  TOO_MANY_TAGS: [414, 'TAG_INVALID'],
  TOOMANYREQUESTS: [429, 'TOOMANYREQUESTS'],
  UNAUTHORIZED: [401, 'UNAUTHORIZED'],
  UNSUPPORTED: [405, 'UNSUPPORTED'],
  UNAVAILABLE: [503, 'UNAVAILABLE'],
  UNKNOWN: [500, 'UNKNOWN'],
  // Of HTTP itself: no code of the specification fits, so distribution's catch-alls carry them.
  BAD_GATEWAY: [502, 'UNAVAILABLE'],
  BAD_REQUEST: [400, 'UNSUPPORTED'],
  CONTENT_TOO_LARGE: [413, 'SIZE_INVALID'],
  EXPECTATION_FAILED: [417, 'UNSUPPORTED'],
  HEADERS_TOO_LARGE: [431, 'SIZE_INVALID'],
  INSUFFICIENT_STORAGE: [507, 'UNAVAILABLE'],
  NOT_FOUND: [404, 'UNSUPPORTED'],
  REQUEST_TIMEOUT: [408, 'UNAVAILABLE'],
} as const satisfies Record<string, readonly [status: number, code: string]>;

export type ErrorName = keyof typeof table;

interface ErrorEntry {
  code: string;
  message: string;
  detail?: unknown;
}

/** Characters of a message, which may quote what a client has sent. */
const longestMessage = 1000;

/**
 * A refusal in the specification's form. The message is for the person at the other end: it says what is wrong and,
 * where something can be done, what. Docker's engine repeats a push for 50 seconds on distribution's bare default texts
 * ("authentication required", "requested access to the resource is denied"), so a message is never one of those.
 */
export class OciError extends Error {
  override readonly name = 'OciError';
  readonly status: number;
  readonly code: string;

  constructor(
    readonly problem: ErrorName,
    message: string,
    readonly detail?: unknown,
    /** Headers that the answer must carry, such as `Allow` or `WWW-Authenticate`. */
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message.length > longestMessage ? `${message.slice(0, longestMessage)}…` : message);
    [this.status, this.code] = table[problem];
  }
}

/**
 * The body of an error answer. The request's id goes into each detail, so that a user can quote it and an operator find it.
 * A detail that is a list becomes one entry an element, as the specification has it for missing blobs.
 */
export function errorEnvelope(error: OciError, requestId?: string): { errors: ErrorEntry[] } {
  const details = Array.isArray(error.detail) && error.detail.length > 0 ? error.detail : [error.detail];
  return {
    errors: details.map((detail: unknown) => ({
      code: error.code,
      message: error.message,
      detail: {
        ...(typeof detail === 'object' ? detail : { reason: detail }),
        ...(requestId === undefined ? {} : { requestId }),
      },
    })),
  };
}
