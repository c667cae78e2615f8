"""Bytes that are nearly HTTP do a server no harm: requests are mutated, cut, joined and sent in pieces, thousands of them."""

import contextlib
import json
import os
import random
import secrets
import signal
import socket
import time
from pathlib import Path

import pytest
from serving import Client, resident, started

import nca3d

pytestmark = pytest.mark.nightly
pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

CONVERSATIONS = 6000
# How much memory the server may take in all this time, in bytes.
GROWTH = 200 << 20
BODY = json.dumps({"questions": ["what is left of the tree"], "best": 3}).encode()
CORPUS = [
    b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"HEAD /samples HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n",
    b"POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY,
    b"POST /answer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
    b"POST /answer HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY,
    b"GET http://localhost/health HTTP/1.1\r\nHost: x\r\nOrigin: http://localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)),
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\nabc",
]
TOKENS = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b"%0d%0a", b"%", b"\xff", b"0", b"-1", b"99999999999999999999",
    b"0x10", b"Host: localhost\r\n", b"Host: evil.example\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n", b"Origin: null\r\n", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/9.9", b"X: " + b"a" * 20_000 + b"\r\n",
    b"X: a\r\n" * 200, b"{", b"[" * 3000, b'"\\ud800"', b"ffffffffffffffff\r\n", b";a=b\r\n",
]  # fmt: skip


def mutated(draw: random.Random) -> bytes:
    """One to four requests in a row, some of which are no longer what they were."""
    data = b"".join(draw.choices(CORPUS, k=draw.choice([1, 1, 1, 2, 4])))
    for _ in range(draw.choice([0, 1, 1, 2, 4, 8])):
        at = draw.randrange(len(data) + 1)
        kind = draw.randrange(5)
        if kind == 0:
            data = data[:at] + draw.choice(TOKENS) + data[at:]
        elif kind == 1:
            data = data[:at] + draw.randbytes(draw.choice([1, 2, 8])) + data[at + draw.choice([0, 1, 8]) :]
        elif kind == 2:
            data = data[:at] + data[at + draw.choice([1, 2, 5, 40]) :]
        elif kind == 3:
            data = data[:at] + data[draw.randrange(len(data) + 1) :]
        else:
            data = data[:at] or b"\n"
    return data


def converse(client: Client, draw: random.Random) -> None:
    """Sends some bytes, at once or in pieces, and reads everything, something or nothing."""
    data = mutated(draw)
    with client.line() as line, contextlib.suppress(OSError):
        line.settimeout(0.05)
        cuts = sorted(draw.randrange(len(data) + 1) for _ in range(draw.choice([0, 0, 0, 1, 3])))
        for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
            line.sendall(data[start:stop])
        ending = draw.randrange(4)
        if ending == 0:
            return
        if ending == 1:
            line.shutdown(socket.SHUT_WR)
        if ending == 2:  # RST
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        while line.recv(65536):
            pass


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_runs import tiny_cube

    place = tmp_path_factory.mktemp("cube")
    os.environ.setdefault("NCA3D_CACHE", str(place / "cache"))
    lines = [{"question": f"what is {n} of it", "answer": f"the {n % 3}", "split": "train"} for n in range(9)]
    (place / "set.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    sizes = {"teacher": "tfidf", "teacher_width": 8, "iterations": 1, "batch": 4, "pool_size": 4, "damage_count": 0}
    nca3d.train(tiny_cube(place / "set.jsonl", out=str(place / "run"), **sizes), progress=False)
    return place / "run"


def test_a_server_survives_what_is_nearly_http(run: Path, tmp_path: Path) -> None:
    seed = int(os.environ.get("NCA3D_FUZZ_SEED", secrets.randbits(32)))
    print(f"NCA3D_FUZZ_SEED={seed}")
    draw = random.Random(seed)
    with (tmp_path / "stderr").open("w") as stderr:
        process, client = started(str(run), "--rate", "0", "--timeout", "2", files=256, stderr=stderr)
    for _ in range(200):
        converse(client, draw)
    before = resident(process)
    for number in range(CONVERSATIONS):
        converse(client, draw)
        if number % 100 == 0:
            assert client.seconds() < 1
            assert process.poll() is None
    assert client.ask(["what is 1 of it"])[0] == 200
    assert resident(process) - before < GROWTH
    time.sleep(9)
    left = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
    assert left < 40, "connections that were left open are closed"
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    text = (tmp_path / "stderr").read_text()
    assert "Traceback" not in text
    assert not [line for line in text.splitlines() if line.startswith(("ERROR", "CRITICAL"))]
