"""`nca3d serve` and clients that mean no good, or know no better: real sockets at a real process."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serving import Client, resident, started

# They ask a real server.
pytestmark = pytest.mark.slow

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
CLOSE = b"Connection: close\r\n\r\n"
BODY = json.dumps({"questions": ["what is left of the tree"]}).encode()
POST = b"POST /answer HTTP/1.1\r\nHost: localhost\r\n"
WHOLE = POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "stderr"


@pytest.fixture(scope="module")
def server(run: Path, log: Path) -> Iterator[Client]:
    with log.open("w") as stderr:
        process, client = started(str(run), "--rate", "0", "--timeout", "2", "--allow-host", "cube.example", stderr=stderr)
    yield client
    assert resident(process) < 2 << 30
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert "Traceback" not in log.read_text()


# ---- how requests are read -----------------------------------------------------------------------------------------

READ: list[tuple[str, bytes, int, str]] = [
    ("a plain one", HEAD + CLOSE, 200, "ok"),
    ("HTTP/1.0 without Host", b"GET /health HTTP/1.0\r\n\r\n", 200, "ok"),
    ("lines without carriage returns", b"GET /health HTTP/1.1\nHost: localhost\nConnection: close\n\n", 200, "ok"),
    ("an absolute target", b"GET http://localhost/health HTTP/1.1\r\nHost: x\r\n" + CLOSE, 200, "ok"),
    ("an absolute target elsewhere", b"GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n" + CLOSE, 400, "Host"),
    ("HEAD", b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n" + CLOSE, 200, ""),
    ("no such method", b"FOO /health HTTP/1.1\r\nHost: localhost\r\n" + CLOSE, 405, "method: found 'FOO', allowed GET"),
    ("TRACE", b"TRACE /health HTTP/1.1\r\nHost: localhost\r\n" + CLOSE, 405, "method"),
    ("CONNECT", b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n" + CLOSE, 404, "path"),
    ("OPTIONS *", b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n" + CLOSE, 404, "path: found '*'"),
    ("no such path", b"GET /no%1b%0a HTTP/1.1\r\nHost: localhost\r\n" + CLOSE, 404, "path: found '/no\\\\x1b\\\\n'"),
    ("no Host", b"GET /health HTTP/1.1\r\n" + CLOSE, 400, "request"),
    ("two Hosts", HEAD + b"Host: localhost\r\n" + CLOSE, 400, "request"),
    ("a length and a coding", POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "one length"),
    ("two lengths", POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}   ", 400, "one length"),
    ("one length twice", POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n{}   ", 400, "one length"),
    ("two codings", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "one length"),
    ("a length with a sign", POST + b"Content-Length: +5\r\n\r\n{}   ", 400, "request"),
    ("another coding", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "Transfer-Encoding"),
    ("a space before the colon", POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, "request"),
    ("a folded line", HEAD + b"X: a\r\n b\r\n" + CLOSE, 400, "whole lines"),
    ("a NUL", HEAD + b"X: a\0b\r\n" + CLOSE, 400, "control characters"),
    ("a carriage return alone", HEAD + b"X: a\rb\r\n" + CLOSE, 400, "request"),
    ("a head that is too large", HEAD + b"X: " + b"a" * 200_000 + b"\r\n" + CLOSE, 431, "16,384 bytes"),
    ("a target without end", b"GET /" + b"a" * 100_000, 431, "16,384 bytes"),
    ("many lines", HEAD + b"X: a\r\n" * 500 + CLOSE, 431, "100 lines"),
    ("chunks", POST + b"Transfer-Encoding: chunked\r\n" + CLOSE + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY), 200, "left"),
    ("garbage for a chunk", POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "request"),
    ("a chunk that is too long", POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabcd\r\n", 400, "request"),
    ("a chunk size without end", POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 20_000, 400, "request"),
    ("chunks that nobody wants", HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "request"),
    ("a body that nobody wants", HEAD + b"Content-Length: 99999999\r\n\r\nabc", 200, "ok"),
    ("100-continue", POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n%s" % (len(BODY), CLOSE) + BODY, 200, "left"),
    ("a WebSocket", HEAD + b"Upgrade: websocket\r\nSec-WebSocket-Key: YQ==\r\nConnection: Upgrade, close\r\n\r\n", 200, "ok"),
    ("HTTP/2 by upgrade", HEAD + b"Upgrade: h2c\r\nConnection: Upgrade, close\r\n\r\n", 200, "ok"),
    ("HTTP/2 by prior knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version"),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), 400, "request"),
    ("an empty line first", b"\r\n\r\n" + HEAD + CLOSE, 400, "request"),
    ("many in a row", (HEAD + b"\r\n") * 200 + HEAD + CLOSE, 200, "ok"),
    ("one in a row is bad", (HEAD + b"\r\n") * 20 + b"\x16\r\n\r\n" + HEAD + CLOSE, 400, "request"),
]


@pytest.mark.parametrize(("data", "status", "words"), [row[1:] for row in READ], ids=[row[0] for row in READ])
def test_a_request_is_read_strictly(server: Client, data: bytes, status: int, words: str) -> None:
    found, body = server.raw(data)
    assert found == status
    assert words in body.decode()
    if status >= 400:
        assert list(json.loads(body)) == ["detail"]
    assert server.seconds() < 1


HOSTS = [
    ("localhost", 200),
    ("LocalHost.:8000", 200),
    ("127.0.0.1:1", 200),
    ("192.168.0.9", 200),
    ("[::1]:8000", 200),
    ("cube.example:443", 200),
    ("evil.example", 400),
    ("localhost.evil.example", 400),
    ("evil@localhost", 400),
    ("localhost:port", 400),
    ("localhost, evil.example", 400),
    ("127.1", 400),
    ("", 400),
]


@pytest.mark.parametrize(("host", "status"), HOSTS)
def test_it_answers_to_known_names(server: Client, host: str, status: int) -> None:
    found, body = server.raw(b"GET /samples HTTP/1.1\r\nHost: " + host.encode() + b"\r\n" + CLOSE)
    assert found == status
    assert (b"Host: found " in body) == (status == 400)


ORIGINS = [
    ("http://localhost:8000", 200),
    ("HTTPS://localhost:8000", 200),
    ("http://localhost", 403),
    ("http://evil.example", 403),
    ("http://127.0.0.1:8000", 403),
    ("null", 403),
    ("", 403),
    ("file://localhost:8000", 403),
]


@pytest.mark.parametrize(("origin", "status"), ORIGINS)
def test_it_answers_to_its_own_page(server: Client, origin: str, status: int) -> None:
    data = b"GET /samples HTTP/1.1\r\nHost: localhost:8000\r\nOrigin: " + origin.encode() + b"\r\n" + CLOSE
    found, body = server.raw(data)
    assert found == status
    assert (b"Origin: found " in body) == (status == 403)


def test_the_log_holds_a_line_for_each_request(server: Client, log: Path) -> None:
    time.sleep(1)  # the tests before may have used up the lines of this second
    server.raw(b"GET /%0d%0aINFO:%20forged%1b[31m?a=%0a HTTP/1.1\r\nHost: localhost\r\n" + CLOSE)
    for _ in range(100):
        line = next((line for line in log.read_text().splitlines() if "forged" in line), "")
        if line:
            break
        time.sleep(0.05)
    assert line.startswith("INFO: 127.0.0.1:")
    assert line.endswith(" 404")
    assert line.isprintable()


# ---- clients that take their time ----------------------------------------------------------------------------------


def closed(line: socket.socket) -> bool:
    """Whether the other side has ended a connection; what it says is read and thrown away."""
    line.setblocking(False)
    try:
        while line.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def ends(lines: list[socket.socket], within: float, meanwhile: Callable[[], object]) -> bool:
    """Whether all connections end in time."""
    start = time.monotonic()
    while time.monotonic() - start < within:
        meanwhile()
        lines = [line for line in lines if not closed(line)]
        if not lines:
            return True
        time.sleep(0.1)
    return False


@contextlib.contextmanager
def many(client: Client, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(client.line()) for _ in range(count)]


def test_a_thousand_idle_clients_hold_up_nobody(server: Client, log: Path) -> None:
    size = log.stat().st_size
    with many(server, 1040) as lines:
        assert max(server.seconds() for _ in range(10)) < 1
        assert sum(not closed(line) for line in lines) <= 128, "the oldest had to go"
        assert ends(lines, 4, server.seconds)
    assert log.stat().st_size - size < 10_000


def test_heads_that_trickle_in_are_not_waited_for(server: Client) -> None:
    worst = 0.0
    with many(server, 300) as lines:
        rest = [HEAD[n : n + 1] for n in range(len(HEAD))]

        def trickle() -> None:
            nonlocal worst
            letter = rest.pop(0) if rest else b"a"
            for line in lines:
                with contextlib.suppress(OSError):
                    line.send(letter)
            worst = max(worst, server.seconds())

        assert ends(lines, 6, trickle)
    assert worst < 1


def test_a_head_that_does_not_come_is_told_so(server: Client) -> None:
    with server.line() as line:
        line.sendall(HEAD)
        assert line.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_a_second_request_has_its_own_time(server: Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for _ in range(4):
        connection.request("GET", "/health")
        assert connection.getresponse().read()
        place = connection.sock
        time.sleep(1)
        assert connection.sock is place, "one connection for all"
    connection.close()


def test_bodies_that_trickle_in_are_not_waited_for(server: Client) -> None:
    with many(server, 200) as lines:
        for line in lines:
            with contextlib.suppress(OSError):
                line.sendall(POST + b"Content-Length: 1000\r\n\r\n{")

        def trickle() -> None:
            for line in lines:
                with contextlib.suppress(OSError):
                    line.send(b" ")
            assert server.seconds() < 1

        assert ends(lines, 14, trickle)


def test_a_client_that_reads_nothing_is_cut_off(server: Client) -> None:
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect(("127.0.0.1", server.port))
        line.settimeout(1)
        with contextlib.suppress(TimeoutError):
            line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100_000)
        for _ in range(200):
            if line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                break
            time.sleep(0.1)
            assert server.seconds() < 1
        else:
            raise AssertionError("it still waits")


def test_a_client_that_sends_no_more_is_answered(server: Client) -> None:
    for data, words in ((HEAD + b"\r\n", b'"status":"ok"'), (WHOLE, b'"answers"')):
        with server.line() as line:
            line.sendall(data)
            line.shutdown(socket.SHUT_WR)
            received = b""
            while piece := line.recv(65536):
                received += piece
        assert words in received


def test_clients_that_send_half_and_no_more_are_let_go(server: Client) -> None:
    with many(server, 50) as lines:
        for line in lines:
            line.sendall(HEAD)
            line.shutdown(socket.SHUT_WR)
        assert ends(lines, 2, server.seconds)


# ---- the process ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("files", [64, 256])
def test_few_open_files_are_enough(run: Path, tmp_path: Path, files: int) -> None:
    with (tmp_path / "stderr").open("w") as stderr:
        process, client = started(str(run), "--rate", "0", files=files, stderr=stderr)
    with many(client, 1040) as lines:
        assert max(client.seconds() for _ in range(5)) < 1
        assert client.ask(["what is left of the tree"])[0] == 200
        assert ends(lines, 8, client.seconds)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    text = (tmp_path / "stderr").read_text()
    assert "as many as open files allow" in text
    assert len(text) < 20_000
    assert "Traceback" not in text


def test_too_few_open_files_are_told(run: Path) -> None:
    with pytest.raises(AssertionError, match=r"open files: found room for \d connections|Too many open files"):
        started(str(run), files=40)


@pytest.mark.parametrize("how", ["closed", "gone", "never read"])
def test_nobody_has_to_read_the_log(run: Path, how: str) -> None:
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "nca3d", "serve", str(run), "--port", "0", "--rate", "0"]
    if how == "closed":
        command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=writing, text=True)
    assert process.stdout is not None
    client = Client(int(process.stdout.readline().rpartition(":")[2]))
    os.close(writing)
    if how == "gone":
        os.close(reading)
    for _ in range(30):
        client.raw((b"GET /" + b"a" * 300 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n") * 20 + HEAD + CLOSE)
    assert client.seconds() < 1
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    if how != "gone":
        os.close(reading)


def test_no_log_of_requests(run: Path, tmp_path: Path) -> None:
    with (tmp_path / "stderr").open("w") as stderr:
        process, client = started(str(run), "--access-log", "off", stderr=stderr)
    client.seconds()
    client.raw(b"\x16\r\n\r\n")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert (tmp_path / "stderr").read_text() == ""


def test_what_is_being_answered_is_answered_when_it_stops(run: Path) -> None:
    process, client = started(str(run), "--rate", "0")
    found: list[int] = []
    calls = [threading.Thread(target=lambda: found.append(client.ask(["what is left of the tree"] * 64)[0])) for _ in range(20)]
    with many(client, 20) as lines:  # idle ones, and heads that never end, hold up nothing
        for line in lines[:10]:
            line.sendall(HEAD)
        for call in calls:
            call.start()
        while client("GET", "/health")[1]["waiting"] == 0 and not found:
            pass
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
        assert time.monotonic() - start < 10
    for call in calls:
        call.join()
    assert set(found) <= {200, 503}
    assert 200 in found


def test_ipv6(run: Path) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    process, client = started(str(run), "--host", "::1", host="[::1]")
    with socket.create_connection(("::1", client.port), timeout=30) as line:
        line.sendall(b"GET /health HTTP/1.1\r\nHost: [::1]:%d\r\n" % client.port + CLOSE)
        assert line.recv(1000).startswith(b"HTTP/1.1 200 ")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
