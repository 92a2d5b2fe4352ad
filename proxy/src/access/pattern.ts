import { isRepositoryName } from '@wharfie/shared';
import { LRUCache } from 'lru-cache';

/** A pattern of repositories. */
export interface Pattern {
  text: string;
  /** Whether `repository` is meant, for an asker of this name; strangers have none. */
  matches: (repository: string, user: string | undefined) => boolean;
  /** Whether every repository is meant. */
  everything: boolean;
}

/** Stands for `${user}` while braces are expanded; no pattern may hold it. */
const userMark = '~';

const maxGlobs = 1000;

/** @throws Error that says why `text` is no pattern of repositories */
export function compilePattern(text: string): Pattern {
  const globs = expandBraces(checkedPattern(text));
  for (const glob of globs) checkGlob(glob);
  const matcher = (user: string): ((repository: string) => boolean) => {
    const meant = globs.map((glob) => componentsOf(glob.replaceAll(userMark, user)));
    return (repository) => {
      const components = repository.split('/');
      return meant.some((glob) => matchesComponents(glob, components));
    };
  };
  if (!text.includes('${user}')) return { text, matches: matcher(''), everything: globs.includes('**') };
  const matchers = new LRUCache<string, ReturnType<typeof matcher>>({ max: 1000, memoMethod: matcher });
  const matches = (repository: string, user: string | undefined) =>
    user !== undefined && isOneComponent(user) && matchers.memo(user)(repository);
  return { text, matches, everything: false };
}

/** `**` stands for any number of components, at the end for one at least: `team/**` does not match `team`. */
function componentsOf(glob: string): string[] {
  return glob.replace(/\*\*$/, '*/**').split('/');
}

function matchesComponents(glob: readonly string[], components: readonly string[]): boolean {
  return matchesAll(glob, components, '**', (word, component) => matchesAll(word, component, '*', isLetter));
}

function isLetter(sign: string, letter: string): boolean {
  return sign === '?' || sign === letter;
}

/**
 * Whether `items` are what `pattern` says, in which `any` stands for any number of them. Takes the product of both lengths
 * at most, whatever the pattern: only the last `any` is ever tried anew, as what follows an earlier one was found already.
 */
function matchesAll(
  pattern: ArrayLike<string>,
  items: ArrayLike<string>,
  any: string,
  isOne: (word: string, item: string) => boolean,
): boolean {
  let place = 0;
  /** Behind the last `any`, and the item with which to try on from there. */
  let again: { place: number; item: number } | undefined;
  for (let item = 0; item < items.length;) {
    const word = pattern[place];
    if (word === any) again = { place: ++place, item };
    else if (word !== undefined && isOne(word, items[item] ?? '')) {
      place += 1;
      item += 1;
    } else if (again) {
      place = again.place;
      item = ++again.item;
    } else return false;
  }
  while (pattern[place] === any) place += 1;
  return place === pattern.length;
}

/**
 * Whether `user` may stand for `${user}`. A name that is no component of a repository's name, such as `*`, `a/b` or
 * `Bob`, has no corner of its own, rather than somebody else's.
 */
export function isOneComponent(user: string): boolean {
  return isRepositoryName(user) && !user.includes('/');
}

/** Nothing of other globs' wider language gets in: no negation, classes, extglobs, escapes. */
function checkedPattern(text: string): string {
  if (text === '') throw new Error('a pattern is empty');
  const pattern = text.replaceAll('${user}', userMark);
  const unknown = /[^A-Za-z0-9._/*?{},~-]/.exec(pattern)?.[0] ?? (text.includes(userMark) ? userMark : undefined);
  if (unknown !== undefined) throw new Error(`"${text}": a pattern cannot hold ${JSON.stringify(unknown)}`);
  return pattern;
}

/** The patterns without braces that `pattern` stands for. */
export function expandBraces(pattern: string): string[] {
  let globs = [pattern];
  for (;;) {
    const innermost = /\{([^{}]*)\}/;
    if (!globs.some((glob) => innermost.test(glob))) return globs;
    globs = globs.flatMap((glob) => {
      const brace = innermost.exec(glob);
      if (!brace) return [glob];
      const rest = glob.slice(brace.index + brace[0].length);
      return (brace[1] ?? '').split(',').map((choice) => glob.slice(0, brace.index) + choice + rest);
    });
    if (globs.length > maxGlobs) throw new Error(`"${pattern}" stands for more than ${maxGlobs} patterns`);
  }
}

function checkGlob(glob: string): void {
  if (/[{}]/.test(glob)) throw new Error('a brace has no partner');
  if (glob.includes(',')) throw new Error('a comma stands outside braces: write several patterns as a list');
  const components = glob.split('/');
  if (components.includes('')) throw new Error('a slash begins or ends a pattern, or stands next to another one');
  if (components.some((component) => component.includes('**') && component !== '**')) {
    throw new Error('** must stand alone between slashes');
  }
  if (glob.includes('..')) throw new Error('.. stands in no repository name');
  if (components.includes('.')) throw new Error('. alone stands in no repository name');
  if (glob.includes('**/**')) throw new Error('**/** says no more than **');
}
