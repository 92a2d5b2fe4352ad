import { OciError } from './oci-error.js';

/** Pieces that a query may have when some of it is not UTF-8. */
const mostOdd = 32;

/**
 * Reads a query or a form. URLSearchParams throws and catches an exception at each piece whose escapes are not UTF-8, so that
 * 16 KiB of them take 60 ms: a look at the whole finds them first.
 * @throws OciError BAD_REQUEST
 */
export function parseQuery(text: string): URLSearchParams {
  try {
    decodeURIComponent(text);
  } catch {
    if (text.split('&').length > mostOdd) {
      throw new OciError('BAD_REQUEST', 'the escapes of the query or the form are not UTF-8');
    }
  }
  return new URLSearchParams(text);
}
