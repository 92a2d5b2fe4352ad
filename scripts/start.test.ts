import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';

let root: string;
const write = (path: string, text: string) => {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
};
const start = (environment: Record<string, string>) => {
  const { stdout, stderr } = spawnSync(process.execPath, [join(root, 'scripts', 'start.mjs')], { env: environment });
  return { stdout: stdout.toString(), stderr: stderr.toString() };
};

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'wharfie-start-'));
  const script = fileURLToPath(new URL('start.mjs', import.meta.url));
  cpSync(script, join(root, 'scripts', 'start.mjs'));
  write('package-lock.json', '{"packages":{}}');
  for (const name of ['shared', 'registry', 'proxy']) {
    write(`${name}/tsconfig.json`, '');
    write(`${name}/src/index.ts`, '');
  }
});
afterEach(() => {
  rmSync(root, { recursive: true });
});

it('npm start installs packages before it builds where those to build with were removed', () => {
  write('node_modules/.package-lock.json', '{"packages":{}}');
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const npm = `const fs = require('node:fs');
fs.mkdirSync(${JSON.stringify(dirname(compiler))}, { recursive: true });
fs.writeFileSync(${JSON.stringify(compiler)}, 'console.log("it builds"); process.exit(1)');
`;
  write('npm.cjs', npm);
  const { stdout } = start({ npm_execpath: join(root, 'npm.cjs') });
  expect(stdout).toMatch(/^wharfie: installing packages …\n[^]*^wharfie: building …\nit builds\n/m);
});

it('npm start says so where there is no npm', () => {
  const { stderr } = start({ PATH: '' });
  expect(stderr).toMatch(/^wharfie: npm is not installed, or not in PATH\n/);
});
