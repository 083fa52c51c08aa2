"""Serves the Optuna dashboard on the storage, only to this machine."""

import platform
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from optuna_dashboard import wsgi

from wconv_sweep.errors import ConfigurationError
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.optuna_client import close_client, optuna_client
from wconv_sweep.user_name import user_name

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

HOST = "127.0.0.1"
PORT = 8080
"""First TCP port to try."""
_AT_ONCE = 2  # connections of a storage on a server


def serve(
    storage: Storage,
    port: int | None,
    on_ready: Callable[[str], None],
    *,
    read_only: bool = True,
) -> None:
    """Serve until interrupted.

    The storage is opened in this process, so its URL stands in no argv. The page listens on the
    loopback interface only. Read-only it changes nothing: a study deleted there would delete the
    trials of our slots too.

    Args:
        storage: holds the studies.
        port: TCP port; None takes `PORT`, or a free one where that is taken.
        on_ready: gets the page's URL once the port is open.
        read_only: refuse every change.

    Raises:
        ConfigurationError: the port is taken.
    """
    with page_server(storage, port, read_only=read_only) as server:
        on_ready(f"http://{HOST}:{server.server_port}/")
        server.serve_forever()


@contextmanager
def page_server(
    storage: Storage, port: int | None, *, read_only: bool = True
) -> Iterator[WSGIServer]:
    """Open the port of the page, for `serve`, whose arguments and errors these are."""
    client = optuna_client(storage)
    try:
        application = _in_turn(wsgi(client))
        server = _server(_read_only(application) if read_only else application, port)
        with server:
            yield server
    finally:
        close_client(client, storage)


def tunnel(page: str) -> str:
    """Return the command that forwards a page on this machine to the browser of another one."""
    port = page.rsplit(":", 1)[1].strip("/")
    return f"ssh -N -L {port}:{HOST}:{port} {user_name()}@{platform.node()}"


def _server(application: "WSGIApplication", port: int | None) -> WSGIServer:
    for wanted in [PORT, 0] if port is None else [port]:
        try:
            return make_server(
                HOST, wanted, application, server_class=_Server, handler_class=_QuietHandler
            )
        except OSError as error:
            if wanted == port:
                raise ConfigurationError(
                    f"--port {port}: cannot be opened: {error.strerror}. Leave --port out to take "
                    "a free one."
                ) from error
    raise ConfigurationError(
        "the dashboard found no free port on this machine. Choose one with --port."
    )


def _in_turn(application: "WSGIApplication") -> "WSGIApplication":
    """Let as many requests work at once as there are connections; the others wait.

    One for 10,000 trials takes half a minute beside others, after which a pool of connections
    refuses whoever still waits for one: a page of error 500. More at once would end no sooner,
    in one process of Python, and each takes 100 MB.
    """
    turns = threading.Semaphore(_AT_ONCE)

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        with turns:
            return application(environ, start_response)

    return answer


def _read_only(application: "WSGIApplication") -> "WSGIApplication":
    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return application(environ, start_response)
        start_response("405 Method Not Allowed", [("Content-Type", "application/json")])
        return [b'{"reason": "wconv-sweep serves the dashboard read-only"}']

    return answer


class _Server(ThreadingMixIn, WSGIServer):
    """Serves the parallel requests of the page."""

    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Print nothing for a successful request; errors still go to stderr."""
