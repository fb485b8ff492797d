"""The interface: photos and masks in and out, refusals in sentences, a queue, files that go away, no strangers."""

import io
import re
import threading
import zipfile
from concurrent.futures import InvalidStateError, ThreadPoolExecutor
from itertools import chain, repeat
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from httpx import Response

import web
from inference.files import list_pictures
from inference.folder import restore_folder
from tests.conftest import until
from tests.inference.stand_ins import paint_over
from tests.web.conftest import PAGE, RED, blank_book, book, picture, pixels, white
from web.jobs import Jobs
from web.photo import Job, Status, clean_name

CUT, LARGE = picture(kind="JPEG")[:5000], picture(3000, "JPEG")


def refusal(answer: Response) -> tuple[int, str, str]:
    return answer.status_code, answer.json()["code"], answer.json()["detail"]


def by_predict(folder: Path, content: bytes) -> bytes:
    (folder / "in").mkdir()
    (folder / "in" / "x").write_bytes(content)
    list(restore_folder(paint_over, list_pictures(folder / "in", folder / "out"), folder / "out"))
    return (folder / "out" / "x").read_bytes()


@pytest.mark.parametrize(("kind", "name"), [
    ("JPEG", "页 1.jpg"), ("PNG", "a.png"), ("TIFF", "b.tif"), ("WEBP", "c.webp"), ("BMP", "d")])  # fmt: skip
def test_a_restored_file_is_the_one_that_predict_writes(client, tmp_path, kind, name):
    answer = client.give("restore", picture(kind=kind), name)
    assert answer.status_code == 200, answer.text
    assert answer.content == by_predict(tmp_path, picture(kind=kind))
    quoted = "%E9%A1%B5%201.jpg" if kind == "JPEG" else name
    said = [answer.headers[key] for key in ("content-type", "x-occluders", "content-disposition")]
    assert said == [f"image/{kind.lower()}", "1", f"attachment; filename*=UTF-8''{quoted}"]
    assert not list(tmp_path.glob("uncover-web-*/*/*")), "nothing is kept"


@pytest.mark.parametrize(("kind", "name", "said"), [
    ("PDF", "b.pdf", "application/pdf"), ("TIFF", "b.tif", "image/tiff")])  # fmt: skip
def test_a_file_of_pages_is_restored_looked_at_and_corrected_page_by_page(client, tmp_path, kind, name, said):
    pytest.importorskip("pikepdf")
    content = book(kind, 300, 320, 340)
    one = client.add(content, name)
    told = client.job(one)
    assert (told["state"], told["pages"], told["occluders"]) == ("done", 3, 3), told
    assert told["sizes"] == [[420, 300], [420, 320], [420, 340]]
    result = client.get(f"/api/jobs/{one}/result")
    assert result.content == by_predict(tmp_path, content) == client.give("restore", content, name).content != content
    assert result.headers["content-type"] == said
    for what in ("before", "after", "mask"):
        assert pixels(client.file(one, what, 2)).shape[:2] == (320, 420)
    assert client.get(f"/api/jobs/{one}/mask?page=4").status_code == 404
    assert client.give("mask?page=2", content, name).content == client.file(one, "mask", 2)
    for path, given in (("mask", None), ("restore", white(340, 420))):
        missing = client.give(f"{path}?page=4", content, name, given)
        assert refusal(missing) == (404, "gone", f"{name}: has no picture 4, but 3 in all")
    # Nothing covers the second page, a person says.
    for page, height, status in ((4, 340, 404), (2, 340, 422), (2, 320, 202)):
        assert client.correct(one, white(height, 420), page).status_code == status
    told = client.job(one)
    assert (told["version"], told["occluders"]) == (2, 2)
    assert client.file(one, "result") != result.content
    assert [client.file(one, "before", page) == client.file(one, "after", page) for page in (1, 2)] == [False, True]


