"""The interface: photos and masks in and out, refusals in sentences, a queue, files that go away, no strangers."""

from __future__ import annotations

import io
import re
import tempfile
import threading
import zipfile
from concurrent.futures import InvalidStateError, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import web
from inference.folder import restore_folder
from inference.sources import list_pictures
from tests.inference.painted import paint_over
from tests.web.conftest import blank_book, book, picture, until, white
from web.api import create_app
from web.jobs import Jobs
from web.photo import Job, Limits, clean_name


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def serve(painter):
    """A client of a server with other limits."""
    clients = []

    def start(**limits) -> TestClient:
        jobs = Jobs(painter, Limits(**{"bytes": 1_000_000, "pixels": 1_000_000, **limits}))
        app = create_app(jobs, "a stand-in", ["scans"])
        clients.append(TestClient(app, base_url="http://localhost:8000"))
        return clients[-1].__enter__()

    yield start
    painter.free.set()
    for client in clients:
        client.__exit__(None, None, None)


def post(client, path, content=None, name="page.png", mask=None, **options):
    files = {"photo": (name, picture() if content is None else content)}
    return client.post(path, files=files if mask is None else {**files, "mask": ("mask.png", mask)}, **options)


KINDS = [("JPEG", "页 1.jpg"), ("PNG", "a.png"), ("TIFF", "b.tif"), ("WEBP", "c.webp"), ("BMP", "d")]


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_a_restored_file_is_the_one_that_predict_writes(serve, tmp_path, kind, name):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.jpg").write_bytes(picture(kind=kind))
    list(restore_folder(paint_over, list_pictures(tmp_path / "in", tmp_path / "out"), tmp_path / "out"))
    answer = post(serve(), "/api/restore", picture(kind=kind), name)
    assert answer.status_code == 200, answer.text
    assert answer.content == (tmp_path / "out" / "x.jpg").read_bytes()
    assert answer.headers["content-type"] == f"image/{kind.lower()}"
    assert answer.headers["x-occluders"] == "1"
    quoted = "%E9%A1%B5%201.jpg" if kind == "JPEG" else name
    assert answer.headers["content-disposition"] == f"attachment; filename*=UTF-8''{quoted}"
    assert not list(tmp_path.glob("uncover-web-*/*/*")), "nothing is kept"


@pytest.mark.parametrize(
    ("kind", "name", "said"), [("PDF", "b.pdf", "application/pdf"), ("TIFF", "b.tif", "image/tiff")]
)
def test_a_file_of_pages_is_restored_as_predict_does_it_looked_at_and_corrected_page_by_page(
    serve, painter, tmp_path, kind, name, said
):
    pytest.importorskip("pikepdf")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(content := book(kind, 300, 320, 340))
    list(restore_folder(paint_over, list_pictures(tmp_path / "in", tmp_path / "out"), tmp_path / "out"))
    client = serve()
    one = client.get(f"/api/jobs/{post(client, '/api/jobs', content, name).json()['id']}?wait=10").json()
    assert (one["state"], one["pages"], one["occluders"]) == ("done", 3, 3), one
    assert one["sizes"] == [[420, 300], [420, 320], [420, 340]]
    result = client.get(f"/api/jobs/{one['id']}/result")
    assert result.content == (tmp_path / "out" / name).read_bytes() != content
    assert result.headers["content-type"] == said
    assert post(client, "/api/restore", content, name).content == result.content
    for what in ("before", "after", "mask"):
        shown = client.get(f"/api/jobs/{one['id']}/{what}?page=2")
        assert Image.open(io.BytesIO(shown.content)).size == (420, 320)
    assert client.get(f"/api/jobs/{one['id']}/mask?page=4").status_code == 404
    mask = client.get(f"/api/jobs/{one['id']}/mask?page=2").content
    assert post(client, "/api/mask?page=2", content, name).content == mask
    for path, given in (("mask", None), ("restore", white(340, 420))):
        missing = post(client, f"/api/{path}?page=4", content, name, given)
        assert (missing.status_code, missing.json()["detail"]) == (404, f"{name}: has no picture 4, but 3 in all")
    # Nothing covers the second page, a person says.
    address = f"/api/jobs/{one['id']}/mask?page="
    assert client.post(f"{address}4", files={"mask": white(340, 420)}).status_code == 404
    assert client.post(f"{address}2", files={"mask": white(340, 420)}).json()["code"] == "mask_size"
    assert client.post(f"{address}2", files={"mask": white(320, 420)}).status_code == 202
    told = client.get(f"/api/jobs/{one['id']}?wait=10").json()
    assert (told["version"], told["occluders"]) == (2, 2)
    assert client.get(f"/api/jobs/{one['id']}/result").content != result.content
    for page, same in ((1, False), (2, True)):
        before, after = (f"/api/jobs/{one['id']}/{what}?page={page}" for what in ("before", "after"))
        assert (client.get(before).content == client.get(after).content) == same


