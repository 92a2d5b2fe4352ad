// `npm run bench`: Wharfie on a file system, against docker-registry bare and behind nginx.
import { bench, readOptions } from './bench.mjs';
import { manifestRates, pulls, pushes, smallImages, wanting } from './measures.mjs';
import { behindNginx, dockerRegistry, wharfie } from './sides.mjs';

const bare = 'docker-registry';
const nginx = 'nginx + docker-registry';

await bench(
  'filesystem',
  [
    {
      title: 'Images on a file system',
      sides: [wharfie(), dockerRegistry(), behindNginx()],
      measures: wanting([...pushes(), ...pulls(), smallImages(100, 4), ...manifestRates()], {
        push: { [bare]: 2 },
        'push-chunked': { [bare]: 1.5 },
        'push-8': { [bare]: 1.5 },
        pull: { [bare]: 0.9, [nginx]: 2 },
        images: { [bare]: 1.5 },
        'manifest-get-tag': { [bare]: 1.5, [nginx]: 117 },
      }),
    },
  ],
  readOptions(),
);
