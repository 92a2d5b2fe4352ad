"""A real Keystone on loopback for the tests: Debian's python3-keystone, with everything below a folder.

identity.py FOLDER PORT [CERTIFICATE KEY]    serves until it is killed; says `ready` when it answers

With a certificate it speaks TLS. The administrator is `admin` with the password `admin`, in the project `admin` of the
domain `Default`; everything else is made through the API.
"""
import os
import socketserver
import ssl
import sys
from wsgiref import simple_server

folder, port = sys.argv[1:3]
certificate = sys.argv[3:5]
url = '%s://127.0.0.1:%s/v3/' % ('https' if certificate else 'http', port)
config = folder + '/keystone.conf'

CONFIG = """
[DEFAULT]
log_file = {folder}/keystone.log
public_endpoint = {endpoint}
[database]
connection = sqlite:///{folder}/keystone.db
sqlite_synchronous = false
[fernet_tokens]
key_repository = {folder}/fernet
[credential]
key_repository = {folder}/credential
[cache]
# Without it each request works out all roles several times.
enabled = true
backend = dogpile.cache.memory
[identity]
password_hash_rounds = 4
"""


def begin(*arguments):
    """Runs `keystone-manage` beside us, without another second of imports."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            from keystone.cmd import cli
            cli.main(['keystone-manage', '--config-file', config] + list(arguments))
            status = 0
        finally:
            os._exit(status)
    return pid, arguments[0]


def end(pid, name):
    if os.waitpid(pid, 0)[1] != 0:
        sys.exit('keystone-manage %s failed, see %s/keystone.log' % (name, folder))


def make():
    import keystone.cmd.cli  # noqa: F401 - once for all that begin
    for keys in ('fernet', 'credential'):
        os.makedirs('%s/%s' % (folder, keys), mode=0o700)
    with open(config, 'w') as file:
        file.write(CONFIG.format(folder=folder, endpoint=url[:-len('v3/')]))
    owner = ['--keystone-user', str(os.getuid()), '--keystone-group', str(os.getgid())]
    for step in [begin('db_sync'), begin('fernet_setup', *owner), begin('credential_setup', *owner)]:
        end(*step)
    urls = ['--bootstrap-public-url', url, '--bootstrap-internal-url', url]
    end(*begin('bootstrap', '--bootstrap-password', 'admin', *urls))


class Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True
    request_queue_size = 100


class Quiet(simple_server.WSGIRequestHandler):
    def log_message(self, *_):
        pass


make()
os.environ['OS_KEYSTONE_CONFIG_FILES'] = config
sys.argv[1:] = []
from keystone.server.wsgi import initialize_public_application  # noqa: E402

server = simple_server.make_server('127.0.0.1', int(port), initialize_public_application(), Server, Quiet)
if certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    # The handshake is the client's thread's: one who does not finish it keeps nobody out.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print('ready', flush=True)
server.serve_forever()
