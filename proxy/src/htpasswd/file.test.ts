import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseHtpasswd, removeUser, setHash } from './file.js';

const rest = 'abcdefghijklmnopqrstuOnR6zWlZ/0hR0yA4q3nq1PZz8mZc8nOe';
const bcrypt = (cost = '10', kind = 'y') => `$2${kind}$${cost}$${rest}`;

describe('parseHtpasswd', () => {
  it('accepts $2y$, $2b$ and $2a$ between comments, blank lines, CRLF and a byte order mark', () => {
    const head = `\uFEFFann:${bcrypt()}\r\n# bob:${bcrypt()}\r\n\r\n`;
    const text = `${head}carol:${bcrypt('05', 'b')}\ndave:${bcrypt('12', 'a')}`;
    const { users, warnings } = parseHtpasswd(text);
    expect([...users]).toEqual([
      ['ann', { line: 1, kind: '$2y$', bcrypt: { hash: bcrypt(), cost: 10 } }],
      ['carol', { line: 4, kind: '$2b$', bcrypt: { hash: bcrypt('05', 'b'), cost: 5 } }],
      ['dave', { line: 5, kind: '$2a$', bcrypt: { hash: bcrypt('12', 'a'), cost: 12 } }],
    ]);
    expect(warnings).toEqual([]);
  });

  it.each([
    ['MD5 (apr1)', '$apr1$Ms7bMPmC$4ysxGVs2bSvpNZmTMj0HT1'],
    ['MD5 (crypt)', '$1$Ms7bMPmC$4ysxGVs2bSvpNZmTMj0HT1'],
    ['SHA-1', '{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g='],
    ['SHA-256 (crypt)', '$5$rounds=5000$salt$hashhash'],
    ['SHA-512 (crypt)', '$6$salt$hashhash'],
    ['plain text or crypt', 'rl8uSaP6cCkJk'],
    ['malformed bcrypt', bcrypt().slice(0, -1)],
    ['malformed bcrypt', bcrypt('32')],
    ['malformed bcrypt', bcrypt('03')],
    ['malformed bcrypt', bcrypt('10', 'x')],
    ['no password', ''],
  ])('lets nobody in by %s, names line, user and remedy, and lets the others in', (kind, hash) => {
    const { users, warnings } = parseHtpasswd(`# first\nbob:${hash}\nann:${bcrypt()}\n`);
    expect(users.get('bob')).toEqual({ line: 2, kind });
    expect(users.get('ann')?.bcrypt).toBeDefined();
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/^line 2: bob .*`wharfie users passwd bob`$/);
    if (hash !== '') expect(warnings[0]).not.toContain(hash);
  });

  it('warns of a name without a colon, and never repeats what may be a hash', () => {
    const { users, warnings } = parseHtpasswd(`bob\n${bcrypt()}\n:${bcrypt()}\n`);
    expect(users.size).toBe(0);
    expect(warnings).toEqual([
      'line 1: bob has no colon and no hash: remove the line and run `wharfie users add bob`',
      'line 2: there is no name before a colon: remove the line and run `wharfie users add NAME`',
      'line 3: there is no name before a colon: remove the line and run `wharfie users add NAME`',
    ]);
    expect(JSON.stringify(warnings)).not.toContain(rest);
  });

  it.each(['', '# nothing\n'])('warns that %j has no account', (text) => {
    expect(parseHtpasswd(text).warnings).toEqual([
      'it has no account, so nobody can log in: run `wharfie users add NAME`',
    ]);
  });

  it.each([
    ['empty', '', 'line 1: empty cannot log in, the line has no hash: run `wharfie users passwd empty`'],
    [
      'c17',
      bcrypt('17'),
      'line 1: each login of c17 takes seconds, because its hash has cost 17: run `wharfie users passwd c17`',
    ],
  ])('says why the line of %s is not as it should be', (user, hash, message) => {
    expect(parseHtpasswd(`${user}:${hash}\n`).warnings).toEqual([message]);
  });

  it('lets nobody in by a name that is not UTF-8, which would be the same as others', () => {
    const bytes = Buffer.from(`m\xfcller:${bcrypt()}\nm\xf6ller:${bcrypt()}\n`, 'latin1');
    const { users, warnings } = parseHtpasswd(bytes.toString());
    expect(users.size).toBe(0);
    expect(warnings).toEqual([
      expect.stringMatching(/^line 1: .* not UTF-8: /),
      expect.stringMatching(/^line 2: .* not UTF-8: /),
    ]);
  });

  it('lets the first of two lines count, as Apache does, and warns of the second', () => {
    const { users, warnings } = parseHtpasswd(`bob:${bcrypt('05')}\nbob:${bcrypt('06')}\n`);
    expect(users.get('bob')).toMatchObject({ line: 1, bcrypt: { cost: 5 } });
    expect(warnings).toEqual([expect.stringMatching(/^line 2: bob stands on line 1 already/)]);
  });

  it('warns of a cost that makes each login wait, and lets nobody in by one that takes minutes', () => {
    const { users, warnings } = parseHtpasswd(`slow:${bcrypt('16')}\nfrozen:${bcrypt('20')}\n`);
    expect(users.get('slow')?.bcrypt).toBeDefined();
    expect(users.get('frozen')?.bcrypt).toBeUndefined();
    expect(warnings).toEqual([expect.stringMatching(/login of slow/), expect.stringMatching(/^line 2: frozen cannot/)]);
  });

  it('takes __proto__ and constructor for names like any other', () => {
    const { users } = parseHtpasswd(`__proto__:${bcrypt()}\n`);
    expect([...users.keys()]).toEqual(['__proto__']);
    expect(users.get('constructor')).toBeUndefined();
  });

  it('takes what follows a second colon for a comment', () => {
    expect(parseHtpasswd(`bob:${bcrypt()}:of the harbour\n`).users.get('bob')?.bcrypt?.hash).toBe(bcrypt());
  });
});

