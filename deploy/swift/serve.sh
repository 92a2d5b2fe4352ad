#!/bin/bash
# Swift's servers and the cache of its tokens. When one of them ends, all end, and Docker starts the container anew.
memcached -l 127.0.0.1 -U 0 -m 16 &
for server in account container object proxy; do swift-$server-server /etc/swift/$server-server.conf -v & done
trap 'kill $(jobs -p)' TERM INT
wait -n
kill $(jobs -p) 2>/dev/null
wait
