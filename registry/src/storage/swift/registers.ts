import type { Segment } from './assemble.js';
import type { SwiftClient } from './client.js';
import type { Registers } from './election.js';
import { bare } from './large-object.js';
import type { Names } from './names.js';
import { getSmall, putSmall } from './objects.js';

/** What one append brought. A mark in an election has no segments. */
export interface Step {
  id: string;
  segments?: Segment[];
}

/** The header that tells a proposal which holds the bytes themselves: it names the append. */
const appendHeader = 'x-object-meta-append';

/**
 * The registers of the election for what stands at `offset` of an upload.
 * @param bytes what the favourite's proposal holds when it names itself as the only segment
 */
export function registersOf(
  client: SwiftClient,
  names: Names,
  { upload, offset }: { upload: string; offset: number },
  signal: AbortSignal,
  bytes?: Uint8Array,
): Registers<Step> {
  const proposal = names.proposal(upload, offset);
  const place = (register: string): string =>
    register === '0/proposal' ? proposal : names.register(upload, `${offset}/${register}`);
  const parsed = async (name: string): Promise<Step | undefined> => {
    const content = await getSmall(client, name, signal);
    return content && (JSON.parse(content.toString()) as Step);
  };
  const proposed = async (): Promise<Step | undefined> => {
    const call = { method: 'HEAD', name: proposal, newest: true, accept: [200, 404] } as const;
    const answer = await client.send(call, signal);
    if (answer.status === 404) return undefined;
    const id = answer.header(appendHeader);
    if (id === '') return parsed(proposal);
    const size = Number(answer.header('content-length'));
    return { id, segments: [{ name: proposal, size, etag: bare(answer.header('etag')) }] };
  };
  return {
    read: (register) => (register === '0/proposal' ? proposed() : parsed(place(register))),
    write: (register, step) => {
      const name = place(register);
      return bytes && step.segments?.[0]?.name === name
        ? putSmall(client, name, bytes, signal, { [appendHeader]: step.id })
        : putSmall(client, name, Buffer.from(JSON.stringify(step)), signal);
    },
  };
}
