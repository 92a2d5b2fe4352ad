import { describe, expect, it } from 'vitest';
import { errorEnvelope, OciError } from './oci-error.js';

const inJson = (error: OciError, requestId?: string): unknown =>
  JSON.parse(JSON.stringify(errorEnvelope(error, requestId)));

describe('the error envelope', () => {
  it('holds code, message and detail, and the id of the request', () => {
    const error = new OciError('DENIED', 'bob may not push to team/app', { repository: 'team/app' });
    expect(error.status).toBe(403);
    expect(inJson(error, 'r1')).toEqual({
      errors: [
        {
          code: 'DENIED',
          message: 'bob may not push to team/app',
          detail: { repository: 'team/app', requestId: 'r1' },
        },
      ],
    });
  });

  it('has one entry for each element of a detail that is a list', () => {
    const error = new OciError('MANIFEST_BLOB_UNKNOWN', 'not here', [{ digest: 'a' }, { digest: 'b' }]);
    expect(inJson(error)).toEqual({
      errors: [
        { code: 'MANIFEST_BLOB_UNKNOWN', message: 'not here', detail: { digest: 'a' } },
        { code: 'MANIFEST_BLOB_UNKNOWN', message: 'not here', detail: { digest: 'b' } },
      ],
    });
  });

  it.each([
    ['no detail', undefined, {}],
    ['null', null, {}],
    ['an empty list', [], {}],
    ['a text', 'too long', { reason: 'too long' }],
  ])('is never empty: with %s there is one entry, whose detail is an object', (_what, given, detail) => {
    const error = new OciError('UNKNOWN', 'that went wrong', given);
    expect(inJson(error)).toEqual({ errors: [{ code: 'UNKNOWN', message: 'that went wrong', detail }] });
  });

  it('carries a code of the specification although the status is one of HTTP alone', () => {
    expect(new OciError('MANIFEST_TOO_LARGE', 'too large')).toMatchObject({ status: 413, code: 'SIZE_INVALID' });
    expect(new OciError('NOT_FOUND', 'nothing here')).toMatchObject({ status: 404, code: 'UNSUPPORTED' });
  });
});
