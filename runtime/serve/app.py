"""The web application: its routes, and the responses to errors. It runs under uvicorn and under Ray Serve."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from ...runtime import report
from ..core.environment import cinemae_version
from ..core.manifest import Manifest
from ..scan import samples
from ..scoring.detector import Detector
from ..scoring.record import lcas_values, to_dict
from .body import Body
from .guard import Guard
from .problems import Problem
from .schema import DetectBody, EngineBody, FailedBody, ProblemBody, StateBody
from .service import ScoredUpload, Service
from .settings import ServeSettings
from .uploads import read_uploads

_PAGE, _REPORT = files(__package__) / "page", files(report) / "templates"
PAGE_FILES = {
    "/": _PAGE / "index.html",
    "/favicon.svg": _PAGE / "favicon.svg",
    "/docs": _PAGE / "docs.html",
    "/sample.jpg": files(samples) / "marbles.jpg",
    **{f"/{name}": _PAGE / name for name in ("page.css", "page.js", "heatmap.js", "docs.js")},
    **{f"/{name}": _REPORT / name for name in ("palette.css", "verdicts.js", "lcas_colours.js")},
}
"""Files of the page by path of their URL; the last three are shared with the HTML report."""
_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml", "jpg": "image/jpeg",
}
_DESCRIPTIONS = {
    400: "The form is malformed or contains no file", 401: "The bearer token is missing or wrong",
    403: "Sent by a web page of another origin", 408: "The body arrived too slowly",
    413: "The body, a file or its pixels are too large, or too many images",
    415: "Not an image, or an unsupported content type",
    421: "The server does not accept this Host header", 422: "Damaged images, or an invalid query parameter",
    429: "The queue is full; Retry-After gives the seconds to wait",
    503: "The engine failed, or the server is stopping", 504: "Not scored within the time limit",
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_REQUEST_BODY = {
    "required": True,
    "content": {
        "image/*": _BINARY,
        "application/octet-stream": _BINARY,
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"file": {"type": "array", "items": _BINARY["schema"], "minItems": 1}},
                "required": ["file"],
            }
        },
    },
}


def _responses(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": ProblemBody, "description": _DESCRIPTIONS[code]} for code in codes}


def _image_responses(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Responses for status codes that concern either the request or the images in it."""
    return {code: {"model": FailedBody | ProblemBody, "description": _DESCRIPTIONS[code]} for code in codes}


def create_app(load: Callable[[], Detector], settings: ServeSettings | None = None) -> FastAPI:
    """The HTTP interface and the page.

    Args:
        load: returns the detector; called once when the application starts. The application closes the detector.
        settings: limits, batching and access control; None for the defaults.
    """
    settings = settings or ServeSettings()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = Service(await asyncio.to_thread(load), settings)
        await service.start()
        app.state.service = service
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="CINEMAE", summary="Detects AI-generated images.", version=cinemae_version(), lifespan=lifespan,
        docs_url=None, redoc_url=None,
    )
    app.add_middleware(Guard, settings=settings)
    _add_errors(app)
    _add_detect(app, settings)
    _add_state(app, settings)
    _add_page(app)
    return app


def _problem(problem: Problem) -> JSONResponse:
    return JSONResponse({"detail": problem.detail}, problem.status, problem.headers())


def _add_errors(app: FastAPI) -> None:
    """Answer every error with the JSON `{"detail": sentence}`."""

    @app.exception_handler(Problem)
    async def on_problem(request: Request, error: Problem) -> JSONResponse:
        return _problem(error)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"detail": str(error.detail)}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        detail = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
        return JSONResponse({"detail": detail}, 422)


def _service(app: FastAPI) -> Service:
    return app.state.service


