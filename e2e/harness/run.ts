import { spawn } from 'node:child_process';

export interface Result {
  code: number | null;
  stdout: string;
  stderr: string;
}

interface Options {
  env?: Record<string, string | undefined>;
  cwd?: string;
  input?: string | Uint8Array;
}

/** Runs a command to its end and returns what it said, whatever its exit code. */
export function run(command: string, args: readonly string[], { env, cwd, input }: Options = {}): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: 'pipe' });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.once('error', reject);
    child.once('close', (code) => {
      resolve({ code, stdout, stderr });
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}

/** The same, for a command that must succeed; returns its standard output. */
export async function must(command: string, args: readonly string[], options: Options = {}): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, options);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code ?? 'a signal'}:\n${stdout}${stderr}`);
  return stdout;
}
