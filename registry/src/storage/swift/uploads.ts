import { randomUUID } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { digestAlgorithms } from '@wharfie/shared';
import { purgeEach } from '../purge-each.js';
import type { ByteSource, Part } from '../storage-driver.js';
import {
  InvalidOffset,
  PathNotFound,
  StorageFull,
  StorageUnavailable,
  failureAs,
  missingAs,
} from '../storage-driver.js';
import { copySegment, putManifest } from './assemble.js';
import type { SwiftClient } from './client.js';
import { Election } from './election.js';
import type { Intake } from '../intake.js';
import { taking } from '../intake.js';
import { dynamicSegments, md5, openObject, staticSegments } from './large-object.js';
import type { Segment } from './listing.js';
import { listAll, namesBelow } from './listing.js';
import type { Names } from './names.js';
import type { Stored } from './objects.js';
import {
  allExist,
  exists,
  getSmall,
  inspect,
  putNew,
  putSmall,
  putStream,
  remove,
  removeAll,
  surely,
} from './objects.js';
import { appendHeader, registersOf, type Step } from './registers.js';

interface State {
  size: number;
  segments: Segment[];
  /** The whole upload came to this process, and no rival was seen. */
  mine?: boolean;
}

const empty: State = { size: 0, segments: [] };

export interface UploadLimits {
  /** Bytes of a segment at most. */
  segmentSize: number;
  /** Entries of a large object's manifest at most. */
  manifestEntries: number;
}

/** What comes whole within this many bytes is sent at once, and again when that fails. */
export const smallSize = 1024 * 1024;
/** A single segment up to this size becomes a plain object: Swift copies it. */
const copySize = 16 * 1024 * 1024;

/** An upload's name, before that of a register. What else lies there is somebody else's, and none of the purge's business. */
const uploadName = /^([0-9a-f-]{36})\//;

/** Uploads of this size at most are kept in memory until they are committed, which saves Swift the reading. */
const tinySize = 64 * 1024;

/**
 * Uploads, of which nothing is kept in a process but memories of what cannot change.
 *
 * `begun` says that an upload is under way. Every segment is stored under a name that nobody else has, and an election for
 * its offset says which one stands there, with its size and etag. So an upload is a chain of elections, each decided once,
 * and no listing is asked what an upload is.
 *
 * The favourite of an election is whoever won the one before, or began the upload: there is only one, and usually the next
 * bytes reach it too. Its segment is itself the proposal.
 */
export class SwiftUploads {
  /** What was read of the chains: true for ever, as far as it goes. */
  readonly #known = new LRUCache<string, State>({ max: 1000 });
  /** Where this process is the favourite, until it makes use of that. To forget one costs time only. */
  readonly #favoured = new LRUCache<string, State>({ max: 1000 });

  readonly #tiny = new LRUCache<string, Buffer>({ maxSize: 8 * 1024 * 1024, sizeCalculation: ({ length }) => length });

  constructor(
    private readonly client: SwiftClient,
    private readonly names: Names,
    private readonly limits: UploadLimits,
  ) {}

