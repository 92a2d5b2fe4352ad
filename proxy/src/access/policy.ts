import type { Action } from '@wharfie/shared';
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseAllDocuments, visit, type Node } from 'yaml';
import { wasUtf8 } from '../utf8.js';
import { compilePattern, type Pattern } from './pattern.js';

/** A word of access.yml, and the line that it stands on. */
export interface Entry {
  text: string;
  line: number;
}

/** Whom one list of access.yml names. */
export interface Audience {
  line: number;
  who: readonly Entry[];
  /** The accounts that it names, those of its groups included. */
  names: ReadonlySet<string>;
  /** Whether it names every account. */
  accounts: boolean;
  /** Whether it names everybody, accounts and strangers. */
  anonymous: boolean;
}

export type PolicyPattern = Entry & Pattern;

export interface Rule {
  line: number;
  patterns: readonly PolicyPattern[];
  audiences: ReadonlyMap<Action, Audience>;
}

export interface Policy {
  admins: Audience;
  groups: ReadonlyMap<string, readonly Entry[]>;
  rules: readonly Rule[];
  /** What is surely not meant, though it is no error. */
  warnings: readonly string[];
}

/** What is wrong with an access.yml, and on which line. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError';

  constructor(
    readonly line: number,
    readonly reason: string,
  ) {
    super(`line ${line}: ${reason}`);
  }
}

/** Every scalar is a string, so that a user may be called `123`, `null` or `on`. */
export const yamlOptions = { schema: 'failsafe', prettyErrors: false } as const;

export const actions = ['pull', 'push', 'delete'] as const satisfies readonly Action[];

/**
 * What access.yml allows. Strict: whatever is not understood is an error, because a rule that is silently left out or
 * read in another way than it was meant is worse than none. An empty file is a policy that allows nothing, with a
 * warning.
 * @throws PolicyError
 */
export function parsePolicy(text: string): Policy {
  const reader = new Reader(text);
  const root = reader.root();
  const sections = root ? reader.sections(root, 'access.yml', ['admins', 'groups', 'rules']) : new Map<string, Node>();
  const groups = reader.groups(sections.get('groups'));
  const admins = sections.get('admins');
  return {
    admins: admins ? reader.audience(admins, 'admins', groups, isNameOrGroup) : nobody,
    groups,
    rules: reader.rules(sections.get('rules'), groups),
    warnings: sections.size === 0 ? ['it is empty, so nobody may do anything'] : [],
  };
}

/**
 * The text of an access.yml for a first start: one administrator, and every account may pull everything.
 */
export function defaultPolicy(adminUser: string): string {
  return `# Who may do what. A change applies within a second; \`wharfie access list\` shows it as a table.

# They may do everything, everywhere.
admins: [${/^\w[\w.-]*$/.test(adminUser) ? adminUser : JSON.stringify(adminUser)}]

# Names for several accounts at once; a rule says "@builders" and means all of them.
# groups:
#   builders: [bob, carol]

# What no rule allows is denied. push includes pull; delete includes pull, not push.
# In repositories, * stands for anything within one part of the name, ** for any number of parts.
# Who: a name, "@group", $authenticated (every account), $anonymous (everybody, without an account too).
rules:
  - repositories: "**"
    pull: [$authenticated]
  # - repositories: "team/**"
  #   push: ["@builders"]
  # - repositories: "\${user}/**" # everybody's own corner
  #   push: ["\${user}"]
`;
}

/** Names in `policy` that are no account's. */
export function unknownNames(policy: Policy, users: ReadonlyMap<string, unknown>): Entry[] {
  const entries = [
    ...policy.admins.who,
    ...[...policy.groups.values()].flat(),
    ...policy.rules.flatMap(({ audiences }) => [...audiences.values()].flatMap(({ who }) => who)),
  ];
  return entries.filter(({ text }) => !/^[$@]/.test(text) && !users.has(text));
}

/** Why `text` cannot stand in a list of who, or undefined. */
export function whoProblem(text: string, groups: ReadonlyMap<string, unknown>): string | undefined {
  if (text.trim() === '') return 'a name is empty';
  if (text.startsWith('$') && !words.has(text)) {
    return `unknown word ${text}: there are $authenticated, $anonymous and \${user}`;
  }
  if (text === '@') return 'a group has no name: write @ and its name';
  if (text.startsWith('@') && !groups.has(text.slice(1))) {
    const name = text.slice(1);
    const known =
      groups.size === 0 ? 'are none yet' : `is ${[...groups.keys()].map((group) => `@${group}`).join(', ')}`;
    return `there is no group ${name}: write it in access.yml under groups, as in "${name}: [bob]"; there ${known}`;
  }
  return undefined;
}

const words = new Set(['$authenticated', '$anonymous', '${user}']);
const nobody: Audience = { line: 1, who: [], names: new Set(), accounts: false, anonymous: false };

function isNameOrGroup(text: string): string | undefined {
  return text.startsWith('$') ? `admins are names and groups, not ${text}` : undefined;
}

/** The nodes of one access.yml, each with its line. */
class Reader {
  readonly #lines = new LineCounter();

  constructor(private readonly text: string) {}

