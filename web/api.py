"""What the page and other programs call, described at /openapi.json; every refusal is a sentence and a code word."""

import asyncio
import ipaddress
import tempfile
import zipfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit

from fastapi import Depends, FastAPI, File, Query, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.jobs import Jobs
from web.photo import Job, RefusedError, Status

_STATIC = Path(__file__).parent / "static"
_ENVELOPE_BYTES = 100_000  # Around the files of a multipart body
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}  # fmt: skip
Photo = Annotated[UploadFile, File(description="JPEG, PNG, TIFF, WebP, BMP, HEIC, AVIF, or a PDF of pages")]
Page = Annotated[int, Query(ge=1, le=100_000, description="of the pictures of pages in a PDF or TIFF, which one")]
Mask = Annotated[UploadFile, File(description="a picture, upright, white where the photo is covered; of that size, or "
                                              "smaller in proportion")]  # fmt: skip
# What the description says of an answer that is a file.
_FILE = {200: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}}
Shown = Literal["result", "mask", "before", "after", "thumb"]


class Problem(BaseModel):
    """Why something was not done; with 503 the header Retry-After says after how many seconds it may be."""

    detail: str = Field(description="a sentence")
    code: str = Field(description="a word for programs")


async def _refuse(_: Request | None, error: HTTPException | RequestValidationError) -> JSONResponse:
    if isinstance(error, RequestValidationError):
        words = {"value_error": "expected a file"}  # There is a text in its place.
        told = (f"{'.'.join(map(str, one['loc'][1:]))}: {words.get(one['type'], one['msg'])}" for one in error.errors())
        error = RefusedError(422, "invalid", "; ".join(told))
    problem = {"detail": str(error.detail), "code": getattr(error, "code", "refused")}
    return JSONResponse(problem, error.status_code, error.headers)


async def _only_known(request: Request) -> None:
    """Refuses a field of a form, or of the address that it is sent to, that is not described, or comes twice."""
    if request.method != "POST":
        return
    known = request.scope["route"].dependant
    for given, fields in ((await request.form(), known.body_params), (request.query_params, known.query_params)):
        names = [field.alias for field in fields]
        if unknown := next((name for name in given if name not in names), None):
            there = f"there is {' and '.join(names)}" if names else "there is none"
            raise RefusedError(422, "invalid", f"{unknown}: no such field; {there}")
        if twice := next((name for name in given if len(given.getlist(name)) > 1), None):
            raise RefusedError(422, "invalid", f"{twice}: is there more than once, expected one")


