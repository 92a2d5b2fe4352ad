import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './free-port.mjs';
import type { Call } from './images.js';
import { must } from './run.js';
import { cleanEnvironment } from './wharfie.js';

/** Debian's docker-registry, that is distribution 2.8.2, on a storage that Wharfie may use at the same time. */
export class Distribution {
  private constructor(
    readonly address: string,
    private readonly child: ChildProcess,
    private readonly folder: string,
  ) {}

  /** @param storage its configuration, such as `filesystem: {rootdirectory: /a/folder}` */
  static async start(storage: string): Promise<Distribution> {
    const folder = await mkdtemp(join(tmpdir(), 'distribution-'));
    const address = `127.0.0.1:${await freePort()}`;
    const config = [
      'version: 0.1',
      'log: {level: error}',
      'storage:',
      `  ${storage}`,
      '  delete: {enabled: true}',
      '  redirect: {disable: true}',
      `http: {addr: "${address}", secret: tests}`,
    ].join('\n');
    await writeFile(join(folder, 'config.yml'), config);
    const child = spawn('docker-registry', ['serve', join(folder, 'config.yml')], {
      env: cleanEnvironment(),
      stdio: 'ignore',
    });
    const distribution = new Distribution(address, child, folder);
    while (!(await distribution.call('GET', '/v2/').catch(() => undefined))) {
      if (child.exitCode !== null) throw new Error(`docker-registry ended with ${child.exitCode}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return distribution;
  }

  readonly call: Call = (method, path, init) =>
    fetch(path.startsWith('http') ? path : `http://${this.address}${path}`, { method, ...init });

  /** A blob in one PATCH, as Docker sends it. */
  async upload(repository: string, digest: string, blob: Uint8Array<ArrayBuffer>): Promise<Response> {
    const begun = await this.call('POST', `/v2/${repository}/blobs/uploads/`);
    const patched = await this.call('PATCH', begun.headers.get('location') ?? '', { body: blob });
    return this.call('PUT', `${patched.headers.get('location') ?? ''}&digest=${digest}`);
  }

  /** Its garbage collector, which removes what no manifest needs; with `untagged` also manifests that no tag names. */
  collectGarbage(untagged = false): Promise<string> {
    return must('docker-registry', [
      'garbage-collect',
      ...(untagged ? ['--delete-untagged=true'] : []),
      join(this.folder, 'config.yml'),
    ]);
  }

  async stop(): Promise<void> {
    if (this.child.exitCode === null) {
      this.child.kill();
      await once(this.child, 'exit');
    }
    await rm(this.folder, { recursive: true });
  }
}
