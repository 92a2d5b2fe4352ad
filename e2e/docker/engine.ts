import { mkdtemp, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { must, run, type Result } from '../harness/run.js';

const script = fileURLToPath(new URL('engine.sh', import.meta.url));

/** A Docker engine of the tests' own, and a client with a configuration of its own. */
export class Engine {
  private constructor(
    private readonly folder: string,
    private readonly host: string,
  ) {}

  static async start(): Promise<Engine> {
    // Not below TMPDIR, which may be too long for the engine's sockets.
    const folder = await mkdtemp('/tmp/whe-');
    const host = (await must(script, ['start', folder])).trim();
    return new Engine(folder, host);
  }

  /** What a client needs to work with this engine, with logins of its own. */
  get env(): Record<string, string> {
    return { DOCKER_HOST: this.host, DOCKER_CONFIG: `${this.folder}/client` };
  }

  /** Runs `docker …`, whatever its exit code. */
  docker(args: readonly string[], input?: string): Promise<Result> {
    return run('docker', args, { env: this.env, ...(input === undefined ? {} : { input }) });
  }

  /** The same, for a command that must succeed. */
  async must(args: readonly string[], input?: string): Promise<string> {
    const { code, stdout, stderr } = await this.docker(args, input);
    if (code !== 0) throw new Error(`docker ${args.join(' ')}:\n${stdout}${stderr}`);
    return stdout;
  }

  login(address: string, user: string, password: string): Promise<Result> {
    return this.docker(['login', '--username', user, '--password-stdin', address], password);
  }

  async stop(): Promise<void> {
    await must(script, ['stop', this.folder]);
    await rm(this.folder, { recursive: true, force: true });
  }
}