  /** The mapping that the file holds, or undefined when it is empty. */
  root(): Node | undefined {
    const documents = parseAllDocuments(this.text, { ...yamlOptions, lineCounter: this.#lines });
    for (const { errors, warnings } of documents) {
      const [problem] = [...errors, ...warnings];
      if (!problem) continue;
      const line = this.#lineAt(problem.pos[0]);
      const hint = /[@{]/.test(this.text.split('\n')[line - 1] ?? '') ? ': put quotes around words with @ or {' : '';
      throw new PolicyError(line, `${oneLine(problem.message)}${hint}`);
    }
    const [document, second] = documents;
    if (second) throw new PolicyError(this.#lineAt(second.range[0]), 'a second document begins: there must be one');
    if (!document?.contents) return undefined;
    visit(document, {
      Node: (_, node) => {
        if (isAlias(node) || node.anchor !== undefined)
          this.#fail(node, 'anchors and aliases (& and *) are not accepted');
      },
    });
    const { contents } = document;
    return isScalar(contents) && contents.value === '' ? undefined : contents;
  }

  /** The values of a mapping that knows no other keys. */
  sections(node: Node, what: string, known: readonly string[]): Map<string, Node> {
    const sections = this.#mapping(node, what);
    for (const [key, { keyNode }] of sections) {
      if (!known.includes(key)) this.#fail(keyNode, `unknown key "${key}": ${what} has ${known.join(', ')}`);
    }
    return new Map([...sections].map(([key, { value }]) => [key, value]));
  }

  groups(node: Node | undefined): Map<string, Entry[]> {
    const groups = new Map<string, Entry[]>();
    if (!node) return groups;
    for (const [name, { keyNode, value }] of this.#mapping(node, 'groups')) {
      if (!/^[\w.-]+$/.test(name))
        this.#fail(keyNode, `a group cannot be called "${name}": use letters, digits, . _ -`);
      const members = this.#entries(value, `group ${name}`);
      for (const { text, line } of members) {
        if (/^[@$]/.test(text)) throw new PolicyError(line, `a group holds names only, not ${text}`);
      }
      groups.set(name, members);
    }
    return groups;
  }

  rules(node: Node | undefined, groups: ReadonlyMap<string, readonly Entry[]>): Rule[] {
    if (!node) return [];
    if (!isSeq<Node>(node)) return this.#fail(node, 'rules must be a list: [] for none');
    return node.items.map((item) => this.#rule(item, groups));
  }

  audience(
    node: Node,
    what: string,
    groups: ReadonlyMap<string, readonly Entry[]>,
    problem: (text: string) => string | undefined = () => undefined,
  ): Audience {
    const who = this.#entries(node, what);
    const names = new Set<string>();
    for (const { text, line } of who) {
      const reason = problem(text) ?? whoProblem(text, groups);
      if (reason) throw new PolicyError(line, reason);
      if (text.startsWith('@')) for (const member of groups.get(text.slice(1)) ?? []) names.add(member.text);
      else if (!words.has(text)) names.add(text);
    }
    const anonymous = who.some(({ text }) => text === '$anonymous');
    // `${user}` among who is the one asking, so it is whoever has an account.
    const accounts = who.some(({ text }) => words.has(text));
    return { line: this.#line(node), who, names, accounts, anonymous };
  }

  #rule(node: Node, groups: ReadonlyMap<string, readonly Entry[]>): Rule {
    const sections = this.sections(node, 'a rule', ['repositories', ...actions]);
    const repositories = sections.get('repositories');
    if (!repositories) return this.#fail(node, 'repositories is missing in this rule');
    const audiences = new Map<Action, Audience>();
    for (const action of actions) {
      const list = sections.get(action);
      if (list) audiences.set(action, this.audience(list, action, groups));
    }
    if (audiences.size === 0) return this.#fail(node, 'this rule allows nothing: give it pull, push or delete');
    const texts = isScalar(repositories) ? [this.#entry(repositories, 'repositories')] : undefined;
    const patterns = (texts ?? this.#entries(repositories, 'repositories')).map((entry) => this.#pattern(entry));
    if (patterns.length === 0) return this.#fail(repositories, 'repositories is an empty list');
    return { line: this.#line(node), patterns, audiences };
  }

  #pattern({ text, line }: Entry): PolicyPattern {
    try {
      return { line, ...compilePattern(text) };
    } catch (error) {
      throw new PolicyError(line, (error as Error).message);
    }
  }

  #mapping(node: Node, what: string): Map<string, { keyNode: Node; value: Node }> {
    if (!isMap<Node, Node | null>(node)) return this.#fail(node, `${what} must be a mapping (key: value)`);
    return new Map(
      node.items.map(({ key, value }) => {
        const { text } = this.#entry(key, `a key of ${what}`);
        return [text, { keyNode: key, value: value ?? this.#fail(key, `${text} has no value`) }];
      }),
    );
  }

  #entries(node: Node, what: string): Entry[] {
    if (!isSeq<Node>(node)) return this.#fail(node, `${what} must be a list, such as [bob]`);
    return node.items.map((item) => this.#entry(item, what));
  }

  #entry(node: Node, what: string): Entry {
    if (!isScalar(node) || typeof node.value !== 'string') return this.#fail(node, `${what} must be a word`);
    if (node.value.trim() === '') return this.#fail(node, `${what} holds an empty word`);
    if (!wasUtf8(node.value)) return this.#fail(node, `${what} is not UTF-8: convert the file`);
    return { text: node.value, line: this.#line(node) };
  }

  #fail(node: Node, reason: string): never {
    throw new PolicyError(this.#line(node), reason);
  }

  #line(node: Node): number {
    return this.#lineAt(node.range?.[0] ?? 0);
  }

  #lineAt(offset: number): number {
    return this.#lines.linePos(offset).line;
  }
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ');
}
