"""`nca3d serve`: a real server on a real port, asked by a plain HTTP client."""

import asyncio
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from serving import Client, started

from nca3d.cube.answers import Askable, Reply
from nca3d.cube.ask import Cube
from nca3d.cube.serve.batches import Batches, Job, compute
from nca3d.cube.serve.limits import Limits
from nca3d.cube.threshold import Threshold

# They ask a real server.
pytestmark = pytest.mark.slow

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

QUESTIONS = ["what is left of the tree", "what is back of the stone"]


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[Client]:
    process, client = started(str(run), "--max-questions", "3", "--max-length", "40", "--rate", "0")
    yield client
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143


# ---- what is answered ----------------------------------------------------------------------------------------------


def test_health_says_what_is_served(server: Client, run: Path) -> None:
    status, told, _ = server("GET", "/health")
    assert status == 200
    uptime = told.pop("uptime")
    assert told == {
        "status": "ok",
        **Cube.of_run(run).about(),
        "waiting": 0,
        "max_questions": 3,
        "max_length": 40,
    }
    assert 0 <= uptime < 3600


def test_answers_are_those_of_the_cube(server: Client, run: Path) -> None:
    wanted = Cube.of_run(run).ask(QUESTIONS, best=2)
    status, told, _ = server.ask(QUESTIONS, best=2)
    assert status == 200
    assert [[entry["answer"] for entry in row] for row in told["answers"]] == [
        [reply.answer for reply in row] for row in wanted
    ]
    for row, other in zip(told["answers"], wanted, strict=True):
        assert [entry["score"] for entry in row] == pytest.approx([reply.score for reply in other], abs=1e-5)
    assert [len(row) for row in server.ask(QUESTIONS)[1]["answers"]] == [4, 4], "five, of the four there are"
    assert (told["sure"], told["doubts"]) == ([True, True], ["", ""])


def test_samples_are_those_of_the_cube_that_may_be_asked(server: Client, run: Path) -> None:
    status, told, _ = server("GET", "/samples")
    assert status == 200
    assert told == {"samples": [sample._asdict() for sample in Cube.of_run(run).samples]}
    assert len(told["samples"]) == 5


def test_the_page_is_one_file_that_asks_no_one_else(server: Client) -> None:
    status, page, headers = server("GET", "/")
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in headers["content-security-policy"]
    assert not re.search(r"https?://|src=|@import|url\(|<link", page)


def test_the_page_answers_in_a_browser(server: Client, served: Callable[..., tuple["Slow", Client]]) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium here")

    def look() -> None:
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 360, "height": 640})
            troubles: list[str] = []
            page.on("pageerror", lambda error: troubles.append(str(error)))
            page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
            page.goto(f"http://127.0.0.1:{server.port}/")
            page.fill("#question", QUESTIONS[0])
            page.keyboard.press("Enter")
            page.wait_for_selector("li")
            assert "the left one" in page.text_content("li:first-child")
            assert page.locator("li").count() == 4
            bars = page.eval_on_selector_all(".track div", "bars => bars.map(bar => bar.getBoundingClientRect().width)")
            assert bars == sorted(bars, reverse=True)
            assert bars[0] > 100
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, "nothing beyond the edge of a phone"
            assert "3 × 4 × 4 cells" in page.text_content("#about")
            assert not troubles
            page.evaluate("document.getElementById('question').maxLength = 99")
            page.fill("#question", "<b>" * 20)
            page.click("button")
            page.wait_for_selector(".wrong")
            assert "found one of 60 characters, allowed at most 40" in page.text_content("#said")
            page.click("#samples button:last-child")
            page.wait_for_selector("li:has-text('✓ right')")
            assert not page.is_visible("#doubt")
            assert "below -1.000" in page.text_content("#limits")

            cube, doubtful = served()
            cube.go.set()
            page.goto(f"http://127.0.0.1:{doubtful.port}/")
            page.fill("#question", "purple monkey dishwasher")
            page.click("#ask")
            page.wait_for_selector("#answers.unsure li")
            assert page.text_content("#doubt").startswith("Not sure: the best score, 0.100, is below the 0.500")
            browser.close()

    # In a thread of its own: another test's browser may hold this one's event loop.
    with ThreadPoolExecutor(1) as aside:
        aside.submit(look).result()


