"""Runs one server of Swift with the configuration below FOLDER, or builds the rings, or has a container list names.

serve.py FOLDER NAME | serve.py FOLDER rings PORT NODES | serve.py FOLDER fill CONTAINER < NAMES
"""
import os
import sys

folder, name = sys.argv[1:3]

# Swift reads /etc/swift/swift.conf and has no setting for another place.
import swift.common.utils as utils

utils.SWIFT_CONF_FILE = folder + '/etc/swift.conf'
utils.HASH_PATH_PREFIX = utils.HASH_PATH_SUFFIX = b''
utils.validate_hash_conf()


def rings(port, nodes):
    from swift.common.ring import RingBuilder
    for offset, kind in enumerate(('account', 'container', 'object'), 1):
        path = '%s/etc/%s.ring.gz' % (folder, kind)
        if os.path.exists(path):
            continue
        builder = RingBuilder(4, nodes, 0)
        for node in range(1, nodes + 1):
            builder.add_dev({'region': 1, 'zone': node, 'ip': '127.0.0.1', 'port': port + 10 * node + offset,
                             'device': 'd%d' % node, 'weight': 1.0})
        builder.rebalance(seed=1)
        builder.get_ring().save(path)


def fill(container):
    from glob import glob
    from swift.common.utils import Timestamp
    from swift.container.backend import ContainerBroker
    now = Timestamp.now().internal
    rows = [{'name': name, 'created_at': now, 'size': 71, 'content_type': 'application/octet-stream', 'etag': 'x',
             'deleted': 0, 'storage_policy_index': 0} for name in sys.stdin.read().split()]
    for path in glob(folder + '/data/*/containers/*/*/*/*.db'):
        broker = ContainerBroker(path)
        broker.get_info()
        if broker.container == container:
            broker.merge_items(rows)


def serve():
    from swift.common.wsgi import run_wsgi
    kind = name.split('-')[0]
    options = {}
    if kind == 'object':
        from swift.obj import server
        options['global_conf_callback'] = server.global_conf_callback
    sys.exit(run_wsgi('%s/etc/%s.conf' % (folder, name), kind + '-server', verbose=True, **options))


if name == 'rings':
    rings(int(sys.argv[3]), int(sys.argv[4]))
elif name == 'fill':
    fill(sys.argv[3])
else:
    sys.argv[:] = ['swift-' + name]
    serve()