  async begin(upload: string, signal: AbortSignal): Promise<void> {
    await putSmall(this.client, this.#begun(upload), Buffer.from(new Date().toISOString()), signal);
    const state = { ...empty, mine: true };
    this.#known.set(upload, state);
    this.#favoured.set(upload, state);
  }

  /**
   * Where an upload stands, or with `enough` what is known of its first bytes, so many at least.
   * @param acknowledged the size that an append returned, if that is known: up to there all is decided
   * @throws PathNotFound
   */
  async state(
    upload: string,
    { acknowledged = 0, enough = Infinity }: { acknowledged?: number; enough?: number },
    signal: AbortSignal,
  ): Promise<State> {
    let state = this.#known.get(upload) ?? empty;
    const next = (): Promise<Step | undefined> | undefined =>
      state.size < enough ? this.#decision(upload, state.size, acknowledged, signal) : undefined;
    const [first] = await Promise.all([next(), this.#check(upload, signal)]);
    for (let step = first; step?.segment; step = await next()) state = after(state, step.segment);
    this.#known.set(upload, state);
    return state;
  }

  /** An upload that stands at `size`, as an append returned it. @throws PathNotFound, InvalidOffset */
  async #at(upload: string, size: number, signal: AbortSignal): Promise<State> {
    const state = await this.state(upload, { acknowledged: size }, signal);
    if (state.size !== size) throw new InvalidOffset(size);
    return state;
  }

  #favouredAt(upload: string, size: number): State | undefined {
    const state = this.#favoured.get(upload);
    return state?.size === size ? state : undefined;
  }

  /** @throws PathNotFound when the upload was never begun, or has ended: then what this process added last goes, too */
  async #check(upload: string, signal: AbortSignal, isThere = this.#isUnderWay(upload, signal)): Promise<void> {
    if (await surely(this.client, (again) => (again ? this.#isUnderWay(upload, signal) : isThere), signal)) return;
    const added = this.#favoured.get(upload);
    if (added) await this.#end(upload, added, signal);
    throw new PathNotFound(upload);
  }

  /** @throws PathNotFound, InvalidOffset */
  append(upload: string, offset: number, source: ByteSource, signal: AbortSignal): Promise<number> {
    return taking(source, signal, async (intake) => {
      // Elections do not rest on this being the newest, so the favourite need not ask.
      let state = this.#favouredAt(upload, offset) ?? (await this.#at(upload, offset, signal));
      const atMost = Math.min(smallSize, this.limits.segmentSize);
      let head = await intake.gather(atMost);
      if (head.length === 0) await this.#at(upload, offset, signal);
      for (; head.length > 0; head = await intake.gather(atMost))
        state = await this.#publish(upload, state, head, intake);
      intake.check();
      return state.size;
    });
  }

  /** A part of an upload that is there now. @throws PathNotFound */
  async read(upload: string, part: Part, signal: AbortSignal): Promise<AsyncGenerator<Uint8Array>> {
    const end = part.start + part.length;
    const state = await this.state(upload, { acknowledged: end, enough: end }, signal);
    return this.#bytes(upload, state, part, signal);
  }

  async *#bytes(upload: string, { segments }: State, part: Part, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const end = part.start + part.length;
    let offset = 0;
    for (const { name, size } of segments) {
      const [from, to] = [Math.max(offset, part.start), Math.min(offset + size, end)];
      if (from < to) {
        const within = { start: from - offset, length: to - from };
        yield* (await openObject(this.client, { name }, within, signal)).bytes;
      }
      offset += size;
    }
    if (offset < end) throw new StorageUnavailable(`${upload} has less than ${end} bytes`);
  }

  /**
   * Makes a plain object of what is small and a static large object of the rest; Swift checks the etag and size of each
   * segment. A large blob that is there already stays as it is. @throws PathNotFound, InvalidOffset
   */
  async commit(upload: string, size: number, path: string, signal: AbortSignal): Promise<void> {
    const state = await this.#at(upload, size, signal);
    const [only, ...more] = state.segments;
    const tiny = only ? this.#tiny.get(upload) : Buffer.alloc(0);
    const single = more.length === 0 && size <= copySize ? only : undefined;
    const isMade =
      tiny?.length === size
        ? await this.putBlob(this.names.object(path), tiny, signal)
        : await this.#assemble(upload, state, path, single, signal);
    if (!isMade || !state.mine) {
      await this.#end(upload, state, signal);
      return;
    }
    // This process knows of all segments. Who came between has left marks, by which the purge finds what else there is.
    if (single) await removeAll(this.client, nameList(state.segments), signal);
    await this.#forget(upload, signal);
  }

  /**
   * Makes a plain object of a small blob, and says so. One that is there as a whole large object stays: to replace it would
   * leave its segments behind.
   */
  async putBlob(name: string, content: Buffer, signal: AbortSignal): Promise<boolean> {
    if (await putNew(this.client, name, content, signal)) return true;
    if (await this.isThere(name, content.length, signal, true)) return false;
    await putSmall(this.client, name, content, signal);
    return true;
  }

  /**
   * Has Swift make a blob of an upload's segments, or of the single one that it is to copy, and says so; one that is there
   * stays, as above.
   */
  async #assemble(
    upload: string,
    { size, segments }: State,
    path: string,
    single: Segment | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    const name = this.names.object(path);
    if (await this.isThere(name, size, signal, single !== undefined)) return false;
    if (single) {
      await this.#copy(upload, single, name, signal);
      return true;
    }
    await putSmall(this.client, this.#mark(upload, path), Buffer.from(path), signal);
    // Whoever cancels takes `begun` away first and looks for this mark second: one of us sees the other.
    await this.#check(upload, signal);
    const { manifestEntries: most } = this.limits;
    const groups = `${this.names.segments(upload)}group/`;
    await putManifest(this.client, name, segments, { most, groups }, signal);
    return true;
  }

  /** Makes a plain object of an upload's only segment. @throws PathNotFound when another process has cancelled the upload */
  async #copy(upload: string, segment: Segment, name: string, signal: AbortSignal): Promise<void> {
    try {
      await copySegment(this.client, segment, name, signal);
    } catch (error) {
      if (!(error instanceof PathNotFound)) throw error;
      // What another process has committed meanwhile is there, but its segment no more.
      if (await this.isThere(name, segment.size, signal)) return;
      await this.#check(upload, signal);
      throw new StorageUnavailable(`${error.path} of ${upload} is missing`);
    }
  }

  /**
   * Whether this blob is stored already, with all of its segments: a path tells its content.
   * @param large only as an object that has segments
   */
  async isThere(name: string, size: number, signal: AbortSignal, large = false): Promise<boolean> {
    const found = await inspect(this.client, name, signal, true).catch(missingAs(undefined));
    if (found?.size !== size || (large && !found.static && found.dynamic === '')) return false;
    if (found.static) {
      const segments = await staticSegments(this.client, name, signal);
      return segments.length > 0 && allExist(this.client, segments, signal);
    }
    if (found.dynamic === '') return true;
    // Their sizes are those of a listing, which goes on to name what is lost.
    const { container, segments } = await dynamicSegments(this.client, found.dynamic, signal);
    return allExist(this.client, nameList(segments), signal, container);
  }

  /** @throws PathNotFound */
  async cancel(upload: string, signal: AbortSignal): Promise<void> {
    // Where there is no room for an election, a listing alone says what else there is.
    const state = await this.state(upload, {}, signal).catch(failureAs(StorageFull, undefined));
    if (state?.mine && state.size === 0) await this.#forget(upload, signal);
    else await this.#end(upload, state, signal);
  }

  /** Removes what uploads left that nobody has touched since `before`; returns how many. */
  async purge(before: number, signal: AbortSignal): Promise<number> {
    const touched = new Map<string, number>();
    for await (const { name, modified } of listAll(this.client, { prefix: this.names.uploads }, signal)) {
      const upload = uploadName.exec(name.slice(this.names.uploads.length))?.[1];
      if (upload === undefined) continue;
      touched.set(upload, Math.max(touched.get(upload) ?? 0, modified));
    }
    const purge = async (upload: string): Promise<boolean> => {
      if ((touched.get(upload) ?? 0) >= before || (await this.#hasSegmentSince(upload, before, signal))) return false;
      await this.#end(upload, undefined, signal, before);
      return true;
    };
    return purgeEach(touched.keys(), purge, signal);
  }

  /**
   * Ends an upload and removes all of it that no object consists of. One that another process is just making an object of
   * is left to the purge.
   * @param before when whoever makes an object of it must have given up, in milliseconds since 1970
   */
  async #end(upload: string, state: State | undefined, signal: AbortSignal, before = -Infinity): Promise<void> {
    const ended = this.names.register(upload, 'ended');
    // By this mark the purge finds what is left when this fails half-way. A quota that is used up has no room for it, and
    // only removing makes room: then what is left costs space for good, where no mark of an election tells of it. A full
    // disk is another matter: Swift answers 503, as to any trouble, and leaves that disk out for a minute, for deletions
    // too. To go on would take `begun` away, by which the purge finds it all later, and most likely nothing else.
    await putSmall(this.client, ended, Buffer.from(new Date().toISOString()), signal).catch(
      failureAs(StorageFull, undefined),
    );
    await this.#forget(upload, signal);
    const used = await this.#used(upload, before, signal);
    if (!used) return;
    const listed = await namesBelow(this.client, this.names.segments(upload), signal);
    const segments = new Set([...nameList(state?.segments ?? []), ...listed]);
    await removeAll(
      this.client,
      [...segments].filter((name) => !used.has(name)),
      signal,
    );
    const registers = await namesBelow(this.client, this.names.register(upload, ''), signal);
    await removeAll(this.client, [...registers.filter((name) => name !== ended), ended], signal);
  }

  /** From now on there is no such upload. */
  async #forget(upload: string, signal: AbortSignal): Promise<void> {
    for (const memory of [this.#known, this.#favoured, this.#tiny]) memory.delete(upload);
    await remove(this.client, this.#begun(upload), signal);
  }

  async #hasSegmentSince(upload: string, time: number, signal: AbortSignal): Promise<boolean> {
    const prefix = this.names.segments(upload);
    for await (const { modified } of listAll(this.client, { prefix, newest: true }, signal))
      if (modified >= time) return true;
    return false;
  }

  /**
   * What of an upload has to stay, as a large object consists of it; undefined while somebody may be making one: the mark
   * that says so is there, and not from `before`.
   */
  async #used(upload: string, before: number, signal: AbortSignal): Promise<Set<string> | undefined> {
    const marks = this.#marks(upload);
    const read = async (): Promise<(Buffer | undefined)[] | undefined> => {
      const paths = await Promise.all(marks.map((mark) => getSmall(this.client, mark, signal)));
      return paths.some((path) => path) ? paths : undefined;
    };
    const used = new Set<string>();
    const paths = (await surely(this.client, read, signal)) ?? [];
    for (const [index, mark] of marks.entries()) {
      const path = paths[index];
      if (!path) continue;
      const own = await surely(this.client, () => this.#ownOf(upload, path.toString(), signal), signal);
      if (own) for (const name of [mark, ...own]) used.add(name);
      else if ((await inspect(this.client, mark, signal, true)).modified >= before) return undefined;
    }
    return used;
  }

  /** The segments of an upload that the large object at a path consists of, if any. */
  async #ownOf(upload: string, path: string, signal: AbortSignal): Promise<string[] | undefined> {
    const segments = await staticSegments(this.client, this.names.object(path), signal);
    const own = segments.filter((name) => name.startsWith(this.names.segments(upload)));
    return own.length > 0 ? own : undefined;
  }

  /** What says that uploads became the large object at a path, of these segments: goes with them. */
  committedMarks(path: string, segments: readonly string[]): string[] {
    const uploads = segments.flatMap((name) => this.names.uploadOf(name) ?? []);
    return [...new Set(uploads)].map((upload) => this.#mark(upload, path));
  }

  /**
   * Stores what comes, up to a segment of it, and has it stand at the upload's end. The caller's signal ends the source
   * alone: what came until then is kept.
   * @throws InvalidOffset when another segment stands there, PathNotFound when the upload has ended meanwhile
   */
  async #publish(upload: string, state: State, head: Buffer, intake: Intake): Promise<State> {
    const { signal } = new AbortController();
    const id = randomUUID();
    const streams = !intake.ended && head.length < this.limits.segmentSize;
    // Before a stream an answer has to show that Swift takes our token: this one, or else that to the mark below.
    if (streams && this.#favouredAt(upload, state.size)) await this.#check(upload, signal);
    const favourite = this.#favouredAt(upload, state.size) !== undefined && this.#favoured.delete(upload);
    const registers = registersOf(this.client, this.names, { upload, offset: state.size }, signal);
    const election = new Election<Step>(registers, id, favourite);
    // Nothing is stored of which no mark tells the purge.
    await election.marked;
    const name = favourite ? this.names.proposal(upload, state.size) : `${this.names.segments(upload)}${id}`;
    const segment = { name, ...(await this.#store(name, id, head, streams ? intake : undefined, signal)) };
    // Whoever ends the upload from here on sees the segment; who has ended it before may not.
    const isThere = this.#isUnderWay(upload, signal);
    isThere.catch(() => undefined);
    const winner = await election.decide({ id, segment }, signal);
    if (winner.id !== id) {
      await remove(this.client, name, signal);
      throw new InvalidOffset(state.size);
    }
    const now = { ...after(state, segment), mine: state.mine === true && !election.contested };
    this.#known.set(upload, now);
    this.#favoured.set(upload, now);
    await this.#check(upload, signal, isThere);
    // What was streamed is freed.
    if (!streams && state.size === 0 && now.size <= tinySize) this.#tiny.set(upload, head);
    return now;
  }

  /** Stores `head` and what follows it of `intake`, if any: as much as a segment holds, with little of it in memory. */
  async #store(
    name: string,
    id: string,
    head: Buffer,
    intake: Intake | undefined,
    signal: AbortSignal,
  ): Promise<Stored> {
    const headers = { [appendHeader]: id };
    if (!intake) {
      await putSmall(this.client, name, head, signal, headers);
      return { size: head.length, etag: md5(head) };
    }
    const most = this.limits.segmentSize - head.length;
    return putStream(this.client, name, { head, intake, most }, () => undefined, signal, headers);
  }

  /** Which append stands at `offset`, or undefined when none does. */
  async #decision(
    upload: string,
    offset: number,
    acknowledged: number,
    signal: AbortSignal,
  ): Promise<Step | undefined> {
    const registers = registersOf(this.client, this.names, { upload, offset }, signal);
    const [decided, proposed] = await Promise.all([
      registers.read('decision'),
      this.#favouredAt(upload, offset) ? undefined : registers.read('0/proposal'),
    ]);
    if (decided ?? !proposed) return decided;
    // What was acknowledged without a decision was the favourite's.
    if (offset + (proposed.segment?.size ?? 0) <= acknowledged) return proposed;
    // The favourite has decided, or stopped just before it did: either way the others can only agree on its proposal.
    return new Election(registers, randomUUID(), false).decide(proposed, signal);
  }

  #isUnderWay(upload: string, signal: AbortSignal): Promise<boolean> {
    return exists(this.client, this.#begun(upload), signal);
  }

  #begun(upload: string): string {
    return this.names.register(upload, 'begun');
  }

  #marks(upload: string): string[] {
    return digestAlgorithms.map((algorithm) => this.#mark(upload, `/${algorithm}/`));
  }

  /** What says that an upload becomes the large object at a path: one for each algorithm of which its digest there may be. */
  #mark(upload: string, path: string): string {
    const algorithm = digestAlgorithms.find((name) => path.includes(`/${name}/`)) ?? digestAlgorithms[0];
    return `${this.names.segments(upload)}committed-${algorithm}`;
  }
}

function after(state: State, segment: Segment): State {
  return { size: state.size + segment.size, segments: [...state.segments, segment] };
}

function nameList(segments: readonly Segment[]): string[] {
  return segments.map(({ name }) => name);
}