WRONG: list[tuple[Any, int, str]] = [
    ("{", 400, "body: Invalid JSON"),
    ("", 400, "body: Invalid JSON"),
    (b"\xff\xfe", 400, "body: Invalid JSON"),
    ("[]", 422, "body: Input should be an object"),
    ('{"questions": "one"}', 422, "questions: Input should be a valid array"),
    ('{"questions": []}', 422, "questions: List should have at least 1 item"),
    ('{"questions": [1]}', 422, "questions.0: Input should be a valid string"),
    ('{"questions": ["\\ud800"]}', 400, "body: Invalid JSON"),
    ('{"questions": [" "]}', 422, "questions: found an empty text"),
    ('{"questions": ["a"], "best": 0}', 422, "best: Input should be greater than or equal to 1"),
    ('{"questions": ["a"], "best": "5"}', 422, "best: Input should be a valid integer"),
    ('{"questions": ["a"], "bset": 5}', 422, "bset: Extra inputs are not permitted"),
    ('{"questions": ["a", "b", "c", "d"]}', 413, "questions: found 4, allowed at most 3"),
    (json.dumps({"questions": ["a" * 41]}), 413, "questions: found one of 41 characters, allowed at most 40"),
    ("[" * 5000, 400, "body: Invalid JSON"),
    ("x" * 7000, 413, "body: found more than 5,560 bytes"),
    (iter([b"x" * 3000] * 5), 413, "body: found more than 5,560 bytes"),
]


def _shown(value: object) -> str:
    """An id that is the same in every process."""
    return "in pieces" if hasattr(value, "__next__") else str(value)[:30]


@pytest.mark.parametrize(("body", "status", "words"), WRONG, ids=_shown)
def test_what_is_wrong_is_told_in_one_line(server: Client, body: Any, status: int, words: str) -> None:
    found, told, _ = server("POST", "/answer", body)
    assert (found, list(told)) == (status, ["detail"])
    assert words in told["detail"]
    assert "\n" not in told["detail"]
    assert server("GET", "/health")[0] == 200


def test_a_header_may_lie(server: Client) -> None:
    """Less is said to come than comes; or more, and then nothing does."""
    body = json.dumps({"questions": QUESTIONS[:1]}).encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as line:
        line.sendall(b"POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nConnection: close\r\n\r\n" + body)
        assert b" 400 " in line.recv(1000)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as line:
        line.sendall(b"POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n" + body)
    assert server.ask(QUESTIONS)[0] == 200, "who hung up holds up no one"


def test_every_error_is_documented(server: Client) -> None:
    _, told, _ = server("GET", "/openapi.json")
    listed = {int(status) for path in told["paths"].values() for way in path.values() for status in way["responses"]}
    assert listed == {200, 400, 403, 404, 405, 408, 413, 422, 429, 431, 500, 501, 503, 505}
    text = (Path(__file__).parents[3] / "docs" / "serve.md").read_text()
    assert listed - {200} == {int(status) for status in re.findall(r"^\| (\d{3}) \|", text, re.MULTILINE)}


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/answer", 405), ("POST", "/health", 405), ("GET", "/no", 404)])
def test_other_places(server: Client, method: str, path: str, status: int) -> None:
    found, told, _ = server(method, path)
    assert (found, list(told)) == (status, ["detail"])


# ---- the process ---------------------------------------------------------------------------------------------------


def test_a_folder_is_served_at_a_rate_and_stopped_by_ctrl_c(exported: Path) -> None:
    process, client = started(str(exported), "--rate", "2")
    assert [client.ask(QUESTIONS)[0] for _ in range(3)] == [200, 200, 429]
    status, told, headers = client.ask(QUESTIONS)
    assert status == 429
    assert "more than 2 requests a minute" in told["detail"]
    assert 1 <= int(headers["retry-after"]) <= 30
    status, told, _ = client("GET", "/health")
    assert (status, told["runtime"]) == (200, "ONNX Runtime"), "health is not counted"
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert len(re.findall(r'"POST /answer HTTP/1.1" 200', rest)) == 2, "a line for each request"
    assert "Traceback" not in rest


def test_a_port_in_use_is_one_line(run: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "nca3d", "serve", str(run), "--port", str(port)], capture_output=True, text=True, check=False
        )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"--port: port: found {port}, which is in use, allowed one that is free; 0 = any\n"


