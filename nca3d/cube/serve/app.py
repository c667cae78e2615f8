"""A cube over HTTP: POST /answer, GET /health, GET /samples, and a page to ask it by.

Requests are computed one after the other, in a thread beside the event loop: a cube uses every core for one request already,
and the loop stays free to refuse others and to report its health.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from importlib import resources

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect

from nca3d.cube.answers import Askable
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


def make_app(cube: Askable, limits: Limits, ready: Callable[[], None] = lambda: None) -> FastAPI:
    """Returns the HTTP application of one cube.

    Args:
        cube: The cube that answers.
        limits: How much is accepted.
        ready: Is called once, when requests are accepted.
    """

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        ready()
        yield
        worker.shutdown(wait=True, cancel_futures=True)

    worker = ThreadPoolExecutor(1, "cube")  # one thread: requests take turns
    buckets, start, about = Buckets(limits.rate), time.monotonic(), cube.about()
    # Longer ones would be refused when they are clicked.
    samples = [sample._asdict() for sample in cube.samples if len(sample.question) <= limits.length]
    page = resources.files("nca3d").joinpath("cube", "serve", "page.html").read_text(encoding="utf-8")
    app = FastAPI(title="nca3d", docs_url=None, redoc_url=None, lifespan=life)
    app.state.waiting = 0

    @app.head("/health", include_in_schema=False)
    @app.get("/health")
    async def health() -> dict[str, object]:
        facts = {**about, "uptime": round(time.monotonic() - start, 1), "waiting": app.state.waiting}
        return {"status": "ok", **facts, "max_questions": limits.questions, "max_length": limits.length}

    @app.get("/samples")
    async def tries() -> Samples:
        return Samples(samples=samples)

    @app.get("/", include_in_schema=False)
    async def home() -> HTMLResponse:
        return HTMLResponse(page, headers=PAGE_HEADERS)

    # The body is read and checked by hand, within limits of bytes and seconds, so the schema is written by hand, too.
    schema = {"requestBody": {"required": True, "content": {"application/json": {"schema": AnswerRequest.model_json_schema()}}}}

    @app.post("/answer", response_model=Answers, openapi_extra=schema)
    async def answer(request: Request) -> object:
        # The rate first: a client beyond it is refused before its body is read.
        seconds = buckets.wait(request.client.host if request.client else "")
        if seconds:
            detail = f"rate: found more than {limits.rate:g} requests a minute, allowed again in {seconds} s"
            raise HTTPException(429, detail, {"Retry-After": str(seconds)})
        body = _request_of(await _body(request, limits), limits)
        # No other request runs between this check and the count: there is no await in between.
        if app.state.waiting >= limits.waiting:
            raise HTTPException(503, f"found {limits.waiting} requests waiting, allowed fewer; try again", {"Retry-After": "1"})
        app.state.waiting += 1
        try:
            ask = partial(cube.verdicts, body.questions, best=body.best)
            verdicts = await asyncio.get_running_loop().run_in_executor(worker, ask)
        except InputError as error:
            raise HTTPException(422, str(error)) from None
        finally:
            app.state.waiting -= 1
        return {
            "answers": [[reply._asdict() for reply in verdict.replies] for verdict in verdicts],
            "sure": [verdict.sure for verdict in verdicts],
            "doubts": [verdict.doubt for verdict in verdicts],
        }

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=400)  # the client is gone, so nobody reads it

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        # What went wrong is for the log alone: it may name files of the server.
        logging.getLogger("uvicorn.error").error("%s: %s", type(error).__name__, error)
        return JSONResponse({"detail": "the cube failed to answer"}, 500)

    return app


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
