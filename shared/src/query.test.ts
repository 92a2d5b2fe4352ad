import { expect, it } from 'vitest';
import { OciError } from './oci-error.js';
import { parseQuery } from './query.js';

it('a query is read as URLSearchParams does, and an odd escape is let through as it is there', () => {
  expect([...parseQuery('a=%C3%BC+1&b&a=2')]).toEqual([...new URLSearchParams('a=%C3%BC+1&b&a=2')]);
  expect(parseQuery('from=%zz&mount=%ff').get('from')).toBe('%zz');
});

it('many odd escapes are refused, as each costs an exception', () => {
  for (const piece of ['%ff&', '%zz=%C3&', '&%']) expect(() => parseQuery(piece.repeat(3900))).toThrow(OciError);
});
