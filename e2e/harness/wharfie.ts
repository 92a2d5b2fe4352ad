import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from './free-port.mjs';
import { allProcesses, commandLine, descendants, memoryOf, servicesBelow } from './processes.mjs';
import { must, run, type Result } from './run.js';

export const projectRoot = fileURLToPath(new URL('../..', import.meta.url));
const cli = join(projectRoot, 'proxy', 'bin', 'wharfie.js');

export interface Options {
  /** The data folder; a fresh one that is removed at the end when not given. */
  data?: string;
  env?: Record<string, string>;
  /** The checkout to start; this one when not given. */
  root?: string;
  listen?: string;
}

/** The environment of a test: the user's, without a setting of Wharfie's or OpenStack's, also when added to that. */
export function cleanEnvironment(): NodeJS.ProcessEnv {
  const setting = /^(WHARFIE|OS|REGISTRY|SETTINGS|GUNICORN)_/;
  return Object.fromEntries(
    Object.entries(process.env).map(([name, value]) => [name, setting.test(name) ? undefined : value]),
  );
}

/** A running `npm start`, on ports and in a data folder of its own. */
export class Wharfie {
  readonly output: string[] = [];
  readonly errors: string[] = [];
  /** The requests that are asked for their line in the log alone. */
  private readonly markers = new Set<string>();

  private constructor(
    readonly process: ChildProcess,
    readonly address: string,
    readonly data: string,
    readonly environment: NodeJS.ProcessEnv,
    private readonly ownsData: boolean,
  ) {
    process.stdout?.on('data', (chunk: Buffer) => this.output.push(chunk.toString()));
    process.stderr?.on('data', (chunk: Buffer) => this.errors.push(chunk.toString()));
  }

