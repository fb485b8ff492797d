"""A stand-in for the restorer, which can be held up, a server over it with clients, and files to send there."""

import io
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from inference.restorer import Restored
from tests.data.photos.files import saved
from tests.inference.stand_ins import page, paint_over

pytest.importorskip("fastapi", reason="requirements-web.txt is not installed")
from fastapi.testclient import TestClient
from httpx import Response

from web.api import create_app
from web.jobs import Jobs
from web.photo import Limits

RED = (60, 150, 160, 260)


class Painter:
    """What is red, or what it is told, becomes grey; it waits until `free`; `seen` are the pictures' heights."""

    def __init__(self) -> None:
        self.free, self.seen, self.error = threading.Event(), [], None
        self.free.set()

    def __call__(self, pixels: np.ndarray, mask: np.ndarray | None = None) -> Restored:
        self.seen.append(len(pixels))
        assert self.free.wait(60)
        if self.error:
            raise self.error
        if mask is None:
            result = paint_over(pixels)
            return replace(result, located=result.mask[::2, ::2])
        image = np.where(mask[..., None] > 0, np.uint8(127), pixels)
        return Restored(image, mask, int(mask.any()), {}, mask)


@pytest.fixture
def painter() -> Painter:
    return Painter()


def picture(height: int = 300, kind: str = "PNG", box=RED, width: int = 420) -> bytes:
    """A file of a page with a red rectangle."""
    return saved(kind, page(height, width, box))


def book(kind: str, *heights: int) -> bytes:
    """A file of such pages, each with a red rectangle."""
    first, *others = (Image.fromarray(page(height, 420, RED)) for height in heights)
    return saved(kind, first, save_all=True, append_images=others, compression="tiff_deflate")


def blank_book() -> bytes:
    """A PDF of one page without any picture."""
    pikepdf, buffer = pytest.importorskip("pikepdf"), io.BytesIO()
    pdf = pikepdf.new()
    pdf.add_blank_page()
    pdf.save(buffer)
    return buffer.getvalue()


def white(height: int, width: int, box=(0, 0, 0, 0)) -> bytes:
    """A mask as a PNG: a white box on black."""
    mask = np.zeros((height, width), np.uint8)
    mask[box[0] : box[2], box[1] : box[3]] = 255
    return saved("PNG", mask)


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


PAGE = picture()


class Client(TestClient):
    """Sends photos as programs do, at once or as jobs."""

    def give(self, path: str, photo: bytes = PAGE, name: str = "page.png", mask: bytes | None = None, **more):
        files = {"photo": (name, photo)} | ({} if mask is None else {"mask": ("mask.png", mask)})
        return self.post(f"/api/{path}", files=files, **more)

    def add(self, photo: bytes = PAGE, name: str = "page.png") -> str:
        return self.give("jobs", photo, name).json()["id"]

    def job(self, one: str, wait: int = 10) -> dict:
        return self.get(f"/api/jobs/{one}?wait={wait}").json()

    def file(self, one: str, what: str, page: int = 1) -> bytes:
        return self.get(f"/api/jobs/{one}/{what}?page={page}").content

    def correct(self, one: str, mask: bytes, page: int = 1) -> Response:
        return self.post(f"/api/jobs/{one}/mask?page={page}", files={"mask": mask})


@pytest.fixture
def serve(painter, tmp_path, monkeypatch):
    """A client of a server with other limits, whose files lie below `tmp_path`."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with ExitStack() as clients:

        def start(**limits) -> Client:
            jobs = Jobs(painter, Limits(**{"bytes": 1_000_000, "pixels": 1_000_000, **limits}))
            app = create_app(jobs, "a stand-in", ["scans"])
            return clients.enter_context(Client(app, base_url="http://localhost:8000"))

        yield start
        painter.free.set()


@pytest.fixture
def client(serve) -> Client:
    return serve()
