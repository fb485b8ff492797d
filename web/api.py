"""What the page and other programs call, described at /openapi.json; every refusal is a sentence and a code word."""

import asyncio
import ipaddress
import tempfile
import zipfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated
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
from web.photo import DONE, FAILED, WAITING, WORKING, Job, RefusedError

_STATIC = Path(__file__).parent / "static"
# Around the files of a multipart body.
_ENVELOPE_BYTES = 100_000
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}  # fmt: skip
_MEANINGS = {
    400: "The request cannot be understood.", 403: "The request comes from another site, or for another host.",
    404: "There is no such photo (any more).", 409: "The photo is still being restored.",
    413: "The upload or the photo is too large.", 415: "The file is not a picture of a kind that is read.",
    422: "Something is missing or wrong, or the picture is broken.", 500: "It could not be restored.",
    503: "Too many photos wait or are kept; Retry-After says for how many seconds.",
}  # fmt: skip
_OTHER_TYPES = {"PDF": "application/pdf", "JPEG XL": "image/jxl"}
_PICTURE, _MASK, _ARCHIVE = (
    {"content": {kind: {"schema": {"type": "string", "format": "binary"}}}}
    for kind in ("*/*", "image/png", "application/zip")
)


class Problem(BaseModel):
    """Why something was not done."""

    detail: str = Field(description="a sentence")
    code: str = Field(description="a word for programs")


class Status(BaseModel):
    """A photo and what became of it."""

    id: str
    name: str
    state: str = Field(description=f"{WAITING}, {WORKING}, {DONE} or {FAILED}")
    message: str = Field(description="why it failed")
    version: int = Field(description="how many results there have been; 0: none yet")
    page: int = Field(description="which page of a PDF or TIFF is worked on")
    pages: int = Field(description="of how many")
    sizes: list[tuple[int, int]] = Field(description="width and height of each picture of a page: one in a photo")
    ahead: int = Field(description="photos that wait before this one")
    occluders: int
    seconds: float
    notes: list[str] = Field(description="what of the file the result could not keep")


class Health(BaseModel):
    """Whether the server works, and what it takes."""

    engine: str
    limit_bytes: int
    limit_pixels: int
    limit_photos: int


class Shown(StrEnum):
    """What there is of a photo."""

    result, mask, before, after, thumb = "result", "mask", "before", "after", "thumb"


def _problems(*statuses: int) -> dict[int | str, dict]:
    return {status: {"model": Problem, "description": _MEANINGS[status]} for status in statuses}


def _refusal(status: int, code: str, detail: str, retry: int | None = None) -> JSONResponse:
    headers = {} if retry is None else {"Retry-After": str(retry)}
    return JSONResponse({"detail": detail, "code": code}, status, headers)


async def _only_known(request: Request) -> None:
    """Refuses a field of a form, or of the address that it is sent to, that is not described."""
    if request.method != "POST":
        return
    known = request.scope["route"].dependant
    for given, fields in ((await request.form(), known.body_params), (request.query_params, known.query_params)):
        names = [field.alias for field in fields]
        if unknown := next((name for name in given if name not in names), None):
            there = f"there is {' and '.join(names)}" if names else "there is none"
            raise RefusedError(422, "invalid", f"{unknown}: no such field; {there}")