  /** Starts it and waits for nothing: for starts that are meant to fail, too. */
  static async spawn({ data, env = {}, root = projectRoot, listen }: Options = {}): Promise<Wharfie> {
    const folder = data ?? join(await mkdtemp(join(tmpdir(), 'wharfie-e2e-')), 'data');
    const ports = await Promise.all(Array.from({ length: 4 }, freePort));
    const environment = {
      ...cleanEnvironment(),
      WHARFIE_DATA: folder,
      WHARFIE_LISTEN: listen ?? `127.0.0.1:${ports[0]}`,
      WHARFIE_REGISTRY_LISTEN: `127.0.0.1:${ports[1]}`,
      WHARFIE_ADMIN_LISTEN: `127.0.0.1:${ports[2]}`,
      WHARFIE_REGISTRY_ADMIN_LISTEN: `127.0.0.1:${ports[3]}`,
      ...env,
    };
    const child = spawn(process.execPath, [join(root, 'scripts', 'start.mjs')], {
      cwd: root,
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return new Wharfie(child, environment.WHARFIE_LISTEN, folder, environment, data === undefined);
  }

  /** Starts it and waits until it says what to type next. */
  static async start(options: Options = {}): Promise<Wharfie> {
    const wharfie = await Wharfie.spawn(options);
    await wharfie.said(/docker push/);
    return wharfie;
  }

  get stdout(): string {
    return this.output.join('');
  }

  get stderr(): string {
    return this.errors.join('');
  }

  /** The password that the first start printed. */
  get password(): string {
    const password = /^password: (.+)$/m.exec(this.stdout)?.[1];
    if (password === undefined) throw new Error(`no password was printed:\n${this.stdout}`);
    return password;
  }

  /** Waits until the output holds `pattern`. */
  async said(pattern: RegExp): Promise<void> {
    const late = AbortSignal.timeout(150_000);
    while (!pattern.test(this.stdout)) {
      if (late.aborted) throw new Error(`it does not say ${pattern}:\n${this.stdout}${this.stderr}`);
      if (this.process.exitCode !== null || this.process.signalCode !== null)
        throw new Error(`it ended with ${this.process.exitCode}:\n${this.stdout}${this.stderr}`);
      const waiting = new AbortController();
      const signal = AbortSignal.any([waiting.signal, late]);
      await Promise.race([
        once(this.process.stdout ?? this.process, 'data', { signal }),
        once(this.process, 'exit', { signal }),
      ]).catch(() => undefined);
      waiting.abort();
    }
  }

  /** Runs the command line tool on this data folder. */
  cli(args: readonly string[], input?: string): Promise<Result> {
    return run(process.execPath, [cli, ...args], { env: this.environment, ...(input === undefined ? {} : { input }) });
  }

  /** Makes an account, as an operator does while the services run, and waits until it is let in. */
  async addUser(name: string, password: string): Promise<void> {
    await must(process.execPath, [cli, 'users', 'add', name, '--password-stdin'], {
      env: this.environment,
      input: `${password}\n`,
    });
    await this.waitFor(async () => (await this.fetch('/v2/', { user: name, password })).status === 200);
  }

  /** Replaces the policy and waits until it is in force. */
  async writeAccess(yaml: string): Promise<void> {
    const before = this.stdout.match(/access\.yml is in force/g)?.length ?? 0;
    await writeFile(join(this.data, 'access.yml'), yaml);
    await this.waitFor(() => Promise.resolve((this.stdout.match(/access\.yml is in force/g)?.length ?? 0) > before));
  }

  async waitFor(condition: () => Promise<boolean>): Promise<void> {
    const end = Date.now() + 20_000;
    while (!(await condition())) {
      if (Date.now() > end) throw new Error(`what was waited for did not come:\n${this.stdout.slice(-3000)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** A request through the door. */
  fetch(
    path: string,
    { user = 'admin', password, ...init }: RequestInit & { user?: string; password?: string } = {},
  ): Promise<Response> {
    const credentials = Buffer.from(`${user}:${password ?? this.password}`).toString('base64');
    return fetch(`http://${this.address}${path}`, {
      redirect: 'manual',
      ...init,
      headers: { authorization: `Basic ${credentials}`, ...(init.headers as Record<string, string> | undefined) },
    });
  }

  /**
   * A service's access log of all that it answered until now. A line follows its answer, so one more request is asked and
   * its line waited for; not one for `/v2/`, which would pass for a check and not be logged.
   */
  async requests(service: 'proxy' | 'registry'): Promise<Record<string, unknown>[]> {
    const address = this.environment[service === 'proxy' ? 'WHARFIE_LISTEN' : 'WHARFIE_REGISTRY_LISTEN'] ?? '';
    const last = (await fetch(`http://${address}/v2/_catalog`)).headers.get('x-request-id') ?? '';
    this.markers.add(last);
    await this.said(new RegExp(last));
    return this.stdout.split('\n').flatMap((line) => {
      if (!line.startsWith('{') || !line.includes('"msg":"request"')) return [];
      const entry = JSON.parse(line) as Record<string, unknown>;
      return entry['service'] === service && !this.markers.has(String(entry['requestId'])) ? [entry] : [];
    });
  }

  /** The process of a service, found below `npm start`'s. */
  pid(service: 'proxy' | 'registry'): number {
    const found = descendants(this.process.pid ?? 0).find((pid) =>
      commandLine(pid).some((part) => part.endsWith(`/${service}/dist/main.js`)),
    );
    if (found === undefined) throw new Error(`the ${service} does not run`);
    return found;
  }

  /** Memory of both services together, in MiB: resident, and with what they share counted once. */
  memory(): { rss: number; pss: number } {
    return memoryOf(servicesBelow(this.process.pid ?? 0));
  }

  /** Everything that still runs of it. */
  survivors(): number[] {
    return allProcesses().filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`WHARFIE_LISTEN=${this.address}`);
      } catch {
        return false;
      }
    });
  }

  /** Ends it as Ctrl-C or a supervisor does; returns the exit code. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      this.process.kill(signal);
      await once(this.process, 'exit');
    }
    return this.process.exitCode;
  }

  /** The exit code, when it ends by itself. */
  async ended(): Promise<number | null> {
    if (this.process.exitCode === null && this.process.signalCode === null) await once(this.process, 'exit');
    return this.process.exitCode;
  }

  /** Ends it and removes its data. */
  async dispose(): Promise<void> {
    await this.stop();
    if (this.ownsData) await rm(join(this.data, '..'), { recursive: true, force: true });
  }
}
