import { expect, test } from 'vitest';
import { Beside } from './beside.js';

test('each object has a value of its own, for each kind of value', () => {
  const names = new Beside<object, string>();
  const sizes = new Beside<object, number>();
  const [one, other] = [{}, {}];
  expect(names.get(one)).toBeUndefined();
  names.set(one, 'one');
  sizes.set(one, 1);
  names.set(other, 'other');
  names.set(one, 'first');
  expect([names.get(one), sizes.get(one), names.get(other), sizes.get(other)]).toEqual([
    'first',
    1,
    'other',
    undefined,
  ]);
});

test('it is seen neither among the names of the object nor in its JSON', () => {
  const one = { a: 1 };
  new Beside<object, string>().set(one, 'one');
  expect(Object.keys(one)).toEqual(['a']);
  expect(JSON.stringify(one)).toBe('{"a":1}');
});
