"""Serves the Optuna dashboard on the storage, to this machine alone."""

from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from optuna_dashboard import wsgi

from wconv_sweep.errors import ConfigurationError
from wconv_sweep.storage import Storage
from wconv_sweep.studies import optuna_client

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

HOST = "127.0.0.1"


def serve(storage: Storage, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve until interrupted.

    The storage is opened in this process, so its URL stands in no argv. The page listens on the
    loopback interface only, and changes nothing: a study deleted there would take the trials of
    our slots along.

    Args:
        storage: holds the studies.
        port: TCP port; 0 takes a free one.
        on_ready: gets the page's URL once the port is open.

    Raises:
        ConfigurationError: the port is taken.
    """
    application = _read_only(wsgi(optuna_client(storage)))
    try:
        server = make_server(
            HOST, port, application, server_class=_Server, handler_class=_QuietHandler
        )
    except OSError as error:
        raise ConfigurationError(
            f"--port {port}: cannot be opened: {error.strerror}. Port 0 takes a free one."
        ) from error
    with server:
        on_ready(f"http://{HOST}:{server.server_port}/")
        server.serve_forever()


def _read_only(application: "WSGIApplication") -> "WSGIApplication":
    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return application(environ, start_response)
        start_response("405 Method Not Allowed", [("Content-Type", "application/json")])
        return [b'{"reason": "wconv-sweep serves the dashboard read-only"}']

    return answer


class _Server(ThreadingMixIn, WSGIServer):
    """The page asks for several things at once."""

    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Print nothing for a request that went well; errors still go to stderr."""
