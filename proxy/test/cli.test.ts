import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { describeWith } from '../../e2e/harness/requirements.js';

const bin = fileURLToPath(new URL('../bin/wharfie.js', import.meta.url));

describe('wharfie', () => {
  let data: string;

  beforeEach(() => {
    data = join(mkdtempSync(join(tmpdir(), 'wharfie-')), 'data');
  });
  afterEach(() => {
    rmSync(join(data, '..'), { recursive: true });
  });

  const environment = () => ({ ...process.env, WHARFIE_DATA: data });
  const wharfie = (words: string[], input: string | Buffer = '') => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [bin, ...words], { env: environment(), input });
    return { status, stdout: stdout.toString(), stderr: stderr.toString() };
  };
  const file = (name: string) => join(data, name);
  const addUser = (name: string, password = 'secret') =>
    wharfie(['users', 'add', name, '--cost', '4', '--password-stdin'], `${password}\n`);

  it.each([
    [],
    ['users'],
    ['users', 'list'],
    ['users', 'add'],
    ['users', 'passwd'],
    ['users', 'remove'],
    ['users', 'verify'],
    ['access'],
    ['access', 'list'],
    ['access', 'check'],
    ['access', 'grant'],
    ['access', 'revoke'],
    ['doctor'],
  ])('%s %s --help has examples', (...words) => {
    const { status, stdout } = wharfie([...words, '--help']);
    expect(status).toBe(0);
    expect(stdout).toContain(`Usage: ${['wharfie', ...words].join(' ')}`);
    expect(stdout).toContain('Examples:\n');
  });

  it.each([
    [['users', 'create', 'bob'], 'unknown command'],
    [['users', 'add'], "missing required argument 'name'"],
    [['users', 'add', 'bob', 'secret', '--generate'], 'too many arguments'],
    [['users', 'add', 'bob', '--generate', '--password-stdin'], 'cannot be used with'],
    [['users', 'add', 'bob', '--generate', '--cost', '3'], 'from 4 to 17'],
    [['users', 'add', 'b:ob', '--generate'], 'colon'],
    [['users', 'add', '$anonymous', '--generate'], 'must not begin with'],
    [['users', 'add', 'bob'], '--password-stdin, or have one made by --generate'],
    [['access', 'check', 'bob', 'write', 'a'], 'pull, push, delete'],
    [['access', 'check', 'bob', 'pull', 'A'], 'no repository name'],
    [['access', 'check', '', 'pull', 'a'], 'single quotes'],
    [['access', 'check', '$authenticated', 'pull', 'a'], "'$anonymous'"],
    [['access', 'check', '@devs', 'pull', 'a'], 'check a member of the group instead'],
    [['access', 'grant', 'bob:', 'pull', 'a'], 'must not hold a colon'],
    [['access', 'grant', '@devs', 'pull', 'a'], 'no group devs'],
    [['access', 'grant', 'bob', 'pull', '!a'], 'cannot hold'],
  ])('%j is wrong usage: 2, and one line on standard error', (words, reason) => {
    const { status, stdout, stderr } = wharfie(words);
    expect(status).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain(reason);
    expect(stderr).toMatch(/^wharfie: [^\n]+\n$/);
    expect(existsSync(file('htpasswd'))).toBe(false);
  });

  const spoil: Record<string, () => void> = {
    'htpasswd is a folder': () => {
      mkdirSync(file('htpasswd'), { recursive: true });
    },
    'htpasswd is a link to itself': () => {
      mkdirSync(data);
      symlinkSync('htpasswd', file('htpasswd'));
    },
    'the data folder is a file': () => {
      writeFileSync(data, '');
    },
    'nobody may make the data folder': () => {
      data = '/sys/data';
    },
    'nothing is there': () => undefined,
  };
  it.each([
    ['htpasswd is a folder', 'users list', /\/htpasswd: it is a folder: move/],
    ['htpasswd is a folder', 'users add bob --generate', /\/htpasswd: it is a folder: move/],
    ['htpasswd is a link to itself', 'users list', /\/htpasswd: symbolic links lead in a circle: remove one/],
    ['htpasswd is a link to itself', 'users add bob --generate', /\/htpasswd: symbolic links lead in a circle/],
    ['the data folder is a file', 'users add bob --generate', /WHARFIE_DATA: .* or set WHARFIE_DATA to/],
    ['the data folder is a file', 'access list', /\/access\.yml: .* or set WHARFIE_DATA to/],
    ['nobody may make the data folder', 'users add bob --generate', /WHARFIE_DATA: .* or set WHARFIE_DATA to/],
    ['nobody may make the data folder', 'access grant bob pull a', /WHARFIE_DATA: .* or set WHARFIE_DATA to/],
    ['nothing is there', 'users list', /htpasswd does not exist: /],
    ['nothing is there', 'users verify bob', /htpasswd does not exist: /],
    ['nothing is there', 'users remove bob', /htpasswd does not exist: /],
    ['nothing is there', 'access revoke bob pull a', /access\.yml does not exist: /],
  ])('says in one line what to do when %s: %s', (what, words, remedy) => {
    const folder = join(data, '..');
    spoil[what]?.();
    const { status, stderr } = wharfie(words.split(' '));
    data = join(folder, 'data');
    expect(status).toBe(2);
    expect(stderr).toMatch(/^wharfie: [^\n]+\n$/);
    expect(stderr).toMatch(remedy);
  });

  it('makes the folder and the first account, in a file that others may not read', () => {
    const made = `wharfie: ${file('htpasswd')} was missing and is made: it has no other account\n`;
    const bob = 'wharfie: bob can log in within a second\n';
    expect(addUser('bob')).toEqual({ status: 0, stdout: '', stderr: made + bob });
    expect(addUser('eve').stderr).toBe('wharfie: eve can log in within a second\n');
    wharfie(['users', 'remove', 'eve']);
    expect(readFileSync(file('htpasswd'), 'utf8')).toMatch(/^bob:\$2y\$04\$[./A-Za-z0-9]{53}\n$/);
    expect(statSync(file('htpasswd')).mode & 0o777).toBe(0o600);
  });

  it('says no to a second account of the same name, and to a password for none', () => {
    addUser('bob');
    const before = readFileSync(file('htpasswd'), 'utf8');
    expect(addUser('bob')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('wharfie users passwd bob') as string,
    });
    const passwd = wharfie(['users', 'passwd', 'eve', '--generate']);
    expect(passwd).toMatchObject({ status: 1, stdout: '', stderr: expect.stringContaining('users add eve') as string });
    expect(readFileSync(file('htpasswd'), 'utf8')).toBe(before);
  });

  it('prints a generated password alone, and knows it again', () => {
    const { stdout } = wharfie(['users', 'add', 'bob', '--generate', '--cost', '4']);
    expect(stdout).toMatch(/^\w{20,}\n$/);
    expect(wharfie(['users', 'verify', 'bob', '--password-stdin'], stdout).status).toBe(0);
    expect(wharfie(['users', 'verify', 'bob', '--password-stdin'], `x${stdout}`).status).toBe(1);
    expect(wharfie(['users', 'verify', 'eve', '--password-stdin'], stdout).status).toBe(1);
  });

  it.each([
    ['', 'empty', 1],
    ['\n', 'empty', 1],
    ['one\ntwo\n', 'more than one line', 2],
    ['x'.repeat(73), '72 bytes', 1],
    [Buffer.from('p\xe4ss', 'latin1'), 'not UTF-8', 1],
  ])('refuses the password %j', (input, reason, expected) => {
    const { status, stderr } = wharfie(['users', 'add', 'bob', '--password-stdin'], input);
    expect(status).toBe(expected);
    expect(stderr).toContain(reason);
    addUser('eve');
    expect(wharfie(['users', 'verify', 'eve', '--password-stdin'], input)).toMatchObject({
      status: expected,
      stderr: expect.stringContaining(reason) as string,
    });
    expect(stderr).not.toContain('xxx');
  });

  it('keeps a password as it is given, but for the end of the line', () => {
    wharfie(['users', 'add', 'bob', '--cost', '4', '--password-stdin'], ' pä:ss \r\n');
    expect(wharfie(['users', 'verify', 'bob', '--password-stdin'], ' pä:ss ').status).toBe(0);
  });

  it('changes a password and leaves the rest of the file', () => {
    addUser('bob');
    const before = `# ours\r\n${readFileSync(file('htpasswd'), 'utf8')}old:$apr1$a$b\n`;
    writeFileSync(file('htpasswd'), before);
    expect(wharfie(['users', 'passwd', 'bob', '--cost', '4', '--password-stdin'], 'new').status).toBe(0);
    const after = readFileSync(file('htpasswd'), 'utf8');
    expect(after).not.toBe(before);
    expect(after.replace(/bob:.*/, '')).toBe(before.replace(/bob:.*/, ''));
    expect(wharfie(['users', 'verify', 'bob', '--password-stdin'], 'new').status).toBe(0);
  });

  it('lists the accounts with what they may push, and warns of lines that let nobody in', () => {
    addUser('bob');
    writeFileSync(file('htpasswd'), `${readFileSync(file('htpasswd'), 'utf8')}old:$apr1$a$b\n`);
    writeFileSync(
      file('access.yml'),
      'groups: {builders: [bob]}\nrules: [{repositories: "team/**", push: ["@builders"]}]\n',
    );
    const { status, stdout, stderr } = wharfie(['users', 'list']);
    expect(status).toBe(0);
    expect(stdout).toBe(
      [
        'NAME   GROUPS     HASH                        COST   MAY PUSH\n',
        'bob    builders   $2y$                        4      team/**\n',
        'old    -          MD5 (apr1): cannot log in   -      -\n',
      ].join(''),
    );
    expect(stderr).toContain('line 2: old cannot log in');
    expect(stderr).not.toContain('$apr1$');
  });

  it('blames no file for a group that is not there, and says how to make it', () => {
    mkdirSync(data);
    writeFileSync(file('access.yml'), 'groups:\n  builders: [bob]\nrules: []\n');
    expect(wharfie(['access', 'grant', '@devs', 'push', 'a']).stderr).toBe(
      'wharfie: there is no group devs: write it in access.yml under groups, as in "devs: [bob]"; there is @builders\n',
    );
  });

  it.each([
    ['remove', 'eve', /no account eve: `wharfie users list` shows/],
    ['verify', 'eve', /no account eve: `wharfie users list` shows/],
    ['passwd', 'eve', /no account eve: make it by `wharfie users add eve`/],
  ])('says to users %s %s what may have been meant', (command, name, remedy) => {
    addUser('bob');
    expect(wharfie(['users', command, name])).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(remedy) as string,
    });
  });

  it('says which version it is', () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    expect(wharfie(['--version'])).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('ends without a word when nobody reads on, as head does', async () => {
    addUser('bob');
    const listing = spawn(process.execPath, [bin, 'users', 'list'], { env: environment() });
    listing.stdout.destroy();
    const [stderr] = await Promise.all([text(listing.stderr), once(listing, 'close')]);
    expect({ status: listing.exitCode, stderr }).toEqual({ status: 0, stderr: '' });
  });

  describeWith(['/dev/full'], 'a full disk', () => {
    it('gives no answer when it cannot be written', () => {
      addUser('bob');
      const said = (...words: string[]) => {
        const command = ['-c', 'exec "$@" > /dev/full', 'sh', process.execPath, bin, ...words];
        const { status, stderr } = spawnSync('sh', command, { env: environment() });
        return { status, stderr: stderr.toString() };
      };
      const unwritten = 'wharfie: standard output cannot be written (ENOSPC): make room, or send it elsewhere\n';
      expect(said('users', 'list')).toEqual({ status: 2, stderr: unwritten });
      const { status, stderr } = said('users', 'passwd', 'bob', '--generate', '--cost', '4');
      expect(status).toBe(2);
      expect(stderr).toContain('nobody saw it: run `wharfie users passwd bob`\n');
      expect(stderr).toContain(unwritten);
    });
  });

  it('ends as it would have when nobody reads on', async () => {
    const examining = spawn(process.execPath, [bin, 'doctor'], {
      env: { ...environment(), WHARFIE_DRAIN: 'x' },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    examining.stdout.destroy();
    await once(examining, 'close');
    expect(examining.exitCode).toBe(1);
  });

  it('removes an account and says where access.yml still names it', () => {
    addUser('bob');
    writeFileSync(file('access.yml'), 'groups:\n  builders: [bob]\nrules:\n  - repositories: a\n    push: [bob]\n');
    const { status, stdout } = wharfie(['users', 'remove', 'bob']);
    expect(status).toBe(0);
    expect(stdout).toBe(
      `bob is removed\n` +
        `${file('access.yml')} line 2 still names bob: group builders\n` +
        `${file('access.yml')} line 5 still names bob: push on a\n`,
    );
    expect(readFileSync(file('htpasswd'), 'utf8')).toBe('');
    expect(wharfie(['users', 'remove', 'bob']).status).toBe(1);
  });

  it('lists the accounts where access.yml is wrong, and says what it cannot tell', () => {
    addUser('bob');
    writeFileSync(file('access.yml'), 'rule: []\n');
    expect(wharfie(['users', 'list'])).toEqual({
      status: 0,
      stdout: expect.stringContaining('bob    -        $2y$   4      -') as string,
      stderr: expect.stringMatching(/^wharfie: .*line 1: unknown key.*unknown until that is mended\n$/) as string,
    });
  });

  it('gives a password to an account whose name a hand has written, though none is made with it', () => {
    mkdirSync(data);
    writeFileSync(file('htpasswd'), '@ops:plain\n');
    expect(wharfie(['users', 'passwd', '@ops', '--cost', '4', '--password-stdin'], 'secret').status).toBe(0);
    expect(wharfie(['users', 'verify', '@ops', '--password-stdin'], 'secret').status).toBe(0);
  });

  it.each([
    ['htpasswd', ['users', 'list'], ['users', 'add', 'eve', '--generate']],
    ['access.yml', ['access', 'list'], ['access', 'grant', 'eve', 'pull', 'a']],
  ])('neither waits for a pipe in place of %s nor replaces it', (name, ...commands) => {
    mkdirSync(data);
    spawnSync('mkfifo', [file(name)]);
    for (const words of commands) {
      expect(wharfie(words)).toMatchObject({
        status: 2,
        stderr: expect.stringContaining('device or a pipe') as string,
      });
    }
    expect(statSync(file(name)).isFIFO()).toBe(true);
  });

  describeWith(['root'], 'run by root', () => {
    it('leaves a file to its owner when another user may replace it', () => {
      addUser('bob');
      chmodSync(join(data, '..'), 0o755);
      chmodSync(data, 0o777);
      chmodSync(file('htpasswd'), 0o644);
      const before = statSync(file('htpasswd'));
      const other = { uid: 4242, gid: 4242, env: environment(), input: 'secret' };
      const { status, stderr } = spawnSync(process.execPath, [bin, 'users', 'add', 'eve', '--password-stdin'], other);
      expect(status).toBe(2);
      expect(String(stderr)).toContain('run this as the user that runs the services');
      expect(statSync(file('htpasswd'))).toMatchObject({ ino: before.ino, uid: before.uid });
    });
  });

  it('removes an account where access.yml is wrong, and says that it cannot look there', () => {
    addUser('bob');
    writeFileSync(file('access.yml'), 'rule: []\n');
    expect(wharfie(['users', 'remove', 'bob'])).toEqual({
      status: 0,
      stdout: 'bob is removed\n',
      stderr: expect.stringMatching(
        /^wharfie: .*line 1: unknown key.*whether it still names bob is unknown until that is mended\n$/,
      ) as string,
    });
  });

  it('grants, lists, checks and revokes', () => {
    addUser('bob');
    expect(wharfie(['access', 'grant', 'bob', 'push', 'team/**']).status).toBe(0);
    expect(wharfie(['access', 'check', 'bob', 'push', 'team/app'])).toMatchObject({
      status: 0,
      stdout: `allowed: ${file('access.yml')} line 17: the rule for team/** gives push to bob\n`,
    });
    expect(wharfie(['access', 'list']).stdout).toMatch(/^16 +team\/\*\* +- +bob +-$/m);
    expect(wharfie(['access', 'revoke', 'bob', 'push', 'team/**']).status).toBe(0);
    expect(wharfie(['access', 'check', 'bob', 'push', 'team/app'])).toMatchObject({
      status: 1,
      stdout: 'denied: no rule gives bob push on team/app; `wharfie access grant bob push team/app` would allow it\n',
    });
    expect(wharfie(['access', 'revoke', 'bob', 'pull', 'team/**'])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('line 15 still allows it') as string,
    });
  });

  it('says what would allow what is denied', () => {
    addUser('bob');
    const denied = (...words: string[]) => wharfie(['access', 'check', ...words]).stdout;
    writeFileSync(
      file('access.yml'),
      'groups:\n  builders: [carol]\nrules:\n  - repositories: "team/**"\n    pull: [eve]\n    push: ["@builders", dan]\n',
    );
    expect(denied('bob', 'push', 'team/app')).toBe(
      'denied: no rule gives bob push on team/app; line 6 gives push on team/** to @builders, dan; `wharfie access grant bob push team/app` would allow it\n',
    );
    expect(denied('bob', 'pull', 'team/app')).toContain('line 5 gives pull on team/** to eve; line 6 gives push on');
    expect(denied('$anonymous', 'pull', 'other/app')).toContain("grant '$anonymous' pull other/app");
    expect(denied("it's", 'pull', 'other/app')).toContain("grant 'it'\\''s' pull other/app");
  });

  it('says what to do where a rule gives more than is taken back', () => {
    mkdirSync(data);
    writeFileSync(
      file('access.yml'),
      'rules:\n  - repositories: ["t/**", "u/**"]\n    push: [carol]\n  - repositories: "v/**"\n    push: [carol]\n',
    );
    const refused = (action: string, pattern: string) =>
      wharfie(['access', 'revoke', 'carol', action, pattern]).stderr.replace(file('access.yml'), 'FILE');
    expect(refused('push', 't/**')).toBe(
      'wharfie: no rule for exactly t/** gives push to carol: FILE line 3 gives push to carol on t/** and u/** together: edit that line\n',
    );
    expect(refused('pull', 'v/**')).toBe(
      "wharfie: no rule for exactly v/** gives pull to carol: FILE line 5 gives push to carol on v/**, and that includes pull: run `wharfie access revoke carol push 'v/**'`\n",
    );
  });

  it('warns of a grant to somebody without an account', () => {
    addUser('bob');
    // It says, too, what else a policy gives that had to be made.
    expect(wharfie(['access', 'grant', 'bob', 'pull', 'x']).stderr).toBe(
      `wharfie: ${file('access.yml')} was missing and is made: every account of htpasswd may pull everything, and admin may do everything; put your own there, or change that one, if this is not what you want\n`,
    );
    expect(wharfie(['access', 'grant', 'eve', 'pull', 'a'])).toEqual({
      status: 0,
      stdout: 'eve may pull a within a second\n',
      stderr: `wharfie: there is no account eve in ${file('htpasswd')}\n`,
    });
    expect(wharfie(['access', 'grant', 'bob', 'pull', 'a']).stderr).toBe('');
    for (const pattern of ['${user}/**', '*.?/{a,b}', '{Team,team}/**', '**']) {
      expect(wharfie(['access', 'grant', 'bob', 'pull', pattern]).stderr).toBe('');
    }
    expect(wharfie(['access', 'grant', 'bob', 'pull', 'Team/**']).stderr).toMatch(
      /no repository can be called like Team/,
    );
  });

  it('checks what strangers may', () => {
    addUser('bob');
    expect(wharfie(['access', 'grant', '$anonymous', 'pull', 'public/**']).status).toBe(0);
    expect(wharfie(['access', 'check', '$anonymous', 'pull', 'public/app']).status).toBe(0);
    expect(wharfie(['access', 'check', '$anonymous', 'push', 'public/app']).status).toBe(1);
  });

  it('names file and line of a policy that is wrong, and gives no answer', () => {
    addUser('bob');
    writeFileSync(file('access.yml'), 'admins: [bob]\nrule: []\n');
    for (const words of [['list'], ['check', 'bob', 'pull', 'a'], ['grant', 'bob', 'pull', 'a']]) {
      const { status, stderr } = wharfie(['access', ...words]);
      expect(status).toBe(2);
      expect(stderr).toMatch(/^wharfie: .*access\.yml: line 2: unknown key "rule"[^\n]*\n$/);
    }
  });

  it('loses no account when several are made at once', async () => {
    const names = ['a', 'b', 'c', 'd', 'e'];
    await Promise.all(
      names.map(
        (name) =>
          new Promise((resolve, reject) => {
            const words = [bin, 'users', 'add', name, '--generate', '--cost', '4'];
            spawn(process.execPath, words, { env: environment() }).once('error', reject).once('exit', resolve);
          }),
      ),
    );
    const lines = readFileSync(file('htpasswd'), 'utf8').trim().split('\n');
    expect(lines.map((line) => line.split(':')[0]).sort()).toEqual(names);
  });

  describeWith(['python3'], 'at a terminal', () => {
    // Types each line when the question for it has come, and prints what the terminal showed.
    const typist = `
import os, pty, sys
lines = sys.argv[1].split('|')
child, terminal = pty.fork()
if child == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
shown = b''
while True:
    try:
        part = os.read(terminal, 1024)
    except OSError:
        break
    if not part:
        break
    shown += part
    if lines and part.rstrip().endswith(b':'):
        os.write(terminal, lines.pop(0).encode().decode('unicode_escape').encode())
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
`;
    const typed = (lines: string[], ...words: string[]) => {
      const command = ['-c', typist, lines.join('|'), process.execPath, bin, ...words];
      const { status, stdout } = spawnSync('python3', command, { env: environment(), timeout: 15_000 });
      return { status, shown: stdout.toString().replaceAll('\r\n', '\n') };
    };

    it('asks twice and shows nothing of the password', () => {
      const { status, shown } = typed(['swordfish\\r', 'swordfish\\r'], 'users', 'add', 'bob', '--cost', '4');
      expect(shown).toMatch(
        /^New password: \nThe same again: \nwharfie: .* is made: .*\nwharfie: bob can log in within a second\n$/,
      );
      expect(status).toBe(0);
      expect(typed(['swordfish\\r'], 'users', 'verify', 'bob').status).toBe(0);
      expect(typed(['swordfisk\\r'], 'users', 'verify', 'bob').status).toBe(1);
    });

    it('refuses two that differ, and changes nothing when it is broken off', () => {
      expect(typed(['one\\r', 'two\\r'], 'users', 'add', 'bob')).toMatchObject({
        status: 1,
        shown: expect.stringContaining('the two passwords differ') as string,
      });
      expect(typed(['one\\r', '\\x03'], 'users', 'add', 'bob').status).toBe(1);
      expect(typed(['\\x04'], 'users', 'add', 'bob').status).toBe(1);
      expect(existsSync(file('htpasswd'))).toBe(false);
    });
  });
});