def test_a_book_has_limits_tells_how_far_it_is_and_can_be_given_up(serve, painter, tmp_path):
    client = serve(pages=3)
    sides = "the mask is 420 x 200 pixels; expected 420 x 320, or smaller in the same proportions"
    for heights, mask, path, said in (
        ((300,) * 4, None, "restore", (413, "too_large", "b.pdf: 4 pages; the limit is 3")),
        ((300, 2400), None, "restore", (413, "too_large", "b.pdf: page 2: 1.0 megapixels; the limit is 1")),
        ((300, 320), white(200, 420), "restore?page=2", (422, "mask_size", sides)),
    ):
        assert refusal(client.give(path, book("PDF", *heights), "b.pdf", mask)) == said
    painter.free.clear()
    one = client.add(book("PDF", 310, 320, 330), "b.pdf")
    until(lambda: 310 in painter.seen)
    assert client.job(one, wait=0)["page"] == 1
    assert client.delete(f"/api/jobs/{one}").status_code == 204
    painter.free.set()
    until(lambda: not list(tmp_path.glob("uncover-web-*/*/source")))
    assert 320 not in painter.seen


def test_what_nothing_covers_comes_back_byte_for_byte(client):
    for clean in (picture(kind="JPEG", box=None), blank_book()):
        assert client.give("restore", clean).content == clean
    refused = client.give("restore", blank_book(), mask=white(30, 40))
    assert refusal(refused) == (404, "gone", "page.png: has no picture 1, but 0 in all")


def test_a_mask_comes_out_at_the_photos_size_and_goes_in_at_that_or_a_smaller_one(client):
    found = client.give("mask").content
    assert np.array_equal(pixels(found), pixels(white(300, 420, RED)))
    assert client.give("restore", mask=found).content == client.give("restore").content
    half = client.give("restore", mask=white(150, 210, (10, 20, 40, 80))).content
    changed = np.argwhere((pixels(half) != pixels(PAGE)).any(axis=2))
    assert [changed.min(0).tolist(), changed.max(0).tolist()] == [[20, 40], [79, 159]]


@pytest.mark.parametrize(("status", "words", "given"), [
    (415, "page.png: not a picture", {"photo": b"words"}),
    (415, "page.png: .* empty", {"photo": b""}),
    (422, "page.png: cut short", {"photo": CUT}),
    (413, "page.png: 1.3 megapixels; the limit is 1", {"photo": LARGE}),
    (413, "larger than the limit of 1 MB", {"photo": bytes(1_500_000)}),
    (413, "larger than the limit of 1 MB", {"photo": bytes(2_500_000)}),
    (415, "mask: not a picture", {"mask": b"words"}),
    (413, "mask: 1.3 megapixels", {"mask": LARGE}),
    (422, "mask: (broken or )?cut short", {"mask": CUT}),
    (422, "masks: no such field; there is photo and mask", {"data": {"masks": "x"}}),
    (422, "mask: expected a file$", {"data": {"mask": "x"}}),
    (422, "photo: is there more than once, expected one", {"data": {"photo": "x"}}),
    (422, "page: is there more than once, expected one", {"path": "restore?page=1&page=2"}),
    (422, "pages: no such field; there is page", {"path": "restore?pages=2"}),
    (422, "mask: no such field; there is photo", {"path": "mask", "data": {"mask": "x"}}),
    (422, "page: no such field; there is none", {"path": "jobs?page=2"}),
    (403, "'evil.example' is not this one", {"headers": {"host": "evil.example"}}),
    (403, "comes from another site", {"headers": {"origin": "http://evil.example"}}),
    (403, "comes from another site", {"headers": {"origin": "null"}}),
    (403, "comes from another site", {"headers": {"origin": "http://localhost:9000"}}),
    (200, "", {"headers": {"origin": "http://localhost:8000"}}),
    (200, "", {"headers": {"host": "scans:80", "origin": "https://scans:80"}}),
    (200, "", {"headers": {"host": "[::1]:8000"}}),
])  # fmt: skip
def test_what_is_refused_is_said_in_a_sentence(client, tmp_path, status, words, given):
    answer = client.give(**{"path": "restore", **given})
    assert answer.status_code == status, answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    if status != 200:
        assert re.search(words, refusal(answer)[2])
        assert str(tmp_path) not in answer.text


