// Writes docs/commands.md from the commands themselves; a test fails when it is stale.
import { writeFileSync } from 'node:fs';
import { createProgram } from '../proxy/dist/cli/program.js';

/** @typedef {import('commander').Command} Command */

/** The page as it should be. */
export function commandsPage() {
  const rows = leaves(createProgram(), []).map(([path, command]) => {
    const options = command.options.map(
      ({ flags, description, defaultValue }) =>
        `\`${flags}\` ${description}${defaultValue === undefined ? '' : ` (default ${String(defaultValue)})`}`,
    );
    const does = [command.description(), ...options].map((text) => text.replaceAll('|', '\\|')).join('<br>');
    return `| \`${[...path, ...command.registeredArguments.map(shown)].join(' ')}\` | ${does} |`;
  });
  return `# Commands

\`npx wharfie …\` in the project's folder, \`docker compose exec proxy wharfie …\` with compose. They work on the files in
\`WHARFIE_DATA\` (by default \`./data\`), whether or not the services run; running ones follow within a second.

| command | does |
|---|---|
${rows.join('\n')}

Each has \`--help\`, with examples; \`wharfie --version\` says which version it is. They exit with 0 when it is done or the answer
is yes, 1 when the answer is no, 2 when they were called wrongly or could not do it. What went wrong is one line on standard error.
Put single quotes around \`'$anonymous'\`, \`'\${user}'\` and around patterns, or the shell replaces them.
`;
}

/** Every command that does something, with the words that call it. @param {Command} command @param {string[]} before @returns {[string[], Command][]} */
function leaves(command, before) {
  const path = [...before, command.name()];
  return command.commands.length === 0 ? [[path, command]] : command.commands.flatMap((child) => leaves(child, path));
}

/** @param {import('commander').Argument} argument */
function shown(argument) {
  const name = argument.argChoices?.join('\\|') ?? argument.name().toUpperCase();
  return argument.required ? name : `[${name}]`;
}

if (process.argv[1] === import.meta.filename) {
  writeFileSync(new URL('../docs/commands.md', import.meta.url), commandsPage());
}