def test_a_book_has_a_limit_of_pages_tells_how_far_it_is_and_can_be_given_up(serve, painter, tmp_path):
    client = serve(pages=3)
    told = post(client, "/api/restore", book("PDF", 300, 300, 300, 300), "b.pdf")
    assert (told.status_code, told.json()["detail"]) == (413, "b.pdf: 4 pages; the limit is 3")
    large = post(client, "/api/restore", book("PDF", 300, 2400), "b.pdf")
    said = "b.pdf: page 2: 1.0 megapixels; the limit is 1"
    assert (large.status_code, large.json()["code"], large.json()["detail"]) == (413, "too_large", said)
    wrong = post(client, "/api/restore?page=2", book("PDF", 300, 320), "b.pdf", white(200, 420))
    assert (wrong.status_code, wrong.json()["code"]) == (422, "mask_size")
    painter.free.clear()
    one = post(client, "/api/jobs", book("PDF", 310, 320, 330), "b.pdf").json()["id"]
    until(lambda: 310 in painter.seen)
    assert client.get(f"/api/jobs/{one}").json()["page"] == 1
    assert client.delete(f"/api/jobs/{one}").status_code == 204
    painter.free.set()
    until(lambda: len(list(tmp_path.glob("uncover-web-*/*/source"))) == 1)
    assert 320 not in painter.seen


def test_what_nothing_covers_comes_back_byte_for_byte(serve):
    client = serve()
    for clean in (picture(kind="JPEG", box=None), blank_book()):
        assert post(client, "/api/restore", clean).content == clean
    refused = post(client, "/api/restore", blank_book(), mask=white(30, 40)).json()["detail"]
    assert refused == "page.png: has no picture 1, but 0 in all"


def test_a_mask_comes_out_at_the_photos_size_and_goes_in_at_that_or_a_smaller_one(serve):
    client = serve()
    found = post(client, "/api/mask")
    mask = np.asarray(Image.open(io.BytesIO(found.content)))
    expected = np.zeros((300, 420), np.uint8)
    expected[60:160, 150:260] = 255
    assert np.array_equal(mask, expected)
    told = post(client, "/api/restore", mask=found.content)
    assert told.content == post(client, "/api/restore").content
    half = post(client, "/api/restore", mask=white(150, 210, (10, 20, 40, 80))).content
    changed = np.asarray(Image.open(io.BytesIO(half))) != np.asarray(Image.open(io.BytesIO(picture())))
    assert np.argwhere(changed.any(axis=2)).min(0).tolist() == [20, 40]
    assert np.argwhere(changed.any(axis=2)).max(0).tolist() == [79, 159]
    refused = post(client, "/api/restore", mask=white(200, 420))
    assert refused.status_code == 422
    expected = "the mask is 420 x 200 pixels; expected 420 x 300, or smaller in the same proportions"
    assert refused.json()["detail"] == expected


