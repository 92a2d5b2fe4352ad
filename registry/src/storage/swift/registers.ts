import type { SwiftClient } from './client.js';
import type { Registers } from './election.js';
import { bare, lengthOf } from './large-object.js';
import type { Segment } from './listing.js';
import type { Names } from './names.js';
import { getSmall, putSmall } from './objects.js';

/** What an append brought. A mark in an election has no segment. */
export interface Step {
  id: string;
  segment?: Segment;
}

/** The header of a segment that names its append. */
export const appendHeader = 'x-object-meta-append';

/**
 * The registers of the election for what stands at `offset` of an upload. The favourite's proposal is its segment, which
 * must be stored before it is proposed.
 */
export function registersOf(
  client: SwiftClient,
  names: Names,
  { upload, offset }: { upload: string; offset: number },
  signal: AbortSignal,
): Registers<Step> {
  const proposal = names.proposal(upload, offset);
  const place = (register: string): string => names.register(upload, `${offset}/${register}`);
  const proposed = async (): Promise<Step | undefined> => {
    const call = { method: 'HEAD', name: proposal, newest: true, accept: [200, 404] } as const;
    const answer = await client.send(call, signal);
    if (answer.status === 404) return undefined;
    const segment = {
      name: proposal,
      size: lengthOf(answer, proposal),
      etag: bare(answer.header('etag')),
    };
    return { id: answer.header(appendHeader), segment };
  };
  return {
    read: async (register) => {
      if (register === '0/proposal') return proposed();
      const content = await getSmall(client, place(register), signal);
      return content && (JSON.parse(content.toString()) as Step);
    },
    write: async (register, step) => {
      if (register !== '0/proposal') await putSmall(client, place(register), Buffer.from(JSON.stringify(step)), signal);
    },
  };
}