def create_app(jobs: Jobs, engine: str, names: Iterable[str] = ()) -> FastAPI:
    """The page and the interface over `jobs`, which are closed with it; `engine` says in words what restores, `names`
    are hosts under which this one is reached, beside localhost and addresses of numbers.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(jobs.close)

    about = "Removes fingers, hands and heads from photographed documents."
    handlers = dict.fromkeys((HTTPException, RequestValidationError), _refuse)
    app = FastAPI(title="uncover", description=about, version="1", lifespan=lifespan, docs_url=None, redoc_url=None,
                  responses={"default": {"model": Problem}}, exception_handlers=handlers,
                  dependencies=[Depends(_only_known)])  # fmt: skip
    app.add_middleware(Guard, jobs=jobs, names={"localhost", *names})
    Known = Annotated[Job, Depends(jobs.get)]

    @app.get("/api/health")
    async def health() -> dict[str, str | int]:
        """Whether the server works: `engine`, what restores; `limit_...`, what is taken at most."""
        names = ("bytes", "pixels", "photos")
        return {"engine": engine, **{f"limit_{name}": getattr(jobs.limits, name) for name in names}}

    async def at_once(photo: UploadFile, mask: UploadFile | None, what: Shown, page: int) -> Response:
        given = mask and mask.file
        job = await run_in_threadpool(jobs.add, photo.file, photo.filename or "", given, page)
        try:
            await asyncio.wrap_future(job.finished)
            if job.fault:
                raise job.fault
            if page > len(job.sizes) and (given or page > 1):
                raise RefusedError(404, "gone", f"{job.name}: has no picture {page}, but {len(job.sizes)} in all")
            return await run_in_threadpool(_content, job, what, page)
        finally:
            await run_in_threadpool(jobs.remove, job)

    @app.post("/api/restore", response_class=Response, responses=_FILE)
    async def restore(photo: Photo, mask: Mask | None = None, page: Page = 1) -> Response:
        """A photo or PDF in, the same kind of file out, without what covers it; a mask says what that is on a page."""
        return await at_once(photo, mask, "result", page)

    @app.post("/api/mask", response_class=Response, responses=_FILE)
    async def find(photo: Photo, page: Page = 1) -> Response:
        """A photo in, out what covers it: a grey PNG of its size, white where it is covered, upright."""
        return await at_once(photo, None, "mask", page)

    @app.post("/api/jobs", status_code=201)
    def add_job(photo: Photo) -> Status:
        """Takes a photo in and answers before it is restored."""
        return jobs.add(photo.file, photo.filename or "")

    @app.get("/api/jobs/{job_id}")
    async def get_job(job: Known, wait: Annotated[float, Query(ge=0, le=10)] = 0) -> Status:
        """How far a photo is; with `wait` the answer comes when it is finished, or after so many seconds."""
        await asyncio.wait([asyncio.wrap_future(job.finished)], timeout=wait)
        return jobs.get(job.id)

    @app.post("/api/jobs/{job_id}/mask", status_code=202)
    def correct_job(job: Known, mask: Mask, page: Page = 1) -> Status:
        """Restores a photo, or all pages of a file, again, told what is covered on one."""
        return jobs.correct(job, mask.file, page)

    @app.delete("/api/jobs/{job_id}", status_code=204)
    def remove_job(job: Known) -> None:
        """Forgets a photo and removes its files."""
        jobs.remove(job)

    @app.get("/api/jobs/{job_id}/{what}", response_class=Response, responses=_FILE)
    def get_file(job: Known, what: Shown, page: Page = 1) -> Response:
        """The result as a file; what covers a page as a PNG; before, after and a small picture as JPEGs to show."""
        return _content(job, what, page)

    @app.get("/api/zip", response_class=StreamingResponse, responses=_FILE)
    def get_zip(id: Annotated[list[str], Query(min_length=1, max_length=jobs.limits.photos)]) -> StreamingResponse:
        """The results of several photos in one file, under their own names."""
        archive, taken = tempfile.TemporaryFile(dir=jobs.folder), set()  # noqa: SIM115
        with zipfile.ZipFile(archive, "w") as file:
            for job in map(jobs.get, dict.fromkeys(id)):
                with suppress(FileNotFoundError):
                    file.write(job.folder / "result", _unused(job.name, taken))
        archive.seek(0)
        headers, parts = {"Content-Disposition": 'attachment; filename="uncovered.zip"'}, lambda: archive.read(1 << 18)
        return StreamingResponse(iter(parts, b""), media_type="application/zip", headers=headers)

    app.mount("/", StaticFiles(directory=_STATIC, html=True))
    return app


def _content(job: Job, what: Shown, page: int) -> Response:
    """A file of a photo. Read whole: a correction may put another in its place meanwhile."""
    name, file, kind = job.name, f"{page}.{what}.jpg", "image/jpeg"
    if what == "result":
        file, kind = "result", "application/pdf" if job.kind == "PDF" else f"image/{job.kind.lower()}"
    elif what == "mask":
        name, file, kind = f"{job.name}.mask.png", f"{page}.mask.png", "image/png"
    try:
        content = (job.folder / file).read_bytes()
    except FileNotFoundError as error:
        raise RefusedError(404, "gone", f"{job.name}: not restored yet, removed, or without such a page") from error
    place = "attachment" if what in ("result", "mask") else "inline"
    headers = {"Content-Disposition": f"{place}; filename*=UTF-8''{quote(name, safe='')}"}
    return Response(content, media_type=kind, headers={**headers, "X-Occluders": str(job.occluders)})


def _unused(name: str, taken: set[str]) -> str:
    """`name`, or "name (2).jpg" where it is taken already, whatever the case of its letters."""
    others = (f"{Path(name).stem} ({number}){Path(name).suffix}" for number in count(2))
    wanted = next(one for one in chain([name], others) if one.lower() not in taken)
    taken.add(wanted.lower())
    return wanted


class Guard:
    """Stands before everything: sites (Origin), names of this machine (Host), sizes of bodies, headers of answers."""

    def __init__(self, app: ASGIApp, jobs: Jobs, names: set[str]) -> None:
        self._app, self._limits, self._names = app, jobs.limits, {name.lower() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers, left = Headers(scope=scope), 2 * self._limits.bytes + _ENVELOPE_BYTES
        refused, host, origin = None, headers.get("host", ""), headers.get("origin")
        if not self._is_ours(host):
            refused = RefusedError(403, "foreign", f"the host {host!r} is not this one; name it with --name if it is")
        elif origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            refused = RefusedError(403, "foreign", "the request comes from another site")
        elif (length := headers.get("content-length", "")).isdecimal() and int(length) > left:
            refused = self._limits.too_large()

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise self._limits.too_large()
            return message

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_SECURITY)
            await send(message)

        app = self._app if refused is None else await _refuse(None, refused)
        return await app(scope, counted, sent)

    def _is_ours(self, host: str) -> bool:
        with suppress(ValueError):
            name = urlsplit(f"//{host}").hostname or ""
            return name in self._names or ipaddress.ip_address(name) is not None
        return False