CUT = picture(kind="JPEG")[:5000]


@pytest.mark.parametrize(
    ("status", "words", "given"),
    [
        (415, "page.png: not a picture", {"content": b"words"}),
        (415, "page.png: .* empty", {"content": b""}),
        (422, "page.png: cut short", {"content": CUT}),
        (413, "page.png: 1.3 megapixels; the limit is 1", {"content": picture(3000, "JPEG")}),
        (413, "larger than the limit of 1 MB", {"content": bytes(1_500_000)}),
        (413, "larger than the limit of 1 MB", {"content": bytes(2_500_000)}),
        (415, "mask: not a picture", {"mask": b"words"}),
        (413, "mask: 1.3 megapixels", {"mask": picture(3000, "JPEG")}),
        (422, "mask: (broken or )?cut short", {"mask": CUT}),
        (403, "'evil.example' is not this one", {"headers": {"host": "evil.example"}}),
        (403, "comes from another site", {"headers": {"origin": "http://evil.example"}}),
        (403, "comes from another site", {"headers": {"origin": "null"}}),
        (403, "comes from another site", {"headers": {"origin": "http://localhost:9000"}}),
        (200, "", {"headers": {"origin": "http://localhost:8000"}}),
        (200, "", {"headers": {"host": "scans:80", "origin": "https://scans:80"}}),
        (200, "", {"headers": {"host": "[::1]:8000"}}),
    ],
)
def test_what_is_refused_is_said_in_a_sentence(serve, tmp_path, status, words, given):
    answer = post(serve(), "/api/restore", **given)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert re.search(words, answer.json()["detail"])
        assert str(tmp_path) not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_body_without_a_length_is_counted_and_a_form_without_a_photo_refused(serve):
    client = serve()
    form = {"content-type": "multipart/form-data; boundary=b"}
    head = b'--b\r\ncontent-disposition: form-data; name="photo"; filename="a"\r\n\r\n'
    parts = iter([head, *[bytes(100_000)] * 25])
    assert client.post("/api/jobs", content=parts, headers=form).status_code == 413
    missing = client.post("/api/jobs")
    assert (missing.status_code, missing.json()["detail"]) == (422, "photo: Field required")
    for path, status in (("/api/nothing", 404), ("/api/jobs/none", 404), ("/../../README.md", 404)):
        assert client.get(path).status_code == status
        assert "code" in client.get(path).json()
    assert client.put("/api/restore").status_code == 405


@pytest.mark.parametrize(
    ("path", "fields", "said"),
    [
        ("restore", {"mode": "bogus"}, "mode: no such field; there is photo and mask"),
        ("restore", {"mask_mode": "protect"}, "mask_mode: no such field; there is photo and mask"),
        ("restore?paeg=2", {}, "paeg: no such field; there is page"),
        ("mask", {"mask": "x"}, "mask: no such field; there is photo"),
        ("jobs", {"page": "2"}, "page: no such field; there is photo"),
        ("jobs?page=2", {}, "page: no such field; there is none"),
    ],
)
def test_a_field_that_is_not_described_is_refused(serve, path, fields, said):
    answer = post(serve(), f"/api/{path}", data=fields)
    assert (answer.status_code, answer.json()) == (422, {"detail": said, "code": "invalid"})


