import { describe, expect, test } from 'vitest';
import { unknownVariables } from './unknown-variables.js';

const known = ['WHARFIE_DATA', 'WHARFIE_LISTEN', 'WHARFIE_LOG_LEVEL'];

describe('a variable that nobody reads', () => {
  test.each([
    ['WHARFIE_LISTN', 'WHARFIE_LISTEN'],
    ['WHARFIE_LOGLEVEL', 'WHARFIE_LOG_LEVEL'],
    ['WHARFIE_DATE', 'WHARFIE_DATA'],
  ])('%s was probably meant to be %s', (name, nearest) => {
    expect(unknownVariables({ [name]: 'x' }, known)).toEqual([{ name, nearest }]);
  });

  test('has no nearest name when it is far from all', () => {
    expect(unknownVariables({ WHARFIE_SOMETHING_ELSE: 'x' }, known)).toEqual([{ name: 'WHARFIE_SOMETHING_ELSE' }]);
  });

  test('is only one of our own', () => {
    expect(unknownVariables({ PATH: 'x', WHARFIE_DATA: 'x', OS_AUTH_URL: 'x' }, known)).toEqual([]);
  });
});