def test_a_body_without_a_length_is_counted_and_a_form_without_a_photo_refused(client):
    form = {"content-type": "multipart/form-data; boundary=b"}
    head = b'--b\r\ncontent-disposition: form-data; name="photo"; filename="a"\r\n\r\n'
    parts = iter([head, *[bytes(100_000)] * 25])
    assert refusal(client.post("/api/jobs", content=parts, headers=form))[:2] == (413, "too_large")
    assert refusal(client.post("/api/jobs")) == (422, "invalid", "photo: Field required")
    for path in ("/api/nothing", "/api/jobs/none", "/../../README.md"):
        assert refusal(client.get(path))[0] == 404
    assert client.put("/api/restore").status_code == 405


def test_corrections_at_once_become_one_and_the_worker_outlives_everything(client, tmp_path, caplog, monkeypatch):
    one, tell = client.add(), Job.tell
    client.job(one)
    monkeypatch.setattr(Job, "tell", lambda *told: (threading.Event().wait(0.3), tell(*told)))
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(client.correct, one, white(300, 420)) for _ in range(2)]
        assert sorted(answer.result().status_code for answer in both) == [202, 409]
        until(lambda: client.job(one)["version"] == 2)
        assert client.correct(one, white(30, 420)).status_code == 422
        assert client.job(one)["state"] == "done"
        # Removed while its correction comes in: nothing of it stays, nobody waits for it.
        late = pool.submit(client.correct, one, white(300, 420))
        until(lambda: client.job(one, wait=0)["state"] == "working")
        assert client.delete(f"/api/jobs/{one}").status_code == 204
        assert late.result().status_code == 404
    assert not list(tmp_path.glob("uncover-web-*/*/"))
    monkeypatch.setattr(Jobs, "_sweep", Mock(side_effect=chain([OSError("no"), InvalidStateError()], repeat(None))))
    until(lambda: caplog.text.count("goes on after an error") == 2)
    assert client.give("restore").status_code == 200


def test_a_photo_is_followed_corrected_and_removed(client, painter, tmp_path):
    painter.free.clear()
    one, two, three = (client.add(picture(height)) for height in (200, 210, 220))
    until(lambda: client.job(one, wait=0)["state"] == "working")
    assert client.job(three, wait=0)["ahead"] == 1
    assert client.get(f"/api/jobs/{one}/result").status_code == 404
    assert refusal(client.correct(two, PAGE))[:2] == (409, "unfinished")
    painter.free.set()
    assert client.job(three)["state"] == "done"
    painter.free.clear()
    last = [client.add(picture(height)) for height in (230, 240)][-1]
    until(lambda: len(painter.seen) == 4)
    assert client.correct(one, white(200, 420)).status_code == 202
    assert client.job(last, wait=0)["ahead"] == 1
    painter.free.set()
    assert client.job(last)["state"] == "done"
    assert painter.seen == [200, 210, 220, 230, 200, 240], "a correction goes before what nobody has seen"
    told = client.job(one)
    assert (told["version"], told["occluders"], told["sizes"]) == (2, 0, [[420, 200]])
    assert set(told) == set(Status.model_fields), "nothing of where its files lie"
    assert client.file(one, "result") == picture(200), "nothing is covered, it was told"
    assert all(client.file(one, what).startswith(b"\xff\xd8\xff") for what in ("before", "after", "thumb"))
    assert client.delete(f"/api/jobs/{one}").status_code == 204
    assert client.get(f"/api/jobs/{one}/result").status_code == 404
    assert len(list(tmp_path.glob("uncover-web-*/*/source"))) == 4