def create_app(jobs: Jobs, engine: str, names: Iterable[str] = ()) -> FastAPI:
    """The page and the interface over `jobs`, which are closed with it; `engine` says in words what restores.

    `names` are hosts under which this one is reached, beside localhost and addresses of numbers.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(jobs.close)

    about = "Removes fingers, hands and heads from photographed documents."
    app = FastAPI(title="uncover", description=about, version="1", lifespan=lifespan, docs_url=None, redoc_url=None,
                  responses=_problems(400, 403), dependencies=[Depends(_only_known)])  # fmt: skip
    app.add_middleware(Guard, jobs=jobs, names={"localhost", *names})

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> JSONResponse:
        return _refusal(error.status, error.code, str(error), error.retry)

    @app.exception_handler(HTTPException)
    async def failed(_: Request, error: HTTPException) -> JSONResponse:
        return _refusal(error.status_code, "refused", str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        told = "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
        return _refusal(422, "invalid", told)

    def status(job: Job) -> Status:
        fields = Status.model_fields.keys() - {"ahead"}
        return Status(ahead=jobs.ahead(job), **{name: getattr(job, name) for name in fields})

    Known = Annotated[Job, Depends(jobs.get)]
    Photo = Annotated[UploadFile, File(description="JPEG, PNG, TIFF, WebP, BMP, HEIC, AVIF, or a PDF of pages")]
    Page = Annotated[int, Query(ge=1, le=100_000, description="of the pictures of pages in a PDF or TIFF, which one")]
    Mask = Annotated[UploadFile, File(description="a picture, upright, white where the photo is covered; of that "
                                                  "size, or smaller in proportion")]  # fmt: skip

    @app.get("/api/health")
    async def health() -> Health:
        """Whether the server works, what restores, and what is taken at most."""
        limits = jobs.limits
        return Health(engine=engine, limit_bytes=limits.bytes, limit_pixels=limits.pixels, limit_photos=limits.photos)

    async def at_once(photo: UploadFile, mask: UploadFile | None, what: Shown, page: int) -> Response:
        given = None if mask is None else mask.file
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

    taking = _problems(404, 413, 415, 422, 500, 503)

    @app.post("/api/restore", response_class=Response, responses={200: _PICTURE, **taking})
    async def restore(photo: Photo, mask: Mask | None = None, page: Page = 1) -> Response:
        """A photo or PDF in, the same kind of file out, without what covers it; a mask says what that is on a page."""
        return await at_once(photo, mask, Shown.result, page)

    @app.post("/api/mask", response_class=Response, responses={200: _MASK, **taking})
    async def find(photo: Photo, page: Page = 1) -> Response:
        """A photo in, out what covers it: a grey PNG of its size, white where it is covered, upright."""
        return await at_once(photo, None, Shown.mask, page)

    @app.post("/api/jobs", status_code=201, responses=taking)
    async def add_job(photo: Photo) -> Status:
        """Takes a photo in and answers before it is restored."""
        return status(await run_in_threadpool(jobs.add, photo.file, photo.filename or ""))

    @app.get("/api/jobs/{job_id}", responses=_problems(404, 422))
    async def get_job(job: Known, wait: Annotated[float, Query(ge=0, le=10)] = 0) -> Status:
        """How far a photo is; with `wait` the answer comes when it is finished, or after so many seconds."""
        if wait and not job.finished.done():
            await asyncio.wait([asyncio.wrap_future(job.finished)], timeout=wait)
        return status(job)

    @app.post("/api/jobs/{job_id}/mask", status_code=202, responses=_problems(404, 409, 413, 415, 422, 503))
    async def correct_job(job: Known, mask: Mask, page: Page = 1) -> Status:
        """Restores a photo, or all pages of a file, again, told what is covered on one."""
        await run_in_threadpool(jobs.correct, job, mask.file, page)
        return status(job)

    @app.delete("/api/jobs/{job_id}", status_code=204, responses=_problems(404, 422))
    async def remove_job(job: Known) -> None:
        """Forgets a photo and removes its files."""
        await run_in_threadpool(jobs.remove, job)

    @app.get("/api/jobs/{job_id}/{what}", response_class=Response, responses={200: _PICTURE, **_problems(404, 422)})
    def get_file(job: Known, what: Shown, page: Page = 1) -> Response:
        """The result as a file; what covers a page as a PNG; before, after and a small picture as JPEGs to show."""
        return _content(job, what, page)

    @app.get("/api/zip", response_class=StreamingResponse, responses={200: _ARCHIVE, **_problems(404, 422)})
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
    if what is Shown.result:
        file, kind = "result", _OTHER_TYPES.get(job.kind, f"image/{job.kind.lower()}")
    elif what is Shown.mask:
        name, file, kind = f"{job.name}.mask.png", f"{page}.mask.png", "image/png"
    try:
        content = (job.folder / file).read_bytes()
    except FileNotFoundError as error:
        raise RefusedError(404, "gone", f"{job.name}: not restored yet, removed, or without such a page") from error
    place = "attachment" if what in (Shown.result, Shown.mask) else "inline"
    headers = {"Content-Disposition": f"{place}; filename*=UTF-8''{quote(name, safe='')}"}
    return Response(content, media_type=kind, headers={**headers, "X-Occluders": str(job.occluders)})


def _unused(name: str, taken: set[str]) -> str:
    """`name`, or "name (2).jpg" where it is taken already, whatever the case of its letters."""
    path, number, wanted = Path(name), 1, name
    while wanted.lower() in taken:
        number += 1
        wanted = f"{path.stem} ({number}){path.suffix}"
    taken.add(wanted.lower())
    return wanted


class Guard:
    """Stands before everything: other sites (Origin), foreign names of this machine (Host), the size of a body; and the
    headers of every answer.
    """

    def __init__(self, app: ASGIApp, jobs: Jobs, names: set[str]) -> None:
        self._app, self._jobs, self._names = app, jobs, {name.lower() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers, most = Headers(scope=scope), 2 * self._jobs.limits.bytes + _ENVELOPE_BYTES
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise HTTPException(413, str(self._jobs.limits.too_large()))
            return message

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_SECURITY)
            await send(message)

        app, host, origin = self._app, headers.get("host", ""), headers.get("origin")
        if not self._is_ours(host):
            app = _refusal(403, "foreign", f"the host {host!r} is not this one; name it with --name if it is")
        elif origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            app = _refusal(403, "foreign", "the request comes from another site")
        elif headers.get("content-length", "0").isdecimal() and int(headers.get("content-length", "0")) > most:
            app = _refusal(413, "too_large", str(self._jobs.limits.too_large()))
        return await app(scope, counted, sent)

    def _is_ours(self, host: str) -> bool:
        with suppress(ValueError):
            name = urlsplit(f"//{host}").hostname or ""
            if name in self._names:
                return True
            ipaddress.ip_address(name)
            return True
        return False
