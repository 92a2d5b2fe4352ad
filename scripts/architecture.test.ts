import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

/** What files below a folder may not import (a path in the project, or a package). */
const rules: { below: string; forbidden: RegExp; why: string }[] = [
  { below: 'shared/src', forbidden: /^(proxy|registry|@wharfie)\b/, why: 'shared knows neither service' },
  { below: 'proxy/src', forbidden: /^(registry\/|@wharfie\/registry)/, why: 'the services meet in shared alone' },
  { below: 'registry/src', forbidden: /^(proxy\/|@wharfie\/proxy)/, why: 'the services meet in shared alone' },
  {
    below: 'registry/src/domain',
    forbidden:
      /^(registry\/src\/http\/|@nestjs\/|fastify$|node:http|node:fs|registry\/src\/storage\/(?!storage-driver\.js$|testing\/|memory\.js$))/,
    why: 'the domain knows no HTTP, no Nest and no driver, only their interface',
  },
  {
    below: 'registry/src/storage',
    forbidden: /^(registry\/src\/(http|domain)\/|@nestjs\/|fastify$)/,
    why: 'drivers know neither domain nor HTTP',
  },
  {
    below: 'registry/src/http',
    forbidden: /^registry\/src\/storage\/(?!storage-driver\.js$)/,
    why: 'controllers speak to the domain',
  },
];

describe('imports point one way', () => {
  const files = ['shared/src', 'proxy/src', 'registry/src'].flatMap(sources);

  it('in every file', () => {
    expect(files.length).toBeGreaterThan(50);
    expect(files.flatMap((file) => violations(file, readFileSync(join(root, file), 'utf8')))).toEqual([]);
  });

  it('and an import that does not is found', () => {
    const found = (file: string, specifier: string) => violations(file, `import { x } from '${specifier}';`).length;
    expect(found('registry/src/domain/x.ts', '../http/exchange.js')).toBe(1);
    expect(found('registry/src/domain/x.ts', 'node:fs/promises')).toBe(1);
    expect(found('registry/src/domain/x.ts', '../storage/filesystem.js')).toBe(1);
    expect(found('registry/src/domain/x.ts', '../storage/storage-driver.js')).toBe(0);
    expect(found('registry/src/storage/swift/driver.ts', '../../domain/layout.js')).toBe(1);
    expect(found('proxy/src/x.ts', '../../registry/src/main.js')).toBe(1);
    expect(found('shared/src/x.ts', '@wharfie/shared')).toBe(1);
  });
});

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.[jt]s$/.test(name))
    .map((name) => `${folder}/${name}`);
}

function violations(file: string, text: string): string[] {
  const imported = [...text.matchAll(/\bfrom '([^']+)'|\bimport\('([^']+)'\)|^import '([^']+)'/gm)].map(
    ([, ...found]) => found.find(Boolean) ?? '',
  );
  return imported.flatMap((specifier) => {
    const target = specifier.startsWith('.') ? join(file, '..', specifier) : specifier;
    return rules
      .filter(({ below, forbidden }) => file.startsWith(`${below}/`) && forbidden.test(target))
      .map(({ why }) => `${file} imports ${target}: ${why}`);
  });
}
