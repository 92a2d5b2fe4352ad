import { leastCost, mostCost } from '@wharfie/shared';
import { wasUtf8 } from '../utf8.js';

/** Above this cost a login takes seconds, which is worth a word. */
const slowCost = 15;

export interface BcryptHash {
  hash: string;
  cost: number;
}

/** What one line of htpasswd says about a user. */
export interface HtpasswdLine {
  /** Counted from 1. */
  line: number;
  /** The kind of hash: `$2y$`, `$2b$` or `$2a$`; a name for people when the line logs nobody in. */
  kind: string;
  /** Absent when the line never logs anybody in. */
  bcrypt?: BcryptHash;
}

export interface Htpasswd {
  users: ReadonlyMap<string, HtpasswdLine>;
  /** Lines that do not do what their writer wanted: each names line, user and remedy, and never the hash. */
  warnings: readonly string[];
}

/**
 * The users of an htpasswd file. Never throws: a line that cannot be used is a warning, and the others work. Of two
 * lines for one user the first counts, as in Apache. What follows a second colon is a comment, as nginx has it.
 * https://httpd.apache.org/docs/2.4/misc/password_encryptions.html
 */
export function parseHtpasswd(text: string): Htpasswd {
  const users = new Map<string, HtpasswdLine>();
  const warnings: string[] = [];
  for (const [index, raw] of text.split('\n').entries()) {
    const line = index + 1;
    // Takes a byte order mark and a carriage return along.
    const content = raw.trim();
    if (content === '' || content.startsWith('#')) continue;
    const warn = (message: string) => warnings.push(`line ${line}: ${message}`);
    const user = userOf(content);
    if (!user) {
      warn(nameless(content));
      continue;
    }
    if (!wasUtf8(user)) {
      warn(`${shown(user)} cannot log in, the name is not UTF-8: convert the file to UTF-8`);
      continue;
    }
    const first = users.get(user);
    if (first) {
      warn(`${shown(user)} stands on line ${first.line} already, and that line counts: remove one of them`);
      continue;
    }
    const hash = content.slice(user.length + 1).split(':', 1)[0] ?? '';
    const { problem, ...rest } = describeHash(shown(user), hash.trim());
    users.set(user, { line, ...rest });
    if (problem) warn(`${problem}: run \`wharfie users passwd ${shown(user)}\``);
  }
  if (users.size === 0 && warnings.length === 0) {
    warnings.push('it has no account, so nobody can log in: run `wharfie users add NAME`');
  }
  return { users, warnings };
}

/** `text` with the hash of `user` set: in the user's line when there is one, else in a new line at the end. */
export function setHash(text: string, user: string, hash: string): string {
  const lines = splitLines(text);
  const index = lines.findIndex((line) => userOf(line) === user);
  const old = lines[index];
  if (old !== undefined) {
    const [, before = '', after = ''] = /^([^:]*:)[^:\r\n]*([^]*)$/.exec(old) ?? [];
    lines[index] = `${before}${hash}${after}`;
    return lines.join('');
  }
  const end = text.includes('\r\n') ? '\r\n' : '\n';
  const last = lines.at(-1);
  if (last !== undefined && !last.endsWith('\n')) lines.push(end);
  return `${lines.join('')}${user}:${hash}${end}`;
}

/** `text` without any line of `user`: a second one would count once the first is gone. */
export function removeUser(text: string, user: string): string {
  return splitLines(text)
    .filter((line) => userOf(line) !== user)
    .join('');
}

/** A name as it is shown in messages: quoted when it holds more than ordinary characters. */
export function shown(user: string): string {
  return /^[\w.@-]+$/.test(user) ? user : JSON.stringify(user);
}

/** The lines with their ends, so that joining them gives the text again. */
function splitLines(text: string): string[] {
  return text === '' ? [] : text.split(/(?<=\n)/);
}

function userOf(line: string): string | undefined {
  const content = line.trim();
  const colon = content.indexOf(':');
  return colon < 1 || content.startsWith('#') ? undefined : content.slice(0, colon);
}

function nameless(content: string): string {
  // What stands alone on a line may be a hash that slipped there: only what looks like a name is repeated.
  const user = /^[A-Za-z][A-Za-z0-9_.@-]{0,31}$/.test(content) ? content : undefined;
  const problem = user ? `${user} has no colon and no hash` : 'there is no name before a colon';
  return `${problem}: remove the line and run \`wharfie users add ${user ?? 'NAME'}\``;
}

function describeHash(user: string, hash: string): Omit<HtpasswdLine, 'line'> & { problem?: string } {
  const [, kind, digits] = /^(\$2[yba]\$)(\d\d)\$[./A-Za-z0-9]{53}$/.exec(hash) ?? [];
  if (kind === undefined) {
    const name = kindOf(hash);
    const reason = hash === '' ? 'the line has no hash' : `${name} is not accepted`;
    return { kind: name, problem: `${user} cannot log in, ${reason}` };
  }
  const cost = Number(digits);
  if (cost < leastCost || cost > 31)
    return { kind: 'malformed bcrypt', problem: `${user} cannot log in, bcrypt has no cost ${cost}` };
  if (cost > mostCost) {
    return {
      kind: `${kind} of cost ${cost}`,
      problem: `${user} cannot log in, a check of cost ${cost} takes too long`,
    };
  }
  const bcrypt = { hash, cost };
  if (cost <= slowCost) return { kind, bcrypt };
  return { kind, bcrypt, problem: `each login of ${user} takes seconds, because its hash has cost ${cost}` };
}

function kindOf(hash: string): string {
  if (hash === '') return 'no password';
  if (hash.startsWith('$apr1$')) return 'MD5 (apr1)';
  if (hash.startsWith('$1$')) return 'MD5 (crypt)';
  if (hash.startsWith('{SHA}')) return 'SHA-1';
  if (hash.startsWith('{SSHA}')) return 'salted SHA-1';
  if (hash.startsWith('$5$')) return 'SHA-256 (crypt)';
  if (hash.startsWith('$6$')) return 'SHA-512 (crypt)';
  if (hash.startsWith('$2')) return 'malformed bcrypt';
  return 'plain text or crypt';
}