def _add_detect(app: FastAPI, settings: ServeSettings) -> None:
    limits = settings.limits

    @app.post(
        "/v1/detect",
        summary="Score one or many images",
        response_model=None,
        responses={
            200: {"model": DetectBody, "description": "At least one image was scored"},
            **_responses(400, 401, 403, 408, 421, 429, 503, 504),
            **_image_responses(413, 415, 422),
        },
        openapi_extra={"requestBody": _REQUEST_BODY},
    )
    async def detect(
        request: Request,
        name: Annotated[str, Query(max_length=1024, description="path of the record of a raw body")] = "upload",
        lcas: Annotated[bool, Query(description="also return the LCAS of each image's patches")] = False,
    ) -> Response:
        """Send one image as the body, or several as the files of a multipart form.

        The response contains one record for each image, in order. Its status is 200 if at least one image was scored;
        otherwise it is the status of the first error, whose text is repeated in `detail`.
        """
        started = time.monotonic()
        service, body = _service(app), Body(request.scope, request.receive)
        status = 500
        try:
            response = await _detect(service, request, body, name, lcas)
            status = response.status_code
            return response
        except Problem as problem:
            status = problem.status
            drained = status != 408 and await body.discard(limits.max_body_bytes, limits.read_timeout)
            problem.close = not drained
            raise
        finally:
            service.metrics.request(status, time.monotonic() - started)

    async def _detect(service: Service, request: Request, body: Body, name: str, lcas: bool) -> Response:
        service.check_room()
        with service.budget.account() as account:
            uploads = await read_uploads(request, body, name, limits, account, service.batcher.retry_after())
            gone = asyncio.Event()
            watch = asyncio.create_task(_watch_for_disconnect(request, gone))
            try:
                scored = await service.score(uploads, gone.is_set)
            finally:
                watch.cancel()
        return _answer(scored, service.detector.manifest, lcas, service.draining)


async def _watch_for_disconnect(request: Request, gone: asyncio.Event) -> None:
    """Set `gone` when the client closes the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    gone.set()


def _answer(scored: list[ScoredUpload], manifest: Manifest, lcas: bool, last: bool) -> JSONResponse:
    body: dict[str, Any] = {
        "records": [to_dict(item.record) for item in scored],
        "errors": [
            {"index": index, "code": item.code, "detail": item.record.error}
            for index, item in enumerate(scored)
            if item.record.status == "error"
        ],
        "heatmaps": None,
    }
    if lcas:
        values = [lcas_values(item.record) for item in scored]
        grid = manifest.backbone.config.grid
        body["heatmaps"] = [None if lcas_map is None else {"grid": grid, "lcas": lcas_map} for lcas_map in values]
    status = 200
    if all(item.record.status == "error" for item in scored):
        status, body["detail"] = scored[0].code, scored[0].record.error
    return JSONResponse(body, status, {"Connection": "close"} if last else None)


def _add_state(app: FastAPI, settings: ServeSettings) -> None:
    @app.get("/healthz", summary="Whether the process is alive", responses=_responses(421))
    async def healthz() -> StateBody:
        return StateBody(status="ok")

    @app.get("/readyz", summary="Whether the server accepts requests", responses=_responses(421, 503))
    async def readyz() -> StateBody:
        if (trouble := _service(app).trouble()) is not None:
            raise Problem(503, trouble, retry_after=5)
        return StateBody(status="ready")

    @app.get("/v1/engine", summary="The engine and the limits", responses=_responses(401, 421))
    async def engine() -> EngineBody:
        return _engine_body(_service(app).detector, settings)

    @app.get(
        "/metrics",
        summary="Prometheus metrics",
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus text format"},
            **_responses(401, 421),
        },
    )
    async def metrics() -> Response:
        return Response(_service(app).metrics.text(), media_type="text/plain; version=0.0.4")


def _engine_body(detector: Detector, settings: ServeSettings) -> EngineBody:
    limits = {name: value for name, value in vars(settings.limits).items() if not name.endswith("_timeout")}
    return EngineBody.of(detector.label, detector.manifest, detector.reading, limits)


def _add_page(app: FastAPI) -> None:
    def serve(data: bytes, kind: str) -> Callable[[], Any]:
        async def answer() -> Response:
            return Response(data, headers={"Content-Type": kind})

        return answer

    for path, file in PAGE_FILES.items():
        route = serve(file.read_bytes(), _MEDIA_TYPES[file.name.rpartition(".")[2]])
        app.add_api_route(path, route, methods=["GET", "HEAD"], include_in_schema=False)