describe('setHash and removeUser', () => {
  it('changes one line and leaves every other byte', () => {
    const text = `# keep\r\n\r\nann:old\r\n bob:old:the second\r\n#bob:x\r\nlast:old`;
    expect(setHash(text, 'bob', 'new')).toBe(`# keep\r\n\r\nann:old\r\n bob:new:the second\r\n#bob:x\r\nlast:old`);
    expect(setHash(text, 'last', '$new$&')).toBe(text.replace('last:old', () => 'last:$new$&'));
    expect(setHash(text, 'eve', 'new')).toBe(`${text}\r\neve:new\r\n`);
    expect(removeUser(text, 'ann')).toBe(`# keep\r\n\r\n bob:old:the second\r\n#bob:x\r\nlast:old`);
  });

  it('removes every line of a user, so that none comes back', () => {
    expect(removeUser('bob:a\nann:b\nbob:c\n', 'bob')).toBe('ann:b\n');
  });

  it('sees the user of the first line behind a byte order mark', () => {
    expect(setHash('\uFEFFbob:old\n', 'bob', 'new')).toBe('\uFEFFbob:new\n');
    expect(removeUser('\uFEFFbob:old\nann:x\n', 'bob')).toBe('ann:x\n');
  });

  it('finds again what was set, in any file', () => {
    const names = fc.stringMatching(/^[a-z_][\w.-]{0,8}$/);
    fc.assert(
      fc.property(fc.array(fc.oneof(names, fc.constant('#'), fc.string()), { maxLength: 8 }), names, (lines, name) => {
        const text = lines.map((line) => `${line}:x\n`).join('');
        const set = setHash(text, name, bcrypt());
        expect(parseHtpasswd(set).users.get(name)?.bcrypt?.hash).toBe(bcrypt());
        expect(parseHtpasswd(removeUser(set, name)).users.has(name)).toBe(false);
      }),
    );
  });
});
