import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { v8Flags } from './v8-flags.js';

it('knows flags of this V8 alone', () => {
  const known = execFileSync(process.execPath, ['--v8-options'], { encoding: 'utf8' });
  const names = v8Flags.map((flag) => flag.replace(/^--(no-)?/, '').replace(/=.*/, ''));
  expect(names.filter((name) => !known.includes(`--${name} (`))).toEqual([]);
});
