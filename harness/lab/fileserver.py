# SPDX-License-Identifier: Apache-2.0
"""Files of this machine over plain HTTP, for a board to fetch."""

from __future__ import annotations

import http.server
import shutil
import threading
from http import HTTPStatus
from pathlib import Path

from harness.board import HOST_FOR_GUESTS


class FileServer:
    """Serves what it was offered and nothing else, on a port of the loopback."""

    def __init__(self) -> None:
        files: dict[str, Path] = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                file = files.get(self.path)
                if file is None:
                    self.send_error(HTTPStatus.NOT_FOUND)
                    return
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Length", str(file.stat().st_size))
                self.end_headers()
                with file.open("rb") as content:
                    shutil.copyfileobj(content, self.wfile)

            def log_message(self, *_: object) -> None:
                pass

        self._files = files
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a board that hangs up is no error
        threading.Thread(target=self._server.serve_forever, name="files", daemon=True).start()

    def offer(self, file: Path) -> str:
        """The address of a file, as a board reaches it."""
        path = f"/{len(self._files)}/{file.name}"
        self._files[path] = file
        return f"http://{HOST_FOR_GUESTS}:{self._server.server_address[1]}{path}"

    def close(self) -> None:
        """Take no more calls."""
        self._server.shutdown()
        self._server.server_close()
