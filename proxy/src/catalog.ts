import { OciError, type Route } from '@wharfie/shared';
import { text } from 'node:stream/consumers';
import { z } from 'zod';
import { decide, type Asker } from './access/decide.js';
import type { Policy } from './access/policy.js';
import { answerJson, clientLeft, type Exchange } from './exchange.js';
import { badGateway, notAccepted, unavailable } from './registry-errors.js';
import { isUnreachable, type Upstreams } from './upstreams.js';

const defaultPage = 100;
const maxPage = 1000;
/** Entries asked of the registry at once. */
const registryPage = 1000;

const catalog = z.object({ repositories: z.array(z.string()) });
const envelope = z.object({ errors: z.array(z.object({ message: z.string() })) });

/** Answers the catalog for those who may not pull everything. */
export class FilteredCatalog {
  /** The last list of each asker. */
  readonly #lasts = new Map<string, Promise<void>>();

  /** @param idle milliseconds that the registry may take for a page */
  constructor(
    private readonly upstreams: Upstreams,
    private readonly idle: number,
  ) {}

  /**
   * Answers with what the asker may pull, read from the registry's own catalog page by page. There is a link to a next page
   * only when that holds something. The lists of one asker take turns: for one the registry may have to look at all it has.
   * @throws OciError when the registry cannot be asked
   */
  answer(exchange: Exchange, route: Route<'catalog'>, asking: Asking): Promise<void> {
    const { asker } = asking;
    const who = asker === 'anonymous' ? exchange.client.address : `account ${asker.name}`;
    const before = this.#lasts.get(who) ?? Promise.resolve();
    const turn = before.then(() => answerFiltered(exchange, route, asking, this.upstreams, this.idle));
    const over = turn
      .catch(() => undefined)
      .finally(() => {
        if (this.#lasts.get(who) === over) this.#lasts.delete(who);
      });
    this.#lasts.set(who, over);
    return turn;
  }
}

interface Asking {
  asker: Asker;
  /** Read when it is needed: what waits for its turn must not be answered by an older one. */
  policy: { readonly current: Policy };
  sign: () => string;
}

async function answerFiltered(
  exchange: Exchange,
  { page }: Route<'catalog'>,
  { asker, policy, sign }: Asking,
  upstreams: Upstreams,
  idle: number,
): Promise<void> {
  if (clientLeft(exchange)) return;
  const leaving = new AbortController();
  exchange.response.once('close', () => {
    leaving.abort();
  });
  const n = Math.min(page.n ?? defaultPage, maxPage);
  const signal = () => AbortSignal.any([leaving.signal, AbortSignal.timeout(idle)]);
  const registry = registryCatalog(exchange, upstreams, sign, page.last, signal);
  const repositories: string[] = [];
  let more = false;
  if (n > 0) {
    for await (const repository of registry) {
      if (!decide(policy.current, asker, 'pull', repository).allowed) continue;
      if (repositories.length === n) {
        more = true;
        break;
      }
      repositories.push(repository);
    }
  }
  const link = more && { Link: nextLink(exchange.publicPath, n, repositories.at(-1) ?? '') };
  answerJson(exchange, { repositories }, { ...link });
}

/** https://distribution.github.io/distribution/spec/api/#pagination */
function nextLink(publicPath: string, n: number, last: string): string {
  return `<${publicPath}/v2/_catalog?n=${n}&last=${encodeURIComponent(last)}>; rel="next"`;
}

/** Every repository after `last`, in the registry's order. */
async function* registryCatalog(
  exchange: Exchange,
  upstreams: Upstreams,
  sign: () => string,
  last: string | undefined,
  signal: () => AbortSignal,
): AsyncGenerator<string> {
  for (let after = last; ;) {
    const headers = { Authorization: `Bearer ${sign()}`, 'X-Request-Id': exchange.id, Accept: 'application/json' };
    const query = after === undefined ? '' : `&last=${encodeURIComponent(after)}`;
    const page = await fetchPage(upstreams, `/v2/_catalog?n=${registryPage}${query}`, headers, signal());
    yield* page.repositories;
    const end = page.repositories.at(-1);
    if (!page.more || end === undefined) return;
    after = end;
  }
}

async function fetchPage(
  upstreams: Upstreams,
  path: string,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<{ repositories: string[]; more: boolean }> {
  try {
    const answer = await upstreams.get(path, headers, signal);
    const body = await text(answer);
    if (answer.statusCode === 401) throw notAccepted();
    if (answer.statusCode === 503) throw unavailable(messageIn(body));
    if (answer.statusCode !== 200) throw new Error(`the registry's catalog answers ${String(answer.statusCode)}`);
    const { repositories } = catalog.parse(JSON.parse(body));
    return { repositories, more: answer.headers['link'] !== undefined };
  } catch (error) {
    if (error instanceof OciError) throw error;
    throw isUnreachable(error) ? unavailable() : Object.assign(badGateway(), { cause: error });
  }
}

/** What an error of the registry says, if it says anything. */
function messageIn(body: string): string | undefined {
  try {
    return envelope.parse(JSON.parse(body)).errors[0]?.message;
  } catch {
    return undefined;
  }
}
