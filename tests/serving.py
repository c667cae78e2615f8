"""`nca3d serve` as a process, a plain HTTP client of it, and one that sends bytes."""

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any


class Client:
    """Requests to one server, each on a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers, encode_chunked=hasattr(body, "__next__"))
            answer = connection.getresponse()
            text = answer.read().decode()
            assert "Traceback" not in text
            told = json.loads(text) if "json" in answer.headers.get("content-type", "") else text
            return answer.status, told, dict(answer.headers)
        finally:
            connection.close()

    def ask(self, questions: Any, **more: Any) -> tuple[int, Any, dict[str, str]]:
        return self("POST", "/answer", json.dumps({"questions": questions, **more}))

    def line(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def raw(self, data: bytes) -> tuple[int, bytes]:
        """Sends bytes and returns the last reply: its status, 0 = none came, and its body."""
        received = b""
        with self.line() as line, contextlib.suppress(ConnectionError):
            with contextlib.suppress(ConnectionError):
                line.sendall(data)
            while piece := line.recv(65536):
                received += piece
        found = re.findall(rb"HTTP/1\.1 (\d+) [^\r]*\r\n(?:[^\r]+\r\n)*\r\n(.*?)(?=HTTP/1\.1 \d{3} |\Z)", received, re.DOTALL)
        return (int(found[-1][0]), found[-1][1]) if found else (0, received)

    def seconds(self) -> float:
        """How long the server takes to tell its health."""
        start = time.monotonic()
        assert self("GET", "/health")[0] == 200
        return time.monotonic() - start


def started(
    *argv: str, files: int | None = None, stderr: int | IO[str] = subprocess.STDOUT, host: str = "127.0.0.1"
) -> tuple[subprocess.Popen[str], Client]:
    """`nca3d serve` on a free port, once it takes requests.

    `files` limits its open files, `stderr` is where its log goes.
    """
    command = [sys.executable, "-m", "nca3d", "serve", *argv, "--port", "0"]
    if files is not None:
        command = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command]
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environ)
    seen = []
    assert process.stdout is not None
    for line in process.stdout:
        seen.append(line)
        if found := re.search(rf": http://{re.escape(host)}:(\d+)$", line):
            return process, Client(int(found[1]))
    raise AssertionError("".join(seen))


def resident(process: subprocess.Popen[str]) -> int:
    """The bytes of memory that a process holds."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) << 10
