import { isRepositoryName, type Action } from '@wharfie/shared';
import { Argument, type Command } from 'commander';
import { decide, remedies, type Asker } from '../access/decide.js';
import { canMatch, grant, otherwiseGiven, revoke, stillAllows } from '../access/edit.js';
import { actions, defaultPolicy, unknownNames, type Entry } from '../access/policy.js';
import { editFile } from '../files/replace-file.js';
import { ensureDataFolder, policyMade } from '../first-start.js';
import { shown, type Htpasswd } from '../htpasswd/file.js';
import { checkName, files, inFile, readPolicy, readUsers, type Files } from './files.js';
import { examples, say, table } from './output.js';
import { Refused } from './refused.js';

const nameRule = 'small letters and digits, with . _ - and / between them';

export function addAccessCommands(program: Command): void {
  const access = program
    .command('access')
    .description('who may do what: access.yml')
    .addHelpText(
      'after',
      examples('wharfie access list', 'wharfie access check bob push team/app', 'wharfie access grant --help'),
    );
  const action = new Argument('<action>', 'what is done').choices(actions);

  access
    .command('list')
    .description('the policy as a table')
    .addHelpText('after', examples('wharfie access list'))
    .action(list);

  access
    .command('check')
    .description('whether a user may do something, and the line that decides: exits 0 when allowed, 1 when denied')
    .argument('<user>', "an account, or '$anonymous'")
    .addArgument(action)
    .argument('<repository>')
    .addHelpText(
      'after',
      examples('wharfie access check bob push team/app', "wharfie access check '$anonymous' pull public/app"),
    )
    .action(check);

  const who = "a name, '@group', '$authenticated', '$anonymous' or '${user}'";
  access
    .command('grant')
    .description('allow something; comments in access.yml stay')
    .argument('<who>', who)
    .addArgument(action)
    .argument('<repositories>', 'a pattern')
    .addHelpText(
      'after',
      examples(
        "wharfie access grant bob push 'team/**'",
        "wharfie access grant @builders push '{team,lab}/**'",
        "wharfie access grant '${user}' push '${user}/**'",
      ),
    )
    .action(grantTo);

  access
    .command('revoke')
    .description('take back what a rule for exactly that pattern allows; comments in access.yml stay')
    .argument('<who>', who)
    .addArgument(action)
    .argument('<repositories>', 'a pattern, as it stands in the rule')
    .addHelpText('after', examples("wharfie access revoke bob push 'team/**'"))
    .action(revokeFrom);
}

async function list(): Promise<void> {
  const place = files();
  const policy = await readPolicy(place);
  if (!policy) throw noPolicy(place);
  const rows = policy.rules.map(({ line, patterns, audiences }) => [
    String(line),
    words(patterns),
    ...actions.map((action) => words(audiences.get(action)?.who ?? [])),
  ]);
  const { admins, groups } = policy;
  if (admins.who.length > 0) rows.unshift([String(admins.line), 'everything', ...actions.map(() => words(admins.who))]);
  process.stdout.write(table([['line', 'repositories', ...actions], ...rows]));
  if (groups.size > 0) {
    const members = [...groups].map(([name, entries]) => [`@${name}`, words(entries)]);
    process.stdout.write(`\n${table([['group', 'members'], ...members])}`);
  }
  for (const warning of policy.warnings) say(`${place.access}: ${warning}`);
  const users = (await readUsers(place))?.users;
  for (const { line, text } of users ? unknownNames(policy, users) : []) {
    say(`${place.access} line ${line}: no account is called ${shown(text)}`);
  }
}

async function check(user: string, action: Action, repository: string): Promise<void> {
  if (user === '') throw new Error("the user is empty: put single quotes around '$anonymous'");
  if (user.startsWith('$') && user !== '$anonymous') throw new Error(`the user is a name or '$anonymous', not ${user}`);
  if (user.startsWith('@'))
    throw new Error(`the user is one account, not ${user}: check a member of the group instead`);
  if (!isRepositoryName(repository))
    throw new Error(`${JSON.stringify(repository)} is no repository name: ${nameRule}`);
  const place = files();
  const policy = await readPolicy(place);
  if (!policy) throw noPolicy(place);
  const users = (await readUsers(place))?.users;
  warnOfUnknown(user, users, place);
  const asker: Asker = user === '$anonymous' ? 'anonymous' : { name: user };
  const { allowed, line, reason } = decide(policy, asker, action, repository);
  const where = line === undefined ? '' : `${place.access} line ${line}: `;
  const more = allowed ? [] : remedies(policy, asker, action, repository);
  process.stdout.write(`${allowed ? 'allowed' : 'denied'}: ${where}${[reason, ...more].join('; ')}\n`);
  if (!allowed) process.exitCode = 1;
}

async function grantTo(who: string, action: Action, repositories: string): Promise<void> {
  if (!/^[$@]/.test(who)) checkName(who);
  const place = files();
  await ensureDataFolder(place.data);
  const isNew = (await readPolicy(place)) === undefined;
  const changed = await editFile(place.access, (text = defaultPolicy(place.adminUser)) =>
    inFile(place.access, () => grant(text, who, action, repositories)),
  );
  if (isNew) say(policyMade(place, place.adminUser));
  process.stdout.write(
    `${who} may ${action} ${repositories}${changed ? ' within a second' : ' already: nothing is changed'}\n`,
  );
  const users = await readUsers(place).catch(() => undefined);
  warnOfUnknown(who, users?.users, place);
  if (!canMatch(repositories)) say(`no repository can be called like ${repositories}: ${nameRule}`);
}

async function revokeFrom(who: string, action: Action, repositories: string): Promise<void> {
  const place = files();
  if (!(await readPolicy(place))) throw noPolicy(place);
  const changed = await editFile(place.access, (text = '') =>
    inFile(place.access, () => revoke(text, who, action, repositories)),
  );
  const policy = await readPolicy(place);
  const given = policy && otherwiseGiven(policy, who, action, repositories);
  const still = policy && stillAllows(policy, who, action, repositories);
  const why = given ?? (still && `line ${still.line ?? 1} still allows it, ${still.reason}`);
  const rest = why === undefined ? '' : `: ${place.access} ${why}`;
  if (!changed) throw new Refused(`no rule for exactly ${repositories} gives ${action} to ${who}${rest}`);
  process.stdout.write(`the rule for ${repositories} gives no ${action} to ${who} any more${rest}\n`);
}

function warnOfUnknown(who: string, users: Htpasswd['users'] | undefined, { htpasswd }: Files): void {
  if (!/^[$@]/.test(who) && users && !users.has(who)) say(`there is no account ${shown(who)} in ${htpasswd}`);
}

function words(entries: readonly Entry[]): string {
  return entries.map(({ text }) => text).join(', ') || '-';
}

function noPolicy({ access }: Files): Error {
  return new Error(`${access} does not exist: start the proxy once, or run \`wharfie access grant\`, to have it made`);
}
