import { formatListenAddress, type ListenAddress } from '@wharfie/shared';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { firstStart, type Finding } from './finding.js';
import { requestOptions, send } from './send.js';

/** The registry's own program, where both services are installed together. */
const registryMain = fileURLToPath(new URL('../../../registry/dist/main.js', import.meta.url));
/** Milliseconds: longer than the registry waits for its storage. One that hangs with it cannot be ended in another way. */
const patience = 40_000;

/**
 * Has the registry write, read and delete a small object: the one that runs, or its program run for that alone. The
 * storage and its settings are the registry's, and nothing here knows them.
 */
export async function* examineStorage(admin: ListenAddress): AsyncGenerator<Finding> {
  const about = 'storage';
  const remedy = 'the registry’s log says more; check WHARFIE_STORAGE and what belongs to it';
  const done = 'a small object was written, read and deleted';
  const answer = await readyz(admin);
  if (answer) {
    if (answer.status === 200) yield { state: 'ok', about, text: `${done} by the running registry` };
    else yield { state: 'bad', about, text: answer.said, remedy };
    return;
  }
  const place = formatListenAddress(admin);
  if (!existsSync(registryMain)) {
    const text = `not looked at: no registry answers on ${place} (WHARFIE_REGISTRY_ADMIN_LISTEN)`;
    yield {
      state: 'warn',
      about,
      text,
      remedy:
        'where the registry runs, look into its log, or run `node registry/dist/main.js --probe` with its settings',
    };
    return;
  }
  const { problem, missing } = await probe();
  if (problem !== undefined)
    yield { state: 'bad', about, text: problem, remedy: 'check WHARFIE_STORAGE and what belongs to it' };
  else if (missing !== '') yield { state: 'warn', about, text: missing, remedy: firstStart };
  else yield { state: 'ok', about, text: `${done}; no registry runs on ${place}` };
}

async function readyz(admin: ListenAddress): Promise<{ status: number | undefined; said: string } | undefined> {
  try {
    const answer = await send({ ...requestOptions(admin), path: '/readyz' }, patience);
    return { status: answer.statusCode, said: (await text(answer)).trim() };
  } catch {
    return undefined;
  }
}

function probe(): Promise<{ problem?: string; missing: string }> {
  return new Promise((resolve) => {
    const options = { timeout: patience, killSignal: 'SIGKILL' } as const;
    execFile(process.execPath, [registryMain, '--probe'], options, (error, stdout, stderr) => {
      // Where the program broke off, Node tells the reason in the midst of others.
      const reason = /^(?:\w*Error|wharfie registry): .*/m.exec(stderr)?.[0];
      const late = error?.killed ? `it did not answer within ${patience / 1000} seconds` : undefined;
      resolve({ missing: stdout.trim(), ...(error && { problem: reason ?? late ?? error.message }) });
    });
  });
}
