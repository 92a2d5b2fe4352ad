// `npm run bench`: Wharfie on a file system, against docker-registry bare and behind nginx.
import { bench, need, readOptions } from './bench.mjs';
import { canStartEngine, dockerPush, stopEngine, wharfieInContainers } from './docker.mjs';
import { lists, removeLists } from './lists.mjs';
import {
  containerStart,
  firstPull,
  firstStart,
  manifestRates,
  memoryAtRest,
  memoryOfPushes,
  pulls,
  pushes,
  smallImages,
  wanting,
  warmStart,
} from './measures.mjs';
import { behindNginx, dockerRegistry, wharfie } from './sides.mjs';

const bare = 'docker-registry';
const nginx = 'nginx + docker-registry';
const sides = [wharfie(), dockerRegistry(), behindNginx()];

const options = readOptions();
need('docker-registry', 'nginx');
const withDocker = await canStartEngine();
if (!withDocker) console.error('no measure with docker: it needs root, and what e2e/docker/engine.sh install installs');
try {
  await bench(
    'filesystem',
    [
      {
        title: 'Images on a file system',
        sides,
        measures: [
          memoryAtRest(),
          ...wanting(
            [
              ...pushes(),
              firstPull(),
              ...pulls(),
              smallImages('images', 400, 4),
              smallImages('images-16', 400, 16),
              ...manifestRates(),
            ],
            {
              push: { [bare]: 2 },
              'push-chunked': { [bare]: 1.5 },
              'push-8': { [bare]: 1.5 },
              pull: { [bare]: 0.9, [nginx]: 2 },
              images: { [bare]: 1.5 },
              'images-16': { [bare]: 1.5 },
              'manifest-get-tag': { [bare]: 1.5, [nginx]: 117 },
            },
          ),
          ...(withDocker ? [dockerPush()] : []),
        ],
      },
      { title: 'Start', sides: sides.slice(0, 2), measures: [firstStart(), warmStart()] },
      ...(withDocker
        ? [{ title: 'Start of containers', sides: [wharfieInContainers()], measures: [containerStart()] }]
        : []),
      { title: 'Many at once', sides: sides.slice(0, 2), measures: [memoryOfPushes()] },
      lists(),
    ],
    options,
  );
} finally {
  await removeLists();
  await stopEngine();
}
