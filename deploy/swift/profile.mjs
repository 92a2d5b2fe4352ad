// Loaded before the registry by docker-compose.yml. With the profile `swift` that one's image puts a file of settings into
// the folder that both containers share: takes them over where the environment says nothing else, and waits for that Swift,
// for which 1.29 of docker-compose has no words when it may be absent. Without the profile it does nothing.
import { existsSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

const file = '/settings/swift-profile.env';
/** Seconds after which the registry may say itself what is wrong. */
const patience = 120;

if (existsSync(file)) {
  process.loadEnvFile(file);
  for (let tries = patience * 5; tries > 0 && !(await answers(process.env['OS_AUTH_URL'] ?? '')); tries--)
    await pause(200);
}

/** @param {string} url */
async function answers(url) {
  return fetch(url).then(
    () => true,
    () => false,
  );
}