def test_corrections_at_the_same_time_become_one_and_the_worker_outlives_everything(serve, caplog, monkeypatch):
    client = serve()
    one = post(client, "/api/jobs").json()["id"]
    client.get(f"/api/jobs/{one}?wait=10")
    both, tell = threading.Barrier(2), Job.tell
    monkeypatch.setattr(Job, "tell", lambda *told: (threading.Event().wait(0.3), tell(*told)))

    def correct(_: int) -> int:
        both.wait(10)
        return client.post(f"/api/jobs/{one}/mask", files={"mask": white(300, 420)}).status_code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(correct, range(2))) == [202, 409]
    until(lambda: client.get(f"/api/jobs/{one}").json()["version"] == 2)
    refused = client.post(f"/api/jobs/{one}/mask", files={"mask": white(30, 420)})
    assert (refused.status_code, client.get(f"/api/jobs/{one}").json()["state"]) == (422, "done")
    # Removed while its correction comes in: nothing of it stays, nobody waits for it.
    with ThreadPoolExecutor(1) as pool:
        both = threading.Barrier(1)
        late = pool.submit(correct, 0)
        until(lambda: client.get(f"/api/jobs/{one}").json()["state"] == "working")
        assert client.delete(f"/api/jobs/{one}").status_code == 204
        assert late.result() == 404
    assert not list(Path(tempfile.gettempdir()).glob("uncover-web-*/*/"))
    faults = iter([OSError("no"), InvalidStateError()])

    def sweep(_: Jobs) -> None:
        for fault in faults:
            raise fault

    monkeypatch.setattr(Jobs, "_sweep", sweep)
    until(lambda: caplog.text.count("goes on after an error") == 2)
    assert post(client, "/api/restore").status_code == 200


def test_a_photo_is_followed_corrected_and_removed(serve, painter, tmp_path):
    client = serve()
    painter.free.clear()
    one, two, three = (post(client, "/api/jobs", picture(height)).json()["id"] for height in (200, 210, 220))
    until(lambda: client.get(f"/api/jobs/{one}").json()["state"] == "working")
    assert client.get(f"/api/jobs/{three}").json()["ahead"] == 1
    assert client.get(f"/api/jobs/{one}/result").status_code == 404
    early = client.post(f"/api/jobs/{two}/mask", files={"mask": picture()})
    assert (early.status_code, early.json()["code"]) == (409, "unfinished")
    painter.free.set()
    assert client.get(f"/api/jobs/{three}?wait=10").json()["state"] == "done"
    painter.free.clear()
    last = [post(client, "/api/jobs", picture(height)).json()["id"] for height in (230, 240)][-1]
    until(lambda: len(painter.seen) == 4)
    assert client.post(f"/api/jobs/{one}/mask", files={"mask": white(200, 420)}).status_code == 202
    painter.free.set()
    assert client.get(f"/api/jobs/{last}?wait=10").json()["state"] == "done"
    assert painter.seen == [200, 210, 220, 230, 200, 240], "a correction goes before what nobody has seen"
    told = client.get(f"/api/jobs/{one}").json()
    assert (told["version"], told["occluders"], told["sizes"]) == (2, 0, [[420, 200]])
    assert client.get(f"/api/jobs/{one}/result").content == picture(200), "nothing is covered, it was told"
    for what in ("before", "after", "thumb"):
        assert Image.open(io.BytesIO(client.get(f"/api/jobs/{one}/{what}").content)).format == "JPEG"
    assert client.delete(f"/api/jobs/{one}").status_code == 204
    assert client.get(f"/api/jobs/{one}/result").status_code == 404
    assert len(list(tmp_path.glob("uncover-web-*/*/source"))) == 4


def test_the_queue_and_the_shelf_have_an_end(serve, painter):
    client = serve(photos=3, waiting=1)
    painter.free.clear()
    first = post(client, "/api/jobs").json()["id"]
    until(lambda: painter.seen)
    second = post(client, "/api/jobs").json()["id"]
    busy = post(client, "/api/restore")
    assert (busy.status_code, busy.json()["code"], int(busy.headers["retry-after"]) > 0) == (503, "busy", True)
    assert client.delete(f"/api/jobs/{first}").status_code == 204, "one that is worked on goes as well"
    painter.free.set()
    assert client.get(f"/api/jobs/{second}?wait=10").json()["state"] == "done"
    for _ in range(2):
        client.get(f"/api/jobs/{post(client, '/api/jobs').json()['id']}?wait=10")
    full = post(client, "/api/jobs")
    assert (full.status_code, full.json()["code"]) == (503, "full")
    assert "3 photos are kept already" in full.json()["detail"]


