import { defineConfig } from 'vitest/config';

const project = (name: string, include: string[]) => ({
  test: { name, include, testTimeout: 20_000, hookTimeout: 60_000 },
});

export default defineConfig({
  test: {
    projects: [
      project('architecture', ['scripts/*.test.ts']),
      project('unit', ['{shared,proxy,registry}/src/**/*.test.ts']),
      project('wire', ['{proxy,registry}/test/**/*.test.ts']),
      {
        test: {
          name: 'e2e',
          include: ['e2e/**/*.test.ts'],
          testTimeout: 180_000,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