def test_bad_flags_are_a_line_each(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from nca3d.cli import main

    assert main(["serve", str(tmp_path / "no"), "--port", "70000", "--max-questions", "0", "--rate", "-1"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["--port", "--max-questions", "--rate"]
    assert "run folder: found no such folder" in lines[3]
    strange = ["--connections", "3", "--connections-per-address", "-1", "--timeout", "0", "--allow-host", "http://a/"]
    assert main(["serve", str(run), *strange]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["--connections", "--connections-per-address", "--timeout", "--allow-host"]
    assert main(["serve", str(run), "--host", "nowhere.invalid"]) == 2
    assert "--host: address: found nowhere.invalid" in capsys.readouterr().err


# ---- in turn ------------------------------------------------------------------------------------------------------


class Slow(Askable):
    """Stands in for a cube: thinks until `go` is set, and notes how many questions it is asked at the same time.

    It is sure of answers to questions of one letter.
    """

    threshold = Threshold(0.5, 0.0, "test", 20, 5, "slow")

    def __init__(self) -> None:
        self.now = self.most = self.done = 0
        self.go = threading.Event()

    def ask(self, questions: Sequence[str], *, best: int = 5, steps: Any = None, random_seed: int = 0) -> list[list[Reply]]:
        self.now += 1
        self.most = max(self.most, self.now)
        self.go.wait(30)
        self.now -= 1
        self.done += 1
        if "fail" in questions:
            raise RuntimeError("a secret")
        return [[Reply(question, 1.0 if len(question) == 1 else 0.1)] for question in questions]

    def say(self, questions: Any, steps: Any = None, random_seed: int = 0) -> Any:
        raise AssertionError("a server asks in words, never by embeddings")

    def about(self) -> dict[str, Any]:
        facts = {"size": [1, 1, 1], "weights": 1, "answers": 1, "horizon": 5, "threshold": self.threshold.record()}
        return {"model": "slow", **facts}


@pytest.fixture
def served() -> Iterator[Callable[..., tuple[Slow, Client]]]:
    """A server in this process, of a cube that is slow."""
    from nca3d.cube.serve.server import Server, make_server

    running: list[tuple[Server, threading.Thread, socket.socket]] = []

    def serve(**limits: Any) -> tuple[Slow, Client]:
        cube, place = Slow(), socket.create_server(("127.0.0.1", 0))
        server = make_server(cube, Limits(**limits))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
        thread.start()
        running.append((server, thread, place))
        return cube, Client(place.getsockname()[1])

    yield serve
    for server, thread, place in running:
        server.should_exit = True
        thread.join(30)
        place.close()


def waits(client: Client, number: int) -> None:
    """Asks for the server's health until so many questions wait; the cube thinks all the while."""
    for _ in range(1000):
        status, told, _ = client("GET", "/health")
        assert status == 200
        if told["waiting"] == number:
            return
        time.sleep(0.01)
    raise AssertionError(told)


def together(*calls: Callable[[], Any]) -> list[Any]:
    found: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        found[number] = calls[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def test_those_that_wait_are_computed_together_while_health_answers(served: Callable[..., tuple[Slow, Client]]) -> None:
    cube, client = served()

    def health() -> int:
        """How many questions were answered when the server's health was told, with all of them waiting."""
        waits(client, 4)
        done = cube.done
        cube.go.set()
        return done

    *answers, done = together(*(lambda n=n: client.ask([f"question {n}"]) for n in range(4)), health)
    assert [told["answers"][0][0]["answer"] for _, told, _ in answers] == [f"question {n}" for n in range(4)]
    assert (done, cube.done, cube.most) == (0, 2, 1), "the first alone, then all that had come meanwhile"


def test_a_doubt_is_told_beside_the_answer(served: Callable[..., tuple[Slow, Client]]) -> None:
    cube, client = served()
    cube.go.set()
    _, told, _ = client.ask(["a", "purple monkey dishwasher"], best=1)
    assert told["sure"] == [True, False]
    assert told["doubts"] == ["", "the best score, 0.100, is below the 0.500 that 95 of 100 right answers reach"]


def test_too_many_that_wait_are_sent_away(served: Callable[..., tuple[Slow, Client]]) -> None:
    cube, client = served(waiting=2)

    def three_more() -> list[tuple[int, str]]:
        waits(client, 2)
        answers = [client.ask(["a"]) for _ in range(3)]
        cube.go.set()
        return [(status, headers["retry-after"]) for status, _, headers in answers]

    first, second, refused = together(*(lambda: client.ask(["a"]) for _ in range(2)), three_more)
    assert refused == [(503, "1")] * 3
    assert first[0] == second[0] == 200
    assert client.ask(["a"])[0] == 200


def test_where_all_connections_are_answered_a_newcomer_is_refused(served: Callable[..., tuple[Slow, Client]]) -> None:
    cube, client = served(connections=5)

    def one_more() -> tuple[int, bytes]:
        waits(client, 4)
        with client.line() as line:
            body = b'{"questions": ["a"]}'
            line.sendall(b"POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            time.sleep(0.5)
            refused = client.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            cube.go.set()
            assert line.recv(1000).startswith(b"HTTP/1.1 200 ")
        return refused

    *answers, refused = together(*(lambda: client.ask(["a"]) for _ in range(4)), one_more)
    assert [status for status, *_ in answers] == [200] * 4
    assert refused[0] == 503
    assert b"connections: found as many as are allowed" in refused[1]


def test_a_failure_hits_nobody_else(served: Callable[..., tuple[Slow, Client]]) -> None:
    cube, client = served()

    def go() -> None:
        waits(client, 6)
        cube.go.set()

    bad = together(lambda: client.ask(["a"]), *(lambda n=n: client.ask(["fail" if n == 2 else "b"]) for n in range(5)), go)
    assert sorted(status for status, *_ in bad[:-1]) == [200] * 5 + [500]


def test_each_gets_as_many_answers_as_it_wants(served: Callable[..., tuple[Slow, Client]], run: Path) -> None:
    cube = Cube.of_run(run)
    wanted = [[reply.answer for reply in row] for row in cube.ask(QUESTIONS, best=4)]
    line = Batches(cube)
    jobs = [Job(0, number, QUESTIONS[number % 2 :], number % 4 + 1, None) for number in range(8)]  # type: ignore[arg-type]
    for job, verdicts in zip(jobs, compute(cube, jobs), strict=True):
        assert not isinstance(verdicts, Exception)
        found = [[reply.answer for reply in verdict.replies] for verdict in verdicts]
        assert found == [row[: job.best] for row in wanted[job.number % 2 :]]
    line.close()


def test_a_client_that_has_gone_away_is_not_computed(served: Callable[..., tuple[Slow, Client]]) -> None:
    cube, client = served()

    def leave() -> None:
        waits(client, 1)
        for _ in range(5):
            with client.line() as line:
                body = json.dumps({"questions": ["b"]}).encode()
                line.sendall(b"POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                waits(client, 2)
            waits(client, 1)
        cube.go.set()

    first, _ = together(lambda: client.ask(["a"]), leave)
    assert (first[0], cube.done) == (200, 1)


def test_who_asks_little_is_not_behind_who_asks_much() -> None:
    cube = Slow()

    async def ask() -> list[str]:
        line, order = Batches(cube), []

        async def one(client: str, count: int) -> None:
            await line.verdicts(["a"] * count, 1, client)
            order.append(client)

        tasks = [asyncio.create_task(one(client, count)) for client, count in [("much", 64)] * 5 + [("little", 1)]]
        await asyncio.sleep(0.1)
        cube.go.set()
        await asyncio.gather(*tasks)
        await asyncio.to_thread(line.close)
        return order

    # In a thread of its own: a browser of other tests may have left its loop in this one.
    with ThreadPoolExecutor(1) as aside:
        order = aside.submit(lambda: asyncio.run(ask())).result()
    assert order == ["much", "little", "much", "much", "much", "much"]


def test_a_failure_shows_nothing_of_the_inside(served: Callable[..., tuple[Slow, Client]]) -> None:
    cube, client = served()
    cube.go.set()
    assert client.ask(["fail"])[:2] == (500, {"detail": "the cube failed to answer"})
    assert client.ask(["a"])[0] == 200


def test_a_body_that_never_ends_is_not_waited_for(served: Callable[..., tuple[Slow, Client]]) -> None:
    _, client = served(patience=0.3)
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as line:
        line.sendall(b"POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        assert b" 408 " in line.recv(1000)
