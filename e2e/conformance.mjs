// The official suite of the distribution specification against a fresh Wharfie, through the proxy, for the released version
// and the one in development. Prints the table of each; ends with an error when anything that is claimed does not pass.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startWharfie } from './harness/start-wharfie.mjs';

const suite = 'github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111';
const versions = ['1.1', 'dev'];
/** What may be left out: an index whose manifests are missing is refused by intent. */
const notClaimed = /^Sparse Manifests$/;
/** What came after 1.1, and is there whichever version is asked for. */
const later = {
  OCI_API_BLOBS_UPLOAD_CANCEL: 'true',
  OCI_API_BLOBS_DIGEST_HEADER: 'true',
  OCI_API_MANIFESTS_DIGEST_HEADER: 'true',
  OCI_API_MANIFESTS_TAG_PARAM: 'true',
};

const folder = mkdtempSync(join(tmpdir(), 'wharfie-conformance-'));
let failed = false;
try {
  const installed = spawnSync('go', ['install', suite], {
    env: { ...process.env, GOBIN: folder, GOFLAGS: '-mod=mod' },
    stdio: 'inherit',
  });
  if (installed.status !== 0) throw new Error(`the suite could not be installed: go install ${suite}`);
  for (const version of versions) failed = !(await conforms(version)) || failed;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;

/** @param {string} version */
async function conforms(version) {
  const wharfie = await startWharfie({ WHARFIE_DATA: join(folder, `data-${version}`), WHARFIE_LOG_LEVEL: 'warn' });
  const { stdout, stderr, status } = spawnSync(join(folder, 'conformance'), {
    cwd: folder,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    env: {
      PATH: process.env['PATH'],
      HOME: folder,
      OCI_REGISTRY: wharfie.address,
      OCI_TLS: 'disabled',
      OCI_REPO1: 'conformance/one',
      OCI_REPO2: 'conformance/two',
      OCI_USERNAME: 'admin',
      OCI_PASSWORD: wharfie.password,
      OCI_VERSION: version,
      OCI_RESULTS_DIR: join(folder, 'results'),
      ...later,
    },
  });
  await wharfie.stop();
  const tables = stdout.slice(Math.max(0, stdout.indexOf('API conformance')));
  const rows = [...tables.matchAll(/^\s+(\S.*?)\.*:\s+(\w+)\s*$/gm)].map(([, name = '', result = '']) => ({
    name,
    result,
  }));
  const bad = rows.filter(({ name, result }) => result !== 'Pass' && !(result === 'Disabled' && notClaimed.test(name)));
  console.log(`\ndistribution-spec ${version}\n${tables}${stderr}`);
  console.log(
    `${version}: ${rows.filter(({ result }) => result === 'Pass').length} of ${rows.length} pass, ${bad.length} that are claimed do not`,
  );
  for (const { name, result } of bad) console.log(`${version}: ${name}: ${result}`);
  return status === 0 && rows.length > 30 && bad.length === 0;
}
