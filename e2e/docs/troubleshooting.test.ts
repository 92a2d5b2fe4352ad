import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { describeWith } from '../harness/requirements.js';
import { projectRoot } from '../harness/wharfie.js';
import { pattern, type } from './terminal.js';

const page = readFileSync(join(projectRoot, 'docs', 'troubleshooting.md'), 'utf8');
/** The messages in the first column of the tables that clients say. */
const messages = page
  .slice(0, page.indexOf('## What Wharfie says itself'))
  .split('\n')
  .filter((line) => /^\| `/.test(line))
  .flatMap((line) => [...(line.split(' | ')[0] ?? '').matchAll(/`([^`]+)`/g)])
  .map(([, message = '']) => message);

describeWith(['root', 'docker', 'podman', 'skopeo', 'containerd', 'tools'], 'docs/troubleshooting.md', () => {
  let cases: string[];
  beforeAll(async () => {
    const { seen } = await type(`cd wharfie\n${readFileSync(new URL('troubles.sh', import.meta.url), 'utf8')}`);
    cases = seen
      // skopeo quotes what it says.
      .replaceAll('\\"', '"')
      .split(/^== /m)
      .slice(1);
  });

  it('has only messages that are really said', () => {
    expect(messages.length).toBeGreaterThan(25);
    expect(messages.filter((message) => !cases.some((said) => pattern(message).test(said)))).toEqual([]);
  });

  it('explains whatever was said', () => {
    expect(cases.length).toBeGreaterThan(50);
    expect(cases.filter((said) => !messages.some((message) => pattern(message).test(said)))).toEqual([]);
  });
});
