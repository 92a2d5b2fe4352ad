import { isRepositoryName, type Action } from '@wharfie/shared';
import { isMap, isScalar, isSeq, parseDocument, Scalar, YAMLMap, YAMLSeq, type Document } from 'yaml';
import { allowing, decide, shellWord, type Asker, type Decision } from './decide.js';
import { compilePattern, expandBraces, isOneComponent } from './pattern.js';
import { parsePolicy, PolicyError, whoProblem, yamlOptions, type Policy } from './policy.js';

/**
 * The policy `text` with `action` on `pattern` given to `who`: in the rule for exactly that pattern when there is one,
 * else in a new one. Comments stay, though not their columns. The text itself comes back when it says so already.
 * @throws PolicyError when `text` is wrong, Error when `who` or `pattern` is
 */
export function grant(text: string, who: string, action: Action, pattern: string): string {
  checkArguments(parsePolicy(text), who, pattern);
  const document = read(text);
  const rules = rulesFor(document, pattern);
  if (rules.some((rule) => entries(rule, action).some((entry) => isWord(entry, who)))) return text;
  const [rule = addRule(document, pattern)] = rules;
  const list = rule.get(action);
  if (isSeq(list)) list.add(word(who));
  else rule.set(word(action), flowList(who));
  return written(document, text);
}

/**
 * The policy `text` with `who` taken out of the `action` lists of the rules for exactly `pattern`. A rule that then
 * allows nothing goes; comments stay. The text itself comes back when no such rule names `who`.
 * @throws PolicyError when `text` is wrong, Error when `who` or `pattern` is
 */
export function revoke(text: string, who: string, action: Action, pattern: string): string {
  checkArguments(parsePolicy(text), who, pattern);
  const document = read(text);
  let changed = false;
  for (const rule of rulesFor(document, pattern)) {
    const list = rule.get(action);
    if (!isSeq(list) || !list.items.some((entry) => isWord(entry, who))) continue;
    changed = true;
    takeOut(list, who);
    if (list.items.length > 0) continue;
    // The parser counts what stands above the next rule among these, once a comment stands further in.
    rule.comment = joined(list.commentBefore, list.comment, rule.comment);
    rule.delete(action);
    if (rule.items.length === 1) dropRule(document, rule);
  }
  return changed ? written(document, text) : text;
}

/**
 * How to take back what a rule for `pattern` gives to `who` by name and `revoke` leaves: it gives that to other patterns
 * as well, or by an action that includes this one.
 */
export function otherwiseGiven(policy: Policy, who: string, action: Action, pattern: string): string | undefined {
  for (const { patterns, audiences } of policy.rules) {
    if (!patterns.some(({ text }) => text === pattern)) continue;
    const given = allowing[action]
      .flatMap((list) => (audiences.get(list)?.who ?? []).map(({ text, line }) => ({ list, text, line })))
      .find(({ text }) => text === who);
    if (!given) continue;
    const on = `line ${given.line} gives ${given.list} to ${who} on`;
    if (patterns.length > 1) return `${on} ${patterns.map(({ text }) => text).join(' and ')} together: edit that line`;
    const command = `wharfie access revoke ${shellWord(who)} ${given.list} ${shellWord(pattern)}`;
    return `${on} ${pattern}, and that includes ${action}: run \`${command}\``;
  }
  return undefined;
}

/**
 * What allows `who` to do `action` on `pattern`, or undefined when nothing does. Tried on one repository that `pattern`
 * means and one asker whom `who` means: enough to say which rule is in the way of a revocation.
 */
export function stillAllows(policy: Policy, who: string, action: Action, pattern: string): Decision | undefined {
  const asker = someAsker(policy, who);
  if (!asker) return undefined;
  const user = asker === 'anonymous' ? 'any' : asker.name;
  if (pattern.includes('${user}') && !isOneComponent(user)) return undefined;
  const decision = decide(policy, asker, action, someRepository(pattern.replaceAll('${user}', user)));
  return decision.allowed ? decision : undefined;
}

function checkArguments(policy: Policy, who: string, pattern: string): void {
  const problem = whoProblem(who, policy.groups);
  if (problem) throw new Error(problem);
  compilePattern(pattern);
}

