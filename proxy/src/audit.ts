import { answeredStatus, reasonOf, SettingsError, type Logger } from '@wharfie/shared';
import { appendFileSync, closeSync, openSync } from 'node:fs';
import type { Policy } from './access/policy.js';
import type { Exchange } from './exchange.js';
import type { Htpasswd, HtpasswdLine } from './htpasswd/file.js';

/**
 * Who changed what, one JSON object a line, in a file of its own: what was pushed and deleted, what was refused, and every
 * change of the accounts and of the policy. No password, token or hash is ever written.
 */
export class AuditLog {
  #file: number;
  #failing = false;

  /** @throws SettingsError when the file cannot be opened */
  constructor(
    private readonly path: string,
    private readonly log: Logger,
  ) {
    try {
      this.#file = openSync(path, 'a', 0o600);
    } catch (error) {
      const remedy = 'name a file in a folder that is there and that the proxy may write, such as that of WHARFIE_DATA';
      throw new SettingsError('WHARFIE_AUDIT_LOG', `${path} cannot be written (${reasonOf(error)}): ${remedy}`);
    }
  }

  /** Goes on in a new file where the old one was renamed, as log rotation does. */
  reopen(): void {
    try {
      const file = openSync(this.path, 'a', 0o600);
      closeSync(this.#file);
      this.#file = file;
    } catch (error) {
      this.log.error({ err: error }, 'the audit log cannot be reopened; it goes on in the file that is open');
    }
  }

  close(): void {
    closeSync(this.#file);
  }

  /** Notes a request that is over, when it changed something or somebody was refused. */
  request(exchange: Exchange): void {
    const { id, client, user, route, login, refusal, digest, request, response } = exchange;
    const event = eventOf(exchange);
    if (event === undefined) return;
    this.#write({
      event,
      outcome: outcomeOf(answeredStatus(response), response.writableFinished),
      ...(user !== undefined && { user }),
      ...(login === 'refused' && { login }),
      remote: client.address,
      method: request.method,
      kind: exchange.kind,
      ...(route && 'repository' in route && { repository: route.repository }),
      ...(route && 'reference' in route && route.reference),
      ...(route && 'tags' in route && route.tags.length > 0 && { tags: route.tags }),
      ...(route && 'digest' in route && { digest: route.digest }),
      ...(digest !== undefined && { digest }),
      status: answeredStatus(response),
      ...(refusal && { reason: refusal.message }),
      requestId: id,
    });
  }

  /** Notes that another policy is in force. */
  policy({ admins, groups, rules }: Policy): void {
    this.#write({
      event: 'policy',
      outcome: 'done',
      admins: [...admins.names],
      groups: groups.size,
      rules: rules.length,
    });
  }

  /** Notes which accounts are other ones than before; at the start, which there are. */
  accounts(before: Htpasswd | undefined, { users }: Htpasswd): void {
    const known = before?.users ?? new Map<string, HtpasswdLine>();
    const added = [...users.keys()].filter((name) => !known.has(name));
    const removed = [...known.keys()].filter((name) => !users.has(name));
    const changed = [...users]
      .filter(([name, line]) => known.has(name) && known.get(name)?.bcrypt?.hash !== line.bcrypt?.hash)
      .map(([name]) => name);
    this.#write({ event: 'accounts', outcome: 'done', added, removed, changed });
  }

  /** Notes a change of such a file that was not taken. */
  rejected(event: 'policy' | 'accounts', reason: string): void {
    this.#write({ event, outcome: 'refused', reason });
  }

  #write(entry: object): void {
    try {
      // What failed may have been written in half.
      const separator = this.#failing ? '\n' : '';
      appendFileSync(this.#file, `${separator}${JSON.stringify({ time: new Date().toISOString(), ...entry })}\n`);
      this.#failing = false;
    } catch (error) {
      // Once, not for every line that a full disk does not take.
      if (!this.#failing) this.log.error({ err: error }, 'the audit log cannot be written');
      this.#failing = true;
    }
  }
}

/** What a request is to the audit log; most requests are nothing to it. */
function eventOf({ route, login, response }: Exchange): 'push' | 'pull' | 'delete' | 'login' | undefined {
  const status = answeredStatus(response);
  const actions = route?.access.flatMap((access) => access.actions) ?? [];
  if (login === 'refused' || status === 429) return 'login';
  if (actions.includes('delete')) return 'delete';
  // The steps of an upload change nothing yet: what stores a blob or a manifest does. What fails is noted of each.
  if (actions.includes('push') && (status === 201 || status >= 400)) return 'push';
  // Without credentials every client asks once, to see what they have to be.
  if (actions.includes('pull') && status === 403) return 'pull';
  return undefined;
}

function outcomeOf(status: number, complete: boolean): 'done' | 'refused' | 'failed' {
  if (status === 401 || status === 403 || status === 429) return 'refused';
  return status < 400 && complete ? 'done' : 'failed';
}
