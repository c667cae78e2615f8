"""What is answered over HTTP. Questions are thought about one request after the other, in a thread beside the event loop."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from importlib import resources
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect

from nca3d.cube.answers import Askable
from nca3d.cube.serve.limits import Buckets, Limits, TooLarge, read_body
from nca3d.errors import InputError

# Answers to one question, at most.
MOST = 100
GUARDED = {
    # one file, which may load nothing and send only to where it came from
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
}


class AnswerRequest(BaseModel):
    """The body of POST /answer."""

    model_config = ConfigDict(strict=True, extra="forbid")
    questions: list[str] = Field(min_length=1)
    best: int = Field(default=5, ge=1, le=MOST)


class Answer(BaseModel):
    """One answer, and the cosine of its surface to what the cube said."""

    answer: str
    score: float


class Answers(BaseModel):
    """For each question the nearest answers, the nearest first."""

    answers: list[list[Answer]]


def make_app(cube: Askable, limits: Limits, ready: Callable[[], None] = lambda: None) -> FastAPI:
    """The endpoint of one cube.

    Args:
        cube: answers.
        limits: what is taken in.
        ready: called once requests are.
    """

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        ready()
        yield
        thinker.shutdown(wait=True, cancel_futures=True)

    thinker = ThreadPoolExecutor(1, "cube")  # one thread: requests take turns
    buckets, start, about = Buckets(limits.rate), time.monotonic(), cube.about()
    page = resources.files("nca3d").joinpath("cube", "serve", "page.html").read_text(encoding="utf-8")
    app = FastAPI(title="nca3d", docs_url=None, redoc_url=None, lifespan=life)
    app.state.waiting = 0

    @app.head("/health", include_in_schema=False)
    @app.get("/health")
    async def health() -> dict[str, Any]:
        told = {**about, "uptime": round(time.monotonic() - start, 1), "waiting": app.state.waiting}
        return {"status": "ok", **told, "max_questions": limits.questions, "max_length": limits.length}

    @app.get("/", include_in_schema=False)
    async def home() -> HTMLResponse:
        return HTMLResponse(page, headers=GUARDED)

    schema = {"requestBody": {"required": True, "content": {"application/json": {"schema": AnswerRequest.model_json_schema()}}}}

    @app.post("/answer", response_model=Answers, openapi_extra=schema)
    async def answer(request: Request) -> Any:
        seconds = buckets.wait(request.client.host if request.client else "")
        if seconds:
            detail = f"rate: found more than {limits.rate:g} requests a minute, allowed again in {seconds} s"
            raise HTTPException(429, detail, {"Retry-After": str(seconds)})
        asked = _request_of(await _body(request, limits), limits)
        if app.state.waiting >= limits.waiting:
            raise HTTPException(503, f"found {limits.waiting} requests waiting, allowed fewer; try again", {"Retry-After": "1"})
        app.state.waiting += 1
        try:
            think = partial(cube.ask, asked.questions, best=asked.best)
            replies = await asyncio.get_running_loop().run_in_executor(thinker, think)
        except InputError as error:
            raise HTTPException(422, str(error)) from None
        finally:
            app.state.waiting -= 1
        return {"answers": [[reply._asdict() for reply in row] for row in replies]}

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=400)  # nobody reads it

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        logging.getLogger("uvicorn.error").error("%s: %s", type(error).__name__, error)
        return JSONResponse({"detail": "the cube failed to answer"}, 500)

    return app


async def _body(request: Request, limits: Limits) -> bytes:
    try:
        async with asyncio.timeout(limits.patience):
            return await read_body(request.stream(), limits.body)
    except TooLarge:
        raise HTTPException(413, f"body: found more than {limits.body:,} bytes, allowed {limits.body:,}") from None
    except TimeoutError:
        raise HTTPException(408, f"body: found no end of it in {limits.patience:g} s, allowed less time") from None


def _request_of(body: bytes, limits: Limits) -> AnswerRequest:
    """What is asked, or what is wrong with it, in one line."""
    try:
        asked = AnswerRequest.model_validate_json(body)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "body"
        raise HTTPException(400 if first["type"] == "json_invalid" else 422, f"{place}: {first['msg']}") from None
    count, longest = len(asked.questions), max(map(len, asked.questions))
    if count > limits.questions:
        raise HTTPException(413, f"questions: found {count}, allowed at most {limits.questions}")
    if longest > limits.length:
        raise HTTPException(413, f"questions: found one of {longest:,} characters, allowed at most {limits.length:,}")
    if any(not question.strip() for question in asked.questions):
        raise HTTPException(422, "questions: found an empty text, allowed texts with at least one word each")
    return asked
