import { describe, expect, it } from 'vitest';
import { isRepositoryName, maxRepositoryNameLength } from './repository-name.js';

describe('a repository name', () => {
  it.each([
    'a',
    '0',
    'a/b/c/d',
    'library/x',
    'a--b',
    'a----b',
    'a__b',
    'a.b-c_d',
    'foo/blobs/uploads',
    'a/manifests/tags',
    'tags/list',
    'a'.repeat(maxRepositoryNameLength),
  ])('may be %s', (name) => {
    expect(isRepositoryName(name)).toBe(true);
  });

  it.each([
    '',
    'A',
    'a/',
    '/a',
    'a//b',
    'a___b',
    'a._b',
    'a..b',
    '_a',
    'a_',
    '-a',
    'a-',
    '.',
    '..',
    'a/../b',
    'a/./b',
    'a%2Fb',
    'a:b',
    'a b',
    'a\n',
    'a\0',
    'a\\b',
    'é',
    'a'.repeat(maxRepositoryNameLength + 1),
  ])('may not be %j', (name) => {
    expect(isRepositoryName(name)).toBe(false);
  });
});
