import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { describeWith } from './harness/requirements.js';
import { cleanEnvironment } from './harness/wharfie.js';
import { run } from './harness/run.js';

describeWith(['go'], 'the official conformance suite', () => {
  it('passes for the released version and the one in development, with nothing left out that is claimed', async () => {
    const script = fileURLToPath(new URL('conformance.mjs', import.meta.url));
    const { code, stdout, stderr } = await run(process.execPath, [script], { env: cleanEnvironment() });
    console.log(stdout);
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^1\.1: (\d+) of \d+ pass, 0 /m);
    expect(stdout).toMatch(/^dev: (\d+) of \d+ pass, 0 /m);
  });
});
