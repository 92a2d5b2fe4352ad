import { readFileSync } from 'node:fs';
import type { Action } from '@wharfie/shared';
import { describe, expect, it } from 'vitest';
import { decide } from '../src/access/decide.js';
import { parsePolicy } from '../src/access/policy.js';

const page = readFileSync(new URL('../../docs/access.md', import.meta.url), 'utf8');

/** Each policy of the page with the table that follows it. */
const policies = [...page.matchAll(/^```yaml\n([^]*?)^```\n\n((?:^\|.*\n)*)/gm)].map(([, yaml = '', table = '']) => ({
  yaml,
  rows: table
    .trim()
    .split('\n')
    .slice(2)
    .map((row) => row.split('|').map((cell) => cell.trim()))
    .map(([, who = '', action = '', repository = '', answer = '']) => ({ who, action, repository, answer })),
}));

describe('docs/access.md', () => {
  it('has an introduction and ten policies, each with decisions of both kinds', () => {
    expect(policies).toHaveLength(11);
    for (const { yaml, rows } of policies) {
      expect(new Set(rows.map(({ answer }) => answer)), yaml).toEqual(new Set(['allowed', 'denied']));
    }
  });

  it.each(policies)('tells the truth about\n$yaml', ({ yaml, rows }) => {
    const policy = parsePolicy(yaml);
    expect(policy.warnings).toEqual([]);
    const decided = rows.map((row) => {
      const asker = row.who === '$anonymous' ? 'anonymous' : { name: row.who };
      const { allowed } = decide(policy, asker, row.action as Action, row.repository);
      return { ...row, answer: allowed ? 'allowed' : 'denied' };
    });
    expect(decided).toEqual(rows);
  });
});
