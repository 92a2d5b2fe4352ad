import { randomInt } from 'node:crypto';
import { mkdtemp, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { must } from '../harness/run.js';

const script = fileURLToPath(new URL('swift.sh', import.meta.url));

/** What faults.py does to a request that fits. */
export interface Fault {
  method?: string;
  path?: string;
  status?: number;
  after?: boolean;
  reply?: Record<string, string>;
  delay?: number;
  truncate?: number;
  times?: number;
}

/** A real Swift of its own, in a folder of its own. */
export class Swift {
  private constructor(
    readonly folder: string,
    readonly port: number,
  ) {}

  /** @param env what swift.sh reads: SWIFT_NODES, SWIFT_MAX_FILE_SIZE, SWIFT_TOKEN_LIFE */
  static async start(env: Record<string, string> = {}): Promise<Swift> {
    for (let attempt = 1; ; attempt += 1) {
      // Forty ports below those that the system gives away, above those that fetch refuses, elsewhere than another run.
      const port = 11_000 + 40 * randomInt(500);
      const folder = await mkdtemp(join(tmpdir(), 'wharfie-swift-'));
      const swift = new Swift(folder, port);
      try {
        await must(script, ['start', folder, String(port)], { env });
        return swift;
      } catch (error) {
        await swift.dispose();
        if (attempt === 5 || !/somebody else has port/.test(String(error))) throw error;
      }
    }
  }

  get authUrl(): string {
    return `http://127.0.0.1:${this.port}/auth/v1.0`;
  }

  /** The settings of somebody who has an account here. */
  settings(container: string): Record<string, string> {
    return {
      SETTINGS_FLAVOR: 'swift',
      OS_AUTH_URL: this.authUrl,
      OS_AUTH_VERSION: '1',
      OS_USERNAME: 'test:tester',
      OS_PASSWORD: 'testing',
      OS_CONTAINER: container,
    };
  }

  /** The same as docker-registry has them in its configuration. */
  forDistribution(container: string, prefix = ''): string {
    const place = `container: ${container}, prefix: "${prefix}"`;
    return `swift: {authurl: "${this.authUrl}", username: "test:tester", password: testing, ${place}}`;
  }

  /** From now on, and until the next call. */
  async faults(...faults: Fault[]): Promise<void> {
    const file = join(this.folder, 'faults.json');
    await writeFile(`${file}.new`, JSON.stringify(faults));
    await rm(`${file}.taken`, { force: true });
    await rename(`${file}.new`, file);
  }

  /** Waits until a request came that a fault fits; says which, as `METHOD /v1/account/container/name`. */
  async faulted(): Promise<string> {
    const file = join(this.folder, 'faults.json.taken');
    for (;;) {
      const taken = await readFile(file, 'utf8').catch(() => '');
      if (taken !== '') return taken.slice(0, taken.indexOf('\n'));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** The requests since this was asked last, as `METHOD /v1/account/container/name?query`. */
  async requests(): Promise<string[]> {
    return (await (await fetch(`http://127.0.0.1:${this.port}/requests`)).json()) as string[];
  }

  async down(server: string): Promise<void> {
    await must(script, ['down', this.folder, server]);
  }

  async up(server: string): Promise<void> {
    await must(script, ['up', this.folder, server]);
  }

  /** Has the disk of the only node count as full, or have room again. */
  async full(isFull: boolean): Promise<void> {
    const file = join(this.folder, 'etc', 'object-1.conf');
    const reserve = `fallocate_reserve = ${isFull ? '100%' : '0'}`;
    await writeFile(file, (await readFile(file, 'utf8')).replace(/fallocate_reserve = .*/, reserve));
    await this.down('object-1');
    await this.up('object-1');
  }

  /** Has its disks lose the objects that have so many bytes; listings go on to name them. */
  async loseFile(bytes: number): Promise<void> {
    for (const name of await readdir(join(this.folder, 'data'), { recursive: true })) {
      const path = join(this.folder, 'data', name);
      if (name.endsWith('.data') && (await stat(path)).size === bytes) await rm(path);
    }
  }

  async forgetTokens(): Promise<void> {
    await must(script, ['forget-tokens', this.folder]);
  }

  /** A request as its owner, past everything of ours. */
  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const login = await fetch(this.authUrl, { headers: { 'x-auth-user': 'test:tester', 'x-auth-key': 'testing' } });
    const token = login.headers.get('x-auth-token') ?? '';
    return fetch(`http://127.0.0.1:${this.port}/v1/AUTH_test/${path}`, {
      ...init,
      headers: { 'x-auth-token': token, ...(init.headers as Record<string, string> | undefined) },
    });
  }

  /** The names in a container, those that begin with `prefix`. */
  async names(container: string, prefix = ''): Promise<string[]> {
    const listing = await this.fetch(`${container}?prefix=${encodeURIComponent(prefix)}`);
    return (await listing.text()).split('\n').filter((name) => name !== '');
  }

  async dispose(): Promise<void> {
    await must(script, ['stop', this.folder]).catch(() => undefined);
    await rm(this.folder, { recursive: true, force: true });
  }
}
