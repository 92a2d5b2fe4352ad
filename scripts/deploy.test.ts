import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { settingsTable } from '@wharfie/shared';
import { expect, it } from 'vitest';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const dockerfile = read('Dockerfile');
const compose = read('docker-compose.yml');
const example = read('.env.example');

it('images and units run as npm start does, in the version of package.json', () => {
  const { NODE_ARGUMENTS = '', ...variables } = parseEnv(read('scripts/node.env'));
  for (const [name, value] of Object.entries(variables))
    expect(dockerfile, name).toMatch(new RegExp(`${name}="?${value}"?( |\n)`));
  const run = ['node', ...NODE_ARGUMENTS.split(' ')];
  for (const name of ['registry', 'proxy']) {
    const main = `${name}/dist/main.js`;
    expect(dockerfile).toContain(`\nCMD ${JSON.stringify([...run, main]).replaceAll(',', ', ')}\n`);
    expect(read(`deploy/systemd/wharfie-${name}.service`)).toContain(`/env node $NODE_ARGUMENTS ${main}\n`);
  }
  expect(compose).toContain(run.map((one) => `      - ${one}\n`).join(''));
  expect(spawnSync(process.execPath, [...run.slice(1), '--eval', '0']).status, NODE_ARGUMENTS).toBe(0);
  const { version } = JSON.parse(read('package.json')) as { version: string };
  expect(dockerfile).toContain(`ARG VERSION=${version}\n`);
});

it('the Dockerfile needs no builder that has to be fetched', () => {
  expect(dockerfile).not.toMatch(/^# *syntax=|<<|--mount/m);
});

it('the audit log that docs/operations.md has rotated lies where the proxy’s unit may write', () => {
  const page = read('docs/operations.md');
  const [, folder = ''] = /^\/var\/log\/([^/]+)\/audit\.log \{$/m.exec(page) ?? [];
  const [, unit = ''] = /systemctl kill .*--signal=USR2 (\S+)/.exec(page) ?? [];
  expect(read(`deploy/systemd/${unit}.service`)).toContain(`\nLogsDirectory=${folder}\n`);
});

it('.env.example names only what docker-compose.yml or the files beside it read', () => {
  const files = ['openstack', 'tls', 'host-folder'].map((name) => read(`deploy/compose/${name}.yml`));
  const names = [...example.matchAll(/^#([A-Z_]+)=/gm)].map(([, name = '']) => name);
  expect(names.length).toBeGreaterThan(20);
  for (const name of names.filter((one) => !one.startsWith('COMPOSE_')))
    expect([compose, ...files].join('\n')).toMatch(new RegExp(`\\b${name}\\b`));
});

it('.env.example names every setting that docker-compose.yml passes on', () => {
  const names = Object.values(settingsTable({})).map(({ variables }) => variables[0]);
  const passed = names.filter((name) => compose.includes(`      ${name}:\n`));
  expect(passed.length).toBeGreaterThan(30);
  expect(passed.filter((name) => !new RegExp(`^#${name}(_FILE)?=`, 'm').test(example))).toEqual([]);
});

it('docker-compose.yml passes on every setting that is not about places in a container', () => {
  const places = /^WHARFIE_(DATA|.*LISTEN|REGISTRY_URL|TLS_.*|STORAGE_ROOT)$|^REGISTRY_STORAGE_FILESYSTEM_/;
  const names = Object.values(settingsTable({})).flatMap(({ variables }): readonly string[] => variables);
  expect(names.filter((name) => !places.test(name) && !compose.includes(`      ${name}:`))).toEqual([]);
});
