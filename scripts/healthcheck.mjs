// The health check of the images: `node healthcheck.mjs VARIABLE` asks the service that listens where VARIABLE says.
// Exits 0 when all is well and 1 when not, with the reason on its output, which `docker inspect` shows.
import { get } from 'node:http';
import { text } from 'node:stream/consumers';

const [variable = ''] = process.argv.slice(2);
const port = (process.env[variable] ?? '').split(':').at(-1);
/** @type {Promise<import('node:http').IncomingMessage>} */
const answered = new Promise((resolve, reject) => {
  get({ port, path: '/healthz', signal: AbortSignal.timeout(4000) }, resolve).on('error', reject);
});
try {
  const answer = await answered;
  process.stdout.write(await text(answer));
  process.exitCode = answer.statusCode === 200 ? 0 : 1;
} catch (error) {
  process.stdout.write(`${/** @type {Error} */ (error).message}\n`);
  process.exitCode = 1;
}