def test_the_queue_and_the_shelf_have_an_end(serve, painter):
    client = serve(photos=3, waiting=1)
    painter.free.clear()
    first, second = client.add(), client.add()
    busy = client.give("restore")
    assert (refusal(busy)[:2], int(busy.headers["retry-after"]) > 0) == ((503, "busy"), True)
    until(lambda: painter.seen)
    assert client.delete(f"/api/jobs/{first}").status_code == 204, "one that is worked on goes as well"
    painter.free.set()
    assert client.job(second)["state"] == "done"
    for _ in range(2):
        client.job(client.add())
    said = "3 photos are kept already, the most there may be; remove some, or wait"
    assert refusal(client.give("jobs")) == (503, "full", said)


@pytest.mark.parametrize(("fault", "status", "words"), [
    (MemoryError(), (500, "failed"), "out of memory"), (ValueError("it is covered"), (422, "broken"), "it is covered"),
    (RuntimeError("the engine broke"), (500, "failed"), "the engine broke")])  # fmt: skip
def test_one_photo_that_fails_does_not_take_the_next_along(client, painter, caplog, fault, status, words):
    """What nobody foresaw goes to the log, but whose photo it was does not."""
    painter.error = fault
    assert refusal(client.give("restore", name="mine.png")) == (*status, words)
    assert ("could not be restored" in caplog.text) == (status[0] == 500)
    assert "mine" not in caplog.text
    painter.error = None
    assert client.give("restore").status_code == 200


def test_a_zip_holds_every_result_under_a_name_of_its_own(client):
    ids = [client.add(name=name) for name in ("a.png", "A.png", "页.png", "a.png")]
    for one in ids:
        client.job(one)
    archive = zipfile.ZipFile(io.BytesIO(client.get("/api/zip", params={"id": ids}).content))
    assert archive.namelist() == ["a.png", "A (2).png", "页.png", "a (3).png"]
    assert archive.read("页.png") == client.file(ids[0], "result")
    assert client.get("/api/zip", params={"id": [*ids, "other"]}).status_code == 404


def test_photos_go_after_a_time_with_the_server_and_after_one_that_was_killed(serve, painter, tmp_path):
    (tmp_path / "uncover-web-killed").mkdir()
    (tmp_path / "uncover-web-killed" / "lock").touch()
    living, client = serve(), serve(seconds=0.3)
    assert len(list(tmp_path.glob("uncover-web-*"))) == 2, "the killed one's is gone, the living one's is not"
    assert client.job(client.add())["state"] == "done"
    until(lambda: not list(tmp_path.glob("uncover-web-*/*/")))
    for one in (living, client):
        one.add()
        one.__exit__(None, None, None)
    assert not list(tmp_path.glob("uncover-web-*"))


@pytest.mark.parametrize(("given", "kept"), [
    ("../../etc/passwd", "passwd"), ("C:\\photos\\a.jpg", "a.jpg"), ("a\r\nb\x00.jpg", "a__b_.jpg"),
    ("..", "photo"), ("", "photo"), ("页 1.jpg", "页 1.jpg"), ("\udcff.jpg", "_.jpg"),
    ("\u202egpj.exe", "_gpj.exe"), ("ü" * 300 + ".jpg", "ü" * 98 + ".jpg"),
])  # fmt: skip
def test_a_name_keeps_what_a_file_can_be_called(given, kept):
    assert clean_name(given) == kept


def test_the_page_comes_whole_and_names_no_other_place(client):
    for name in re.findall(r'(?:src|href)="([a-z.]+)"', client.get("/").text):
        assert client.get(f"/{name}").status_code == 200
    static = "".join(path.read_text("utf-8") for path in Path(web.__file__).parent.glob("static/*"))
    assert set(re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]+[^ '\"]*", static)) == {"http://www.w3.org/2000/svg"}
    described = client.get("/openapi.json").json()["paths"]
    jobs = {f"/api/jobs{rest}" for rest in ("", "/{job_id}", "/{job_id}/mask", "/{job_id}/{what}")}
    assert set(described) == {"/api/health", "/api/restore", "/api/mask", "/api/zip", *jobs}
    assert all("description" in operation for path in described.values() for operation in path.values())
    limits = {"limit_bytes": 1_000_000, "limit_pixels": 1_000_000, "limit_photos": 200}
    assert client.get("/api/health").json() == {"engine": "a stand-in", **limits}
