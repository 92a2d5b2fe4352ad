import { fileURLToPath } from 'node:url';
import { projectRoot } from '../harness/wharfie.js';
import { run } from '../harness/run.js';

const terminal = fileURLToPath(new URL('terminal.sh', import.meta.url));

/** Types `commands` at a terminal, in a network and a clone of its own; returns what is seen there. */
export async function type(commands: string): Promise<{ code: number | null; seen: string }> {
  const { code, stdout } = await run(terminal, [projectRoot], { input: commands });
  return { code, seen: stdout };
}

/** What matches `text`, in which `…` stands for anything. */
export function pattern(text: string): RegExp {
  const parts = text.trim().split('…');
  return new RegExp(parts.map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('[^]*?'));
}
