"""A cube over HTTP: POST /answer, GET /health, GET /samples, and a page to ask it by.

Requests that wait are computed together (`batches.py`), in a thread beside the event loop: a cube uses every core as it is, and
the loop stays free to refuse others and to report its health.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from importlib import resources

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

from nca3d.cube.answers import Askable, Verdict
from nca3d.cube.serve.batches import Batches, Stopping
from nca3d.cube.serve.connections import client_of
from nca3d.cube.serve.hosts import shown
from nca3d.cube.serve.limits import Buckets, Limits, TooLarge, read_body
from nca3d.errors import InputError

# The most answers to one question.
MOST = 100
# Headers of the page: it is one file, which may load nothing and send only to where it came from.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
}


class AnswerRequest(BaseModel):
    """The body of POST /answer.

    Attributes:
        questions: One or more texts.
        best: How many answers to return to each, 1 to 100.
    """

    model_config = ConfigDict(strict=True, extra="forbid")
    questions: list[str] = Field(min_length=1)
    best: int = Field(default=5, ge=1, le=MOST)


class Answer(BaseModel):
    """One answer to a question.

    Attributes:
        answer: Its text.
        score: The cosine of its surface to the cube's output, −1 to 1.
    """

    answer: str
    score: float


class Answers(BaseModel):
    """The body of the reply.

    Attributes:
        answers: For each question the nearest answers, the nearest first.
        sure: For each question whether the cube is sure of the first answer; null = no threshold was measured.
        doubts: For each question why the cube is not sure; "" = it is, or nobody knows.
    """

    answers: list[list[Answer]]
    sure: list[bool | None]
    doubts: list[str]


class Samples(BaseModel):
    """The body of the reply to GET /samples.

    Attributes:
        samples: A few questions to try the cube with: question, answer, split.
    """

    samples: list[dict[str, str]]


class Error(BaseModel):
    """The body of every reply of 400 and more.

    Attributes:
        detail: What was wrong, in one line: what was found, what is allowed.
    """

    detail: str


# When which error is the reply; see docs/serve.md. In the table of /openapi.json they stand with each path.
ANYWHERE = {
    400: "The request can't be read, or its Host is not a name of this server",
    403: "The Origin is another site",
    404: "There is no such path",
    405: "The path has another method",
    431: "The head is too large",
    501: "The Transfer-Encoding is another than chunked",
    503: "Too many requests wait, there are too many connections, or the server is stopped",
    505: "The version is another than HTTP/1.1 or HTTP/1.0",
}
ANSWER = {
    **ANYWHERE,
    400: "The request can't be read, its body is no JSON, or its Host is not a name of this server",
    408: "The body did not arrive in time",
    413: "The body, a question, or the number of questions is too large",
    422: "The body is JSON, but not such a request",
    429: "Too many requests a minute",
    500: "The cube failed",
}


def make_app(cube: Askable, limits: Limits, ready: Callable[[], None] = lambda: None, line: Batches | None = None) -> FastAPI:
    """Returns the HTTP application of one cube.

    Args:
        cube: The cube that answers.
        limits: How much is accepted.
        ready: Is called once, when requests are accepted.
        line: The line in front of the cube; None = a new one.
    """

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        ready()
        yield
        queue.close()

    queue = line or Batches(cube)
    buckets, start, about = Buckets(limits.rate), time.monotonic(), cube.about()
    # Longer ones would be refused when they are clicked.
    samples = [sample._asdict() for sample in cube.samples if len(sample.question) <= limits.length]
    page = resources.files("nca3d").joinpath("cube", "serve", "page.html").read_text(encoding="utf-8")
    # No redirects: they would name this server as the request does.
    app = FastAPI(title="nca3d", docs_url=None, redoc_url=None, lifespan=life, redirect_slashes=False)
    _add_errors(app)

    @app.head("/health", include_in_schema=False)
    @app.get("/health", responses=_described(ANYWHERE))
    async def health() -> dict[str, object]:
        facts = {**about, "uptime": round(time.monotonic() - start, 1), "waiting": queue.waiting}
        return {"status": "ok", **facts, "max_questions": limits.questions, "max_length": limits.length}

    @app.get("/samples", responses=_described(ANYWHERE))
    async def tries() -> Samples:
        return Samples(samples=samples)

    @app.get("/", include_in_schema=False)
    async def home() -> HTMLResponse:
        return HTMLResponse(page, headers=PAGE_HEADERS)

    # The body is read and checked by hand, within limits of bytes and seconds, so the schema is written by hand, too.
    schema = {"requestBody": {"required": True, "content": {"application/json": {"schema": AnswerRequest.model_json_schema()}}}}

    @app.post("/answer", response_model=Answers, openapi_extra=schema, responses=_described(ANSWER))
    async def answer(request: Request) -> object:
        # The rate first: a client beyond it is refused before its body is read.
        client = client_of(request.client.host if request.client else "")
        seconds = buckets.wait(client)
        if seconds:
            detail = f"rate: found more than {limits.rate:g} requests a minute, allowed again in {seconds} s"
            raise HTTPException(429, detail, {"Retry-After": str(seconds)})
        body = _request_of(await _body(request, limits), limits)
        # No other request runs between this check and the count: nothing is awaited in between.
        if queue.waiting >= limits.waiting:
            raise HTTPException(503, f"found {limits.waiting} requests waiting, allowed fewer; try again", {"Retry-After": "1"})
        try:
            verdicts = await _unless_gone(request, queue.verdicts(body.questions, body.best, client))
        except InputError as error:
            raise HTTPException(422, str(error)) from None
        except Stopping:
            raise HTTPException(503, "the server is stopped; try again", {"Retry-After": "5"}) from None
        return {
            "answers": [[reply._asdict() for reply in verdict.replies] for verdict in verdicts],
            "sure": [verdict.sure for verdict in verdicts],
            "doubts": [verdict.doubt for verdict in verdicts],
        }

    return app


def _described(errors: dict[int, str]) -> dict[int | str, dict[str, object]]:
    """Returns errors as /openapi.json lists them."""
    return {status: {"description": text, "model": Error} for status, text in errors.items()}


async def _unless_gone(request: Request, work: Coroutine[None, None, list[Verdict]]) -> list[Verdict]:
    """Returns what work returns; once the client has gone away, it is given up: nobody should wait for what nobody reads.

    Raises:
        ClientDisconnect: The client has gone away.
    """

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    tasks = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done():
            raise ClientDisconnect
        return tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()


def _add_errors(app: FastAPI) -> None:
    """Adds what is replied to a request that fails, in one line each."""

    @app.exception_handler(StarletteHTTPException)
    async def refused(request: Request, error: StarletteHTTPException) -> JSONResponse:
        detail, headers = error.detail, error.headers
        if error.status_code == 404:
            paths = ", ".join(sorted({str(getattr(route, "path", "")) for route in app.routes} - {""}))
            detail = f"path: found {shown(request.scope['path'])}, allowed {paths}"
        elif error.status_code == 405:
            detail = f"method: found {shown(request.method)}, allowed {(headers or {}).get('Allow', 'another')}"
        return JSONResponse({"detail": detail}, error.status_code, headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=400)  # the client is gone, so nobody reads it

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        # What went wrong is for the log alone: it may name files of the server.
        logging.getLogger("uvicorn.error").error("%s: %s", type(error).__name__, error)
        return JSONResponse({"detail": "the cube failed to answer"}, 500)


async def _body(request: Request, limits: Limits) -> bytes:
    """Returns a request's body; one that is too large or too slow becomes an HTTP error."""
    try:
        async with asyncio.timeout(limits.patience):
            return await read_body(request.stream(), limits.body)
    except TooLarge:
        raise HTTPException(413, f"body: found more than {limits.body:,} bytes, allowed {limits.body:,}") from None
    except TimeoutError:
        raise HTTPException(
            408, f"body: found none that was complete within {limits.patience:g} s, allowed less time; send it again"
        ) from None


def _request_of(body: bytes, limits: Limits) -> AnswerRequest:
    """Returns the request that a body holds; what is wrong with it becomes an HTTP error of one line."""
    try:
        request = AnswerRequest.model_validate_json(body)
    except ValidationError as wrong:
        # Without the input: an error must not send back what came.
        first = wrong.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "body"
        raise HTTPException(400 if first["type"] == "json_invalid" else 422, f"{place}: {first['msg']}") from None
    count, longest = len(request.questions), max(map(len, request.questions))
    if count > limits.questions:
        raise HTTPException(413, f"questions: found {count}, allowed at most {limits.questions}")
    if longest > limits.length:
        raise HTTPException(413, f"questions: found one of {longest:,} characters, allowed at most {limits.length:,}")
    if any(not question.strip() for question in request.questions):
        raise HTTPException(422, "questions: found an empty text, allowed texts with at least one word each")
    return request
