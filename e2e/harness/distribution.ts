import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './free-port.mjs';
import { must } from './run.js';

/** Debian's docker-registry, that is distribution 2.8.2, on a folder that Wharfie may use at the same time. */
export class Distribution {
  private constructor(
    readonly url: string,
    private readonly child: ChildProcess,
    private readonly folder: string,
  ) {}

  static async start(root: string): Promise<Distribution> {
    const folder = await mkdtemp(join(tmpdir(), 'distribution-'));
    const port = await freePort();
    const config = [
      'version: 0.1',
      'log: {level: error}',
      'storage:',
      `  filesystem: {rootdirectory: ${root}}`,
      '  delete: {enabled: true}',
      `http: {addr: "127.0.0.1:${port}", secret: tests}`,
    ].join('\n');
    await writeFile(join(folder, 'config.yml'), config);
    const child = spawn('docker-registry', ['serve', join(folder, 'config.yml')], { stdio: 'ignore' });
    const distribution = new Distribution(`http://127.0.0.1:${port}`, child, folder);
    while (!(await distribution.call('GET', '/v2/').catch(() => undefined)))
      await new Promise((resolve) => setTimeout(resolve, 50));
    return distribution;
  }

  call(method: string, path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(path.startsWith('http') ? path : this.url + path, { method, ...init });
  }

  /** Its garbage collector, which removes what no manifest needs; with `untagged` also manifests that no tag names. */
  collectGarbage(untagged: boolean): Promise<string> {
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