@pytest.mark.parametrize(
    ("fault", "words"), [(MemoryError(), "out of memory"), (RuntimeError("the engine broke"), "engine broke")]
)
def test_one_photo_that_fails_does_not_take_the_next_along(serve, painter, caplog, fault, words):
    client, painter.error = serve(), fault
    answer = post(client, "/api/restore")
    assert (answer.status_code, answer.json()["code"]) == (500, "failed")
    assert words in answer.json()["detail"]
    assert "could not be restored" in caplog.text
    painter.error = None
    assert post(client, "/api/restore").status_code == 200


def test_a_zip_holds_every_result_under_a_name_of_its_own(serve):
    client = serve()
    ids = [post(client, "/api/jobs", name=name).json()["id"] for name in ("a.png", "A.png", "页.png", "a.png")]
    for one in ids:
        client.get(f"/api/jobs/{one}?wait=10")
    archive = zipfile.ZipFile(io.BytesIO(client.get("/api/zip", params={"id": ids}).content))
    assert archive.namelist() == ["a.png", "A (2).png", "页.png", "a (3).png"]
    assert archive.read("页.png") == client.get(f"/api/jobs/{ids[0]}/result").content
    assert client.get("/api/zip", params={"id": [*ids, "other"]}).status_code == 404


def test_photos_go_after_a_time_with_the_server_and_after_one_that_was_killed(serve, painter, tmp_path):
    (tmp_path / "uncover-web-killed").mkdir()
    (tmp_path / "uncover-web-killed" / "lock").touch()
    living = Jobs(painter)
    client = serve(seconds=0.3)
    assert not (tmp_path / "uncover-web-killed").exists()
    assert living.folder.exists()
    living.close()
    one = post(client, "/api/jobs").json()["id"]
    assert client.get(f"/api/jobs/{one}?wait=10").json()["state"] == "done"
    until(lambda: not list(tmp_path.glob("uncover-web-*/*/")))
    post(client, "/api/jobs")
    client.__exit__(None, None, None)
    assert not list(tmp_path.glob("uncover-web-*"))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"), ("C:\\photos\\a.jpg", "a.jpg"), ("a\r\nb\x00.jpg", "a__b_.jpg"),
        ("..", "photo"), ("", "photo"), ("页 1.jpg", "页 1.jpg"), ("\udcff.jpg", "_.jpg"),
        ("\u202egpj.exe", "_gpj.exe"), ("ü" * 300 + ".jpg", "ü" * 98 + ".jpg"),
    ],
)
def test_a_name_keeps_what_a_file_can_be_called(given, kept):
    assert clean_name(given) == kept


def test_the_page_comes_whole_and_names_no_other_place(serve):
    client = serve()
    index = client.get("/").text
    for name in re.findall(r'(?:src|href)="([a-z.]+)"', index):
        assert client.get(f"/{name}").status_code == 200
    static = "".join(path.read_text("utf-8") for path in Path(web.__file__).parent.glob("static/*"))
    assert set(re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]+[^ '\"]*", static)) == {"http://www.w3.org/2000/svg"}
    described = client.get("/openapi.json").json()["paths"]
    assert set(described) == {
        "/api/health", "/api/restore", "/api/mask", "/api/zip", "/api/jobs", "/api/jobs/{job_id}",
        "/api/jobs/{job_id}/mask", "/api/jobs/{job_id}/{what}",
    }  # fmt: skip
    assert all("description" in operation for path in described.values() for operation in path.values())
    assert client.get("/api/health").json() == {
        "engine": "a stand-in", "limit_bytes": 1_000_000, "limit_pixels": 1_000_000, "limit_photos": 200,
    }  # fmt: skip
