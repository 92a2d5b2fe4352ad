import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { algorithmOf, digestOf, hexOf, parseDigest } from './digest.js';

const hex = '0123456789abcdef'.repeat(4);

describe('a digest', () => {
  it('is sha256 with 64 or sha512 with 128 lower-case hexadecimal digits', () => {
    expect(parseDigest(`sha256:${hex}`)).toBe(`sha256:${hex}`);
    expect(parseDigest(`sha512:${hex}${hex}`)).toBe(`sha512:${hex}${hex}`);
  });

  it.each([
    ['upper-case digits', `sha256:${hex.toUpperCase()}`],
    ['too few digits', `sha256:${hex.slice(1)}`],
    ['too many digits', `sha256:${hex}0`],
    ["another algorithm's length", `sha512:${hex}`],
    ['an algorithm that is not registered', `md5:${hex.slice(32)}`],
    ["an algorithm named like an object's property", `constructor:${hex}`],
    ['an algorithm in capitals', `SHA256:${hex}`],
    ['no algorithm', hex],
    ['an empty algorithm', `:${hex}`],
    ['no digits', 'sha256:'],
    ['something after the digits', `sha256:${hex}:x`],
    ['a line end', `sha256:${hex}\n`],
    ['words in place of digits', 'sha256:baddigeststring'],
    ['nothing at all', ''],
  ])('is not one with %s', (_what, text) => {
    expect(parseDigest(text)).toBeUndefined();
  });

  it('of bytes is what other tools compute', () => {
    expect(digestOf(Buffer.from('{}'))).toBe('sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a');
    expect(digestOf(new Uint8Array())).toBe('sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  });

  it('of any bytes is one, and splits into its two parts', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.constantFrom('sha256', 'sha512'), (bytes, algorithm) => {
        const digest = digestOf(bytes, algorithm);
        expect(parseDigest(digest)).toBe(digest);
        expect(`${algorithmOf(digest)}:${hexOf(digest)}`).toBe(digest);
        expect(algorithmOf(digest)).toBe(algorithm);
      }),
    );
  });
});
