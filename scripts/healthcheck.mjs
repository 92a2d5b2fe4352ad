// The health check of the images: `node healthcheck.mjs VARIABLE` asks the service that listens where VARIABLE says.
// Exits 0 when all is well and 1 when not, with the reason on its output, which `docker inspect` shows.
import { get } from 'node:http';

const [variable = ''] = process.argv.slice(2);
const port = (process.env[variable] ?? '').split(':').at(-1);
get({ port, path: '/healthz', signal: AbortSignal.timeout(4000) }, (answer) => {
  answer.pipe(process.stdout);
  process.exitCode = answer.statusCode === 200 ? 0 : 1;
}).on('error', (error) => {
  process.stdout.write(`${error.message}\n`);
  process.exitCode = 1;
});
