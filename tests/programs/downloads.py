"""Many small files downloaded with requests in a `ThreadPoolExecutor`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests
from conftest import DEADLINE

from . import Program, Seen

FILES = 100


def content(name: str) -> bytes:
    return name.encode() * (1 + int(name.partition(".")[0]))


def names(files: int) -> list[str]:
    return [f"{number}.bin" for number in range(files)]


def expected() -> dict[str, str]:
    return {name: sha256(content(name)).hexdigest() for name in names(FILES)}


class Handler(BaseHTTPRequestHandler):
    timeout = DEADLINE

    def do_GET(self) -> None:
        data = content(self.path.rpartition("/")[2])
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # so `server_close` waits for them
    request_queue_size = 128  # whoever finds it full waits a second, and tries again


@contextmanager
def serving() -> Iterator[str]:
    """A server on this machine, for this machine; yields its address."""
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def with_requests(url: str, files: int = FILES) -> Program:
    def program(folder: Path, seen: Seen, at_a_time: int) -> dict[str, str]:
        def download(name: str) -> Path:
            seen.here()
            with requests.Session() as session:
                session.trust_env = False  # no proxy
                answer = session.get(f"{url}/files/{name}", timeout=DEADLINE)
            answer.raise_for_status()
            path = folder / name
            path.write_bytes(answer.content)
            return path

        with ThreadPoolExecutor(at_a_time) as executor:
            paths = executor.map(download, names(files))
            return {path.name: sha256(path.read_bytes()).hexdigest() for path in paths}

    return program
