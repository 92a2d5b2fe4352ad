import { existsSync, readFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { settingsTable } from '@wharfie/shared';
import { describe, expect, it } from 'vitest';
import { commandsPage } from './commands.mjs';
import { configurationPage } from './configuration.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: root });
const files = listed.toString().trim().split('\n').filter(existsIn);
const pages = files.filter((path) => path.endsWith('.md'));

describe('the pages', () => {
  it.each([
    ['docs/configuration.md', configurationPage],
    ['docs/commands.md', commandsPage],
  ])('%s is what npm run docs writes', (path, page) => {
    expect(read(path)).toBe(page());
  });

  it('say what every setting takes that does not take any text', () => {
    const particular = Object.values(settingsTable({})).filter(({ schema }) => !schema.safeParse('%').success);
    expect(particular.length).toBeGreaterThan(15);
    expect(particular.filter(({ schema }) => !schema.description).map(({ variables }) => variables[0])).toEqual([]);
  });

  it('link to files and headings that exist', () => {
    expect(pages.length).toBeGreaterThan(10);
    const broken = pages.flatMap((page) =>
      links(read(page))
        .filter((link) => !leads(page, link))
        .map((link) => `${page}: ${link}`),
    );
    expect(broken).toEqual([]);
  });

  it('are all listed in docs/README.md', () => {
    const listed = links(read('docs/README.md')).map((link) => join('docs', link));
    const expected = pages.filter((page) => /^docs\/[^/]+\.md$/.test(page) && page !== 'docs/README.md');
    expect(expected.filter((page) => !listed.includes(page))).toEqual([]);
  });

  it('name only settings that exist', () => {
    const settings = new Set(
      Object.values(settingsTable({})).flatMap(({ variables }) => variables as readonly string[]),
    );
    // What compose alone reads is declared there.
    const compose = files
      .filter((path) => /compose.*\.ya?ml$|^\.env\.example$/.test(path))
      .map(read)
      .join('\n');
    const unknown = pages.flatMap((page) =>
      [...read(page).matchAll(/\bWHARFIE_[A-Z_]*[A-Z]\b/g)]
        .map(([name]) => name)
        .filter((name) => !settings.has(name) && !compose.includes(name) && name !== 'WHARFIE_E2E')
        .map((name) => `${page}: ${name}`),
    );
    expect(unknown).toEqual([]);
  });
});

function existsIn(path: string): boolean {
  return existsSync(join(root, path));
}

/** The targets of links that lead within the project. */
function links(markdown: string): string[] {
  const prose = markdown.replaceAll(/^```[^]*?^```/gm, '').replaceAll(/`[^`\n]*`/g, '');
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = '']) => target)
    .filter((target) => !/^\w+:/.test(target));
}

function leads(page: string, link: string): boolean {
  const [path = '', heading] = link.split('#');
  const target = path === '' ? page : join(dirname(page), path);
  return existsIn(target) && (heading === undefined || headings(read(target)).includes(heading));
}

/** The anchors that GitHub gives headings. */
function headings(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, text = '']) =>
    text
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}