/** Of lines that end in CRLF the parser would leave the CR in comments; `written` puts it back. */
function read(text: string): Document.Parsed {
  return parseDocument(text.replaceAll('\r\n', '\n'), yamlOptions);
}

/** What stands above a word may be the heading of those that follow. */
function takeOut(list: YAMLSeq, who: string): void {
  for (let index = list.items.length - 1; index >= 0; index -= 1) {
    const entry = list.items[index];
    if (!isScalar(entry) || !isWord(entry, who)) continue;
    const next = list.items[index + 1];
    if (isScalar(next)) next.commentBefore = joined(entry.commentBefore, next.commentBefore);
    else list.comment = joined(entry.commentBefore, list.comment);
    list.items.splice(index, 1);
  }
}

function rulesOf(document: Document): YAMLSeq | undefined {
  const rules = document.get('rules');
  return isSeq(rules) ? rules : undefined;
}

function rulesFor(document: Document, pattern: string): YAMLMap[] {
  const rules = rulesOf(document)?.items.filter((item) => isMap(item)) ?? [];
  return rules.filter((rule) => {
    const repositories = rule.get('repositories', true);
    if (isSeq(repositories)) return repositories.items.length === 1 && isWord(repositories.items[0], pattern);
    return isWord(repositories, pattern);
  });
}

function addRule(document: Document, pattern: string): YAMLMap {
  let rules = rulesOf(document);
  if (!rules) {
    rules = new YAMLSeq();
    // A file of comments alone has no mapping yet.
    document.contents ??= new YAMLMap();
    document.set(word('rules'), rules);
  }
  // `rules: []`
  if (rules.items.length === 0) rules.flow = false;
  const rule = new YAMLMap();
  const repositories = word(pattern);
  repositories.type = Scalar.QUOTE_DOUBLE;
  rule.set(word('repositories'), repositories);
  rules.add(rule);
  return rule;
}

function dropRule(document: Document, rule: YAMLMap): void {
  const rules = rulesOf(document);
  if (!rules) return;
  const index = rules.items.indexOf(rule);
  rules.items.splice(index, 1);
  // What stands above a rule may be the heading of those that follow.
  const next = rules.items[index];
  if (isMap(next)) next.commentBefore = joined(rule.commentBefore, rule.comment, next.commentBefore);
  else rules.comment = joined(rule.commentBefore, rule.comment, rules.comment);
}

function joined(...comments: (string | null | undefined)[]): string | null {
  return comments.filter((comment) => comment).join('\n') || null;
}

function entries(rule: YAMLMap, action: Action): readonly unknown[] {
  const list = rule.get(action);
  return isSeq(list) ? list.items : [];
}

function isWord(node: unknown, text: string): boolean {
  return isScalar(node) && node.value === text;
}

function word(text: string): Scalar<string> {
  return new Scalar(text);
}

function flowList(text: string): YAMLSeq {
  const list = new YAMLSeq();
  list.flow = true;
  list.add(word(text));
  return list;
}

function written(document: Document, before: string): string {
  const text = document.toString({ lineWidth: 0, flowCollectionPadding: false });
  const after = before.includes('\r\n') ? text.replaceAll('\n', '\r\n') : text;
  try {
    parsePolicy(after);
  } catch (error) {
    if (error instanceof PolicyError)
      throw new Error(`the change would break the policy: ${error.reason}`, { cause: error });
    throw error;
  }
  return after;
}

function someAsker(policy: Policy, who: string): Asker | undefined {
  if (who === '$anonymous') return 'anonymous';
  if (who.startsWith('$')) return { name: 'any-account' };
  if (!who.startsWith('@')) return { name: who };
  const member = policy.groups.get(who.slice(1))?.[0];
  return member && { name: member.text };
}

/** What a repository may be called that `pattern` means. */
function someRepository(pattern: string): string {
  return namedLike(expandBraces(pattern)[0] ?? '');
}

/** Whether any repository can be called as `pattern` says. */
export function canMatch(pattern: string): boolean {
  return expandBraces(pattern.replaceAll('${user}', 'user')).some((glob) => isRepositoryName(namedLike(glob)));
}

function namedLike(glob: string): string {
  return glob.replaceAll(/\*+/g, 'any').replaceAll('?', 'x');
}
