import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { digestOf } from './digest.js';
import { isTag, parseReference } from './reference.js';

describe('a tag', () => {
  it.each(['latest', '1.0.0', '_x', 'A', 'sha256-abc.sig', 'x'.repeat(128)])('may be %s', (tag) => {
    expect(isTag(tag)).toBe(true);
    expect(parseReference(tag)).toEqual({ tag });
  });

  it.each(['', '.', '..', '.x', '-x', 'a:b', 'a/b', 'a+b', 'a b', 'a\n', 'é', 'x'.repeat(129)])(
    'may not be %j',
    (tag) => {
      expect(isTag(tag)).toBe(false);
      expect(parseReference(tag)).toBeUndefined();
    },
  );
});

describe('a reference', () => {
  it('is a digest exactly when it is written as one', () => {
    const digest = digestOf(Buffer.from('x'));
    expect(parseReference(digest)).toEqual({ digest });
    expect(parseReference(digest.replace(':', '-'))).toEqual({ tag: digest.replace(':', '-') });
  });

  it('is never both a tag and a digest', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(Object.keys(parseReference(text) ?? { nothing: '' })).toHaveLength(1);
      }),
    );
  });
});
