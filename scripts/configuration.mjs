// Writes docs/configuration.md from the table of settings that both services read; a test fails when it is stale.
import { writeFileSync } from 'node:fs';
import { settingsTable } from '@wharfie/shared';

/** The page as it should be. */
export function configurationPage() {
  const rows = Object.values(settingsTable({})).map((setting) => {
    /** @type {{ variables: readonly string[], schema: { description?: string | undefined }, fallback?: string | (() => string), description: string }} */
    const { variables, schema, fallback, description } = setting;
    const [name = '', ...aliases] = variables;
    const given = typeof fallback === 'function' ? 'depends on the machine' : !fallback ? '' : `\`${fallback}\``;
    const also = aliases.length > 0 ? ` (or ${aliases.map((alias) => `\`${alias}\``).join(', ')})` : '';
    return `| \`${name}\`${also} | ${given} | ${schema.description ?? ''} | ${description} |`;
  });
  const secrets = Object.values(settingsTable({})).flatMap((setting) =>
    'secret' in setting ? [`\`${setting.variables[0]}\``] : [],
  );
  return `# Settings

Environment variables; \`npm start\` gives both services the same. Each service logs at its start what it took from where. A wrong
value ends the start with the variable's name; an unknown \`WHARFIE_…\` variable is warned about. An empty variable counts as unset.
What is secret (${secrets.join(', ')}) may be kept in a file instead: set the
variable's name with \`_FILE\` appended (\`OS_PASSWORD_FILE\`) to its path.

| variable | default | takes | |
|---|---|---|---|
${rows.join('\n')}
`;
}

if (process.argv[1] === import.meta.filename) {
  writeFileSync(new URL('../docs/configuration.md', import.meta.url), configurationPage());
}
