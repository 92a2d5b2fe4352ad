import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../harness/free-port.mjs';
import { type Call } from '../harness/images.js';
import { must } from '../harness/run.js';
import { cleanEnvironment } from '../harness/wharfie.js';
import type { Swift } from './swift.js';

/** Debian's docker-registry on a container of `swift`. */
export class Distribution {
  private constructor(
    private readonly process: ChildProcess,
    readonly address: string,
    private readonly file: string,
  ) {}

  static async start(swift: Swift, container: string): Promise<Distribution> {
    const address = `127.0.0.1:${await freePort()}`;
    const file = join(swift.folder, 'distribution.yml');
    await writeFile(
      file,
      `version: 0.1
log: { level: error }
storage:
  swift: { authurl: "${swift.authUrl}", username: "test:tester", password: testing, container: ${container} }
  delete: { enabled: true }
  redirect: { disable: true }
http: { addr: "${address}" }
`,
    );
    const child = spawn('docker-registry', ['serve', file], { env: cleanEnvironment(), stdio: 'ignore' });
    const distribution = new Distribution(child, address, file);
    while ((await fetch(`http://${address}/v2/`).catch(() => undefined))?.status !== 200) {
      if (child.exitCode !== null) throw new Error(`docker-registry ended with ${child.exitCode}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return distribution;
  }

  /** A blob in one PATCH, as Docker sends it. */
  async upload(repository: string, digest: string, blob: Uint8Array<ArrayBuffer>): Promise<Response> {
    const begun = await fetch(`http://${this.address}/v2/${repository}/blobs/uploads/`, { method: 'POST' });
    const patched = await fetch(begun.headers.get('location') ?? '', { method: 'PATCH', body: blob });
    return fetch(`${patched.headers.get('location') ?? ''}&digest=${digest}`, { method: 'PUT' });
  }

  readonly call: Call = (method, path, init) => fetch(`http://${this.address}${path}`, { method, ...init });

  /** Its garbage collector, which removes what no manifest needs. */
  collectGarbage(): Promise<string> {
    return must('docker-registry', ['garbage-collect', this.file]);
  }

  async stop(): Promise<void> {
    if (this.process.exitCode !== null) return;
    this.process.kill();
    await once(this.process, 'exit');
  }
}
