import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { pattern, type } from './terminal.js';
import { describeWith } from '../harness/requirements.js';
import { projectRoot } from '../harness/wharfie.js';

interface Block {
  commands: string;
  /** What the page shows as their output; `…` stands for anything. */
  output: string | undefined;
}

const pages = ['README.md', ...readdirSync(join(projectRoot, 'docs')).map((name) => `docs/${name}`)]
  .filter((path) => path.endsWith('.md'))
  .map((path) => ({ path, blocks: blocks(readFileSync(join(projectRoot, path), 'utf8')) }))
  .filter(({ blocks }) => blocks.length > 0);

describeWith(['root', 'docker', 'skopeo', 'distribution', 'tools'], 'the commands of', () => {
  it.each(pages)(
    '$path do what it says',
    async ({ blocks }) => {
      // A page that begins with the clone begins outside of it.
      const first = blocks[0]?.commands.includes('git clone') ? '' : 'cd wharfie\n';
      const script = blocks.map(({ commands }, number) => `echo "${mark(number)}"\n${commands}`).join('\n');
      const { code, seen } = await type(`${first}${script}\necho "${mark(blocks.length)}"\n`);
      expect(code, seen).toBe(0);
      for (const [number, { output }] of blocks.entries()) {
        const said = seen.slice(seen.indexOf(mark(number)), seen.indexOf(mark(number + 1)));
        if (output !== undefined) expect(said).toMatch(pattern(output));
      }
    },
    300_000,
  );
});

function mark(number: number): string {
  return `== block ${number}`;
}

/** The blocks of a page that are run here. Others say why not, or which test runs them. */
function blocks(markdown: string): Block[] {
  return [...markdown.matchAll(/^( *)```sh\n([^]*?)^ *```\n(?:\n```text\n([^]*?)^```\n)?/gm)]
    .map(([, indent = '', commands = '', output]) => ({
      commands: commands.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
      output,
    }))
    .filter(({ commands }) => {
      const elsewhere = /^# tested by (e2e\/\S+)/.exec(commands)?.[1];
      if (elsewhere !== undefined && !existsSync(join(projectRoot, elsewhere)))
        throw new Error(`there is no ${elsewhere}`);
      return elsewhere === undefined && !/^# not tested: \S/.test(commands);
    });
}
