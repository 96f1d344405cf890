"""The web application: its routes, and the responses to errors. It runs under uvicorn and under Ray Serve."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from ...runtime import report
from ..core.environment import cinemae_version
from ..scan import samples
from ..scoring.detector import Detector
from ..scoring.record import Record, lcas_values, to_dict
from .guard import Guard
from .options import ServeOptions
from .problems import Problem
from .schema import DetectBody, EngineBody, FailedBody, ProblemBody, StateBody
from .service import Service, status_of
from .uploads import Body, read_uploads

_PAGE, _REPORT = files(__package__) / "page", files(report) / "templates"
PAGE_FILES = {
    "/": _PAGE / "index.html",
    "/favicon.svg": _PAGE / "favicon.svg",
    "/docs": _PAGE / "docs.html",
    "/sample.jpg": files(samples) / "marbles.jpg",
    **{f"/{name}": _PAGE / name for name in ("page.css", "page.js", "heatmap.js", "folders.js", "csv.js", "docs.js")},
    **{f"/{name}": _REPORT / name for name in ("palette.css", "verdicts.js", "spread.js", "lcas_colours.js")},
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
    429: "The queue is full; Retry-After gives the seconds to wait", 500: "The engine gave a score that is not finite",
    503: "The engine failed, or the server is stopping", 504: "Not scored within the time limit",
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_REQUEST_BODY = {
    "required": True,
    "content": {
        "image/*": _BINARY,
        "video/*": _BINARY,
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


router = APIRouter()


def _responses(*codes: int, model: Any = ProblemBody) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": model, "description": _DESCRIPTIONS[code]} for code in codes}


def _service(request: Request) -> Service:
    return request.app.state.service


@router.post(
    "/v1/detect",
    summary="Score one or many images",
    response_model=None,
    responses={
        200: {"model": DetectBody, "description": "At least one image was scored"},
        **_responses(400, 401, 403, 408, 421, 429, 503, 504),
        **_responses(413, 415, 422, 500, model=FailedBody | ProblemBody),  # of an image, or of the request
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
    service, body = _service(request), Body(request.scope, request.receive)
    limits, status = service.options.limits, 500
    try:
        service.batcher.check_room(1)  # before the body is read
        with service.budget.account() as take:
            uploads = await read_uploads(request, body, name, limits, take)
            gone = asyncio.create_task(_disconnected(request))
            try:
                records = await service.score(uploads, gone.done)
            finally:
                gone.cancel()
        response = _answer(records, service.detector.manifest.backbone.config.grid if lcas else None, service.draining)
        status = response.status_code
        return response
    except Problem as problem:
        status = problem.status
        problem.close = status == 408 or not await body.discard(limits)
        raise
    finally:
        service.metrics.request(status, time.monotonic() - started)


async def _disconnected(request: Request) -> None:
    """Ends when the client closes the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _answer(records: list[Record], grid: int | None, last: bool) -> JSONResponse:
    """The response to /v1/detect; `grid` is the side of the centre crop in patches, None for no heatmaps."""
    errors: list[dict[str, Any]] = [
        {"index": index, "code": status_of(record), "detail": record.error.text}
        for index, record in enumerate(records) if record.error is not None
    ]
    body: dict[str, Any] = {"records": [to_dict(record) for record in records], "errors": errors, "heatmaps": None}
    if grid is not None:
        body["heatmaps"] = [
            None if record.lcas is None
            else {"grid": record.lcas.shape[1] if record.tiles else grid, "lcas": lcas_values(record)}
            for record in records
        ]
    status = 200
    if len(errors) == len(records):
        status, body["detail"] = errors[0]["code"], errors[0]["detail"]
    return JSONResponse(body, status, {"Connection": "close"} if last else None)


@router.get("/healthz", summary="Whether the process is alive")
async def healthz() -> StateBody:
    return StateBody(status="ok")


@router.get("/readyz", summary="Whether the server accepts requests", responses=_responses(503))
async def readyz(request: Request) -> StateBody:
    if (trouble := _service(request).trouble()) is not None:
        raise Problem(503, trouble, retry_after=5)
    return StateBody(status="ready")


@router.get("/v1/engine", summary="The engine and the limits", responses=_responses(401, 421))
async def engine(request: Request) -> EngineBody:
    detector, options = _service(request).detector, _service(request).options
    names = ("max_body_bytes", "max_file_bytes", "max_images", "max_queue", "max_buffered_bytes")
    limits = {name: getattr(options.limits, name) for name in names} | {"max_pixels": options.scoring.max_pixels}
    return EngineBody.of(detector.manifest, detector.run, limits)


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus text format"},
        **_responses(401, 421),
    },
)
async def metrics(request: Request) -> Response:
    return Response(_service(request).metrics.text(), media_type="text/plain; version=0.0.4")


def _static(data: bytes, kind: str) -> Callable[[], Any]:
    async def answer() -> Response:
        return Response(data, headers={"Content-Type": kind})

    return answer


for _path, _file in PAGE_FILES.items():
    _kind = _MEDIA_TYPES[_file.name.rpartition(".")[2]]
    router.add_api_route(_path, _static(_file.read_bytes(), _kind), include_in_schema=False)


def create_app(load: Callable[[], Detector], options: ServeOptions | None = None) -> FastAPI:
    """The HTTP interface and the page. Every error is answered with the JSON `{"detail": sentence}`.

    Args:
        load: returns the detector; called once when the application starts. The application closes the detector.
        options: limits, batching and access control; None for the defaults.
    """
    options = options or ServeOptions()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = service = Service(await asyncio.to_thread(load), options)
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="CINEMAE", summary="Detects AI-generated images.", version=cinemae_version(), lifespan=lifespan,
        docs_url=None, redoc_url=None, redirect_slashes=False,
    )
    app.add_middleware(Guard, options=options)
    app.include_router(router)

    @app.exception_handler(Problem)
    async def on_problem(request: Request, error: Problem) -> JSONResponse:
        return error.response()

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"detail": str(error.detail)}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        detail = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
        return JSONResponse({"detail": detail}, 422)

    return app
