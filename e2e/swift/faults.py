"""A filter in front of Swift that goes wrong on demand.

The rules are a JSON list, read again when it changes; the first that fits is taken:
  {"method": "PUT", "path": "regular expression"}  which requests (the path with its query); both may be left out
  "status": 503       answer this; with "after": true only when Swift has done its work
  "reply": {...}      headers of that answer
  "delay": 1.5        seconds before anything else; with "after" between Swift's work and the answer
  "truncate": 1000    bytes of the answer's body after which the connection is cut
  "times": 2          how often the rule is taken; always when left out
A line in `<rules>.taken` tells of each request that one was taken for, before anything else is done.

GET /requests answers with the requests since it was asked last, as "METHOD path?query" each.
"""
import json
import os
import re
from collections import deque

from eventlet import sleep


class Faults(object):
    def __init__(self, app, path):
        self.app, self.path, self.stamp, self.rules = app, path, None, []
        self.seen = deque(maxlen=100000)

    def rule(self, env):
        info = os.stat(self.path)
        stamp = (info.st_ino, info.st_mtime_ns)
        if stamp != self.stamp:
            with open(self.path) as file:
                self.rules, self.stamp = json.load(file), stamp
        target = env['PATH_INFO'] + '?' + env.get('QUERY_STRING', '')
        for rule in self.rules:
            if not re.fullmatch(rule.get('method', '.*'), env['REQUEST_METHOD']):
                continue
            if not re.search(rule.get('path', ''), target) or rule.get('times', 1) <= 0:
                continue
            if 'times' in rule:
                rule['times'] -= 1
            return rule

    def __call__(self, env, start_response):
        if env['PATH_INFO'] == '/requests':
            start_response('200 OK', [('Content-Type', 'application/json')])
            seen, self.seen = list(self.seen), deque(maxlen=100000)
            return [json.dumps(seen).encode()]
        self.seen.append('%s %s?%s' % (env['REQUEST_METHOD'], env['PATH_INFO'], env.get('QUERY_STRING', '')))
        rule = self.rule(env)
        if rule is None:
            return self.app(env, start_response)
        with open(self.path + '.taken', 'a') as file:
            file.write('%s %s\n' % (env['REQUEST_METHOD'], env['PATH_INFO']))
        if 'status' in rule:
            if rule.get('after'):
                for _ in self.app(env, lambda *_: None):
                    pass
            sleep(rule.get('delay', 0))
            headers = [('Content-Type', 'text/plain'), ('Content-Length', '10')] + list(rule.get('reply', {}).items())
            start_response('%d Injected' % rule['status'], headers)
            return [b'a failure\n']
        sleep(rule.get('delay', 0))
        body = self.app(env, start_response)
        return cut(body, rule['truncate'], env) if 'truncate' in rule else body


def cut(body, left, env):
    env['eventlet.minimum_write_chunk_size'] = 0
    for chunk in body:
        yield chunk[:left]
        left -= len(chunk)
        if left <= 0:
            raise IOError('cut on demand')


def filter_factory(global_conf, **conf):
    return lambda app: Faults(app, conf['rules'])
