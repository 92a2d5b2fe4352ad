import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseRange } from './range.js';

const whole = undefined;
const unsatisfiable: never[] = [];

describe('a Range header on 2048 bytes', () => {
  it.each([
    ['nothing', undefined, whole],
    ['a range in the middle', 'bytes=500-1499', [{ start: 500, length: 1000 }]],
    ['everything from a byte on', 'bytes=500-', [{ start: 500, length: 1548 }]],
    ['everything, as a range', 'bytes=0-', [{ start: 0, length: 2048 }]],
    ['the last bytes', 'bytes=-500', [{ start: 1548, length: 500 }]],
    ['more last bytes than there are', 'bytes=-5000', [{ start: 0, length: 2048 }]],
    ['an end beyond the last byte', 'bytes=2000-5000', [{ start: 2000, length: 48 }]],
    ['one byte', 'bytes=2047-2047', [{ start: 2047, length: 1 }]],
    ['an end before its start', 'bytes=500-0', unsatisfiable],
    ['a start beyond the last byte', 'bytes=5000-10000', unsatisfiable],
    ['a start at the size', 'bytes=2048-', unsatisfiable],
    ['no last bytes', 'bytes=-0', unsatisfiable],
    ['no number', 'bytes=-', unsatisfiable],
    ['words', 'bytes=a-b', unsatisfiable],
    ['a negative number', 'bytes=--5', unsatisfiable],
    ['another unit', 'lines=1-2', whole],
    ['no unit', '0-10', whole],
    ['an empty list', 'bytes=', whole],
    [
      'several ranges',
      'bytes=0-9, 20-29',
      [
        { start: 0, length: 10 },
        { start: 20, length: 10 },
      ],
    ],
    ['several ranges of which one is beyond the end', 'bytes=0-9,9000-', [{ start: 0, length: 10 }]],
    ['sixteen ranges', `bytes=${Array(16).fill('1-1').join()}`, Array(16).fill({ start: 1, length: 1 })],
    ['more ranges', `bytes=${Array(17).fill('1-1').join()}`, whole],
    ['ranges that overlap to more than the whole', 'bytes=0-2000,10-2000', whole],
    [
      'blanks and empty entries',
      'bytes= 1-2 ,, -1',
      [
        { start: 1, length: 2 },
        { start: 2047, length: 1 },
      ],
    ],
  ])('that asks for %s', (_what, header, expected) => {
    expect(parseRange(header, 2048)).toEqual(expected);
  });

  it('is ignored on a blob without bytes, as clients send one with every request', () => {
    expect(parseRange('bytes=0-', 0)).toBeUndefined();
    expect(parseRange('bytes=-5', 0)).toBeUndefined();
  });
});

/** The bytes that RFC 9110 §14.1.2 says one spec stands for, by looking at every position. */
function positions(first: number | undefined, last: number | undefined, size: number): number[] {
  const all = Array.from({ length: size }, (_, position) => position);
  if (first === undefined) return all.filter((position) => position >= size - (last ?? 0));
  return all.filter((position) => position >= first && position <= (last ?? size));
}

const spec = fc
  .record({ first: fc.option(fc.nat(40), { nil: undefined }), last: fc.option(fc.nat(40), { nil: undefined }) })
  .filter(({ first, last }) => (first === undefined ? last !== undefined : last === undefined || last >= first));

describe('any well-formed Range header', () => {
  it('selects the bytes that a look at every position selects', () => {
    fc.assert(
      fc.property(fc.array(spec, { minLength: 1, maxLength: 4 }), fc.integer({ min: 1, max: 30 }), (specs, size) => {
        const header = `bytes=${specs.map(({ first, last }) => `${first ?? ''}-${last ?? ''}`).join(',')}`;
        const expected = specs.flatMap(({ first, last }) => positions(first, last, size));
        const ranges = parseRange(header, size);
        if (expected.length > size) {
          expect(ranges).toBeUndefined();
        } else {
          const selected = ranges?.flatMap(({ start, length }) =>
            Array.from({ length }, (_, position) => start + position),
          );
          expect(selected).toEqual(expected);
        }
      }),
    );
  });

  it('or any other text never gives a range outside the bytes, nor more than the whole', () => {
    const text = fc.oneof(fc.string(), fc.stringMatching(/^bytes=[-0-9, ]{0,30}$/));
    fc.assert(
      fc.property(text, fc.nat(100), (header, size) => {
        const ranges = parseRange(header, size) ?? [];
        for (const { start, length } of ranges) {
          expect(start).toBeGreaterThanOrEqual(0);
          expect(length).toBeGreaterThan(0);
          expect(start + length).toBeLessThanOrEqual(size);
        }
        expect(ranges.reduce((sum, { length }) => sum + length, 0)).toBeLessThanOrEqual(size);
      }),
    );
  });
});
