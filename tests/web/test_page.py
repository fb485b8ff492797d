"""The page in a real browser: photos in, slider, brush, apply, undo, download, keys, refusals, two people, a phone."""

import io
import re
import shutil
import threading
import zipfile

import pytest
import uvicorn

from tests.conftest import until
from tests.web.conftest import blank_book, book, picture, pixels
from web.api import create_app
from web.jobs import Jobs
from web.photo import Limits

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, painter):
    """Opens the page for one more person, of a server that takes 1 MB, 1 megapixel and six photos; whatever the browser
    complains of fails the test."""
    jobs = Jobs(painter, Limits(bytes=1_000_000, pixels=1_000_000, photos=6))
    server = uvicorn.Server(uvicorn.Config(create_app(jobs, "a stand-in"), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    complaints, people = [], []

    def come(**options):
        people.append(browser.new_context(**{"viewport": {"width": 1100, "height": 700}, "locale": "en-GB", **options}))
        page = people[-1].new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: request.url.startswith((address, "data:")) or complaints.append(request.url))
        page.goto(address)
        expect(page.locator("#drop")).to_contain_text("1 MB")
        return page

    yield come
    for one in people:
        one.close()
    painter.free.set()
    server.should_exit = True
    thread.join()
    assert not complaints


def give(page, *files: tuple[str, bytes]) -> None:
    page.set_input_files("#files", [{"name": name, "mimeType": "", "buffer": content} for name, content in files])


def reads(page, **texts: str | tuple[str, ...]) -> None:
    """What stands in the elements of these names, sooner or later."""
    for name, words in texts.items():
        for one in (words,) if isinstance(words, str) else words:
            expect(page.locator(f"#{name}")).to_contain_text(one)


def fetched(page, selector: str = "#download") -> tuple[str, bytes]:
    with page.expect_download() as waiting:
        page.click(selector)
    return waiting.value.suggested_filename, waiting.value.path().read_bytes()


def red(page) -> int:
    """How many red pixels the picture shows."""
    shown = pixels(page.locator("#stage").screenshot())
    return ((shown[..., 0] > 180) & (shown[..., 1] < 90)).sum()


def drag(page, *points: tuple[float, float]) -> None:
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=5)
    page.mouse.up()


def draw(page, *shares: tuple[float, float], tool: str = "") -> None:
    """With the mouse, over points given as shares of the picture's width and height."""
    if tool:
        page.click(f"[data-tool={tool}]")
    box = page.locator("#before").bounding_box()
    drag(page, *((box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in shares))


def applied(page) -> bytes:
    """The file, once nothing is left to apply."""
    expect(page.locator("#apply")).to_be_disabled()
    expect(page.locator("#wait")).to_be_hidden()
    return fetched(page)[1]


def test_a_photo_is_restored_compared_corrected_and_downloaded(visit):
    page = visit()
    give(page, ("页 1.png", picture()))
    reads(page, about=("页 1.png · 420 × 300", "1 removed"))
    # The slider: all of before, then all of after, by the mouse and by keys.
    divider, stage = page.locator("#divider"), page.locator("#stage").bounding_box()
    handle = divider.bounding_box()
    height = handle["y"] + 50
    drag(page, (handle["x"] + handle["width"] / 2, height), (stage["x"] + stage["width"], height))
    expect(divider).to_have_attribute("aria-valuenow", "100")
    assert red(page) > 5000
    for key, value in (("Home", "0"), ("ArrowRight", "2"), ("Home", "0")):
        divider.press(key)
        expect(divider).to_have_attribute("aria-valuenow", value)
    assert red(page) == 0
    # The brush, undone and done again, and another opinion within the same picture.
    before = applied(page)
    draw(page, (0.7, 0.8), (0.9, 0.8), tool="add")
    page.keyboard.press("Control+z")
    expect(page.locator("#apply")).to_be_disabled()
    page.keyboard.press("Control+Shift+z")
    expect(page.locator("#mask")).to_be_visible()
    draw(page, (0.38, 0.35), (0.38, 0.36), tool="protect")
    page.click("#apply")
    after = pixels(applied(page))
    changed = (pixels(before) != after).any(axis=2)
    assert changed[240, 310:370].all(), "what was painted is removed"
    assert (after[105, 160] == (230, 20, 20)).all(), "what was kept is back"
    assert not changed[:, :130].any()
    # The eraser goes back to what was found, and with it the file to what it was.
    page.locator("#size").fill("200")
    draw(page, (0.6, 0.8), (1, 0.8), tool="erase")
    draw(page, (0.38, 0.35), (0.4, 0.36))
    page.locator("#stage").press("Enter")
    assert applied(page) == before
    assert fetched(page)[0] == "页 1.png"


def test_a_pdf_is_turned_over_corrected_on_one_page_and_downloaded_whole(visit, painter):
    page = visit()
    painter.free.clear()
    give(page, ("scan.pdf", book("PDF", 300, 320, 340)))
    reads(page, wait="page 1 of 3 …")
    painter.free.set()
    reads(page, about=("scan.pdf · 420 × 300", "3 removed"), number="1 / 3")
    expect(page.locator("#back")).to_be_disabled()
    page.click("#on")
    reads(page, about="420 × 320")
    page.locator("#size").fill("200")
    draw(page, (0.3, 0.3), (0.7, 0.3), (0.3, 0.45), (0.7, 0.45), tool="protect")
    page.locator("#stage").press("PageDown")
    reads(page, number="3 / 3")
    expect(page.locator("#apply")).to_be_disabled()
    page.locator("#stage").press("PageUp")
    expect(page.locator("#undo")).to_be_enabled()
    page.click("#apply")
    reads(page, about="2 removed")
    page.locator("#divider").press("Home")
    assert red(page) > 5000, "the second page is as it came"
    page.click("#on")
    reads(page, about="420 × 340")
    assert red(page) == 0
    name, content = fetched(page)
    assert (name, content[:5]) == ("scan.pdf", b"%PDF-")
    give(page, ("drawn.pdf", drawn := blank_book()))
    page.click("#photos li:nth-child(2) button")
    reads(page, wait="no page of it is a picture")
    expect(page.locator("#pages")).to_be_hidden()
    assert fetched(page)[1] == drawn


def test_wheel_keys_and_two_fingers_move_the_picture(visit):
    page = visit(has_touch=True)
    give(page, ("a.png", picture()))
    stage, place = page.locator("#stage"), page.locator("#world")
    expect(place).to_be_visible()
    fitted = place.bounding_box()
    stage.hover()
    page.mouse.wheel(0, -600)
    assert place.bounding_box()["width"] > 1.5 * fitted["width"]
    stage.press("0")
    assert place.bounding_box() == fitted
    stage.press("1")
    assert place.bounding_box()["width"] == pytest.approx(420)
    left = place.bounding_box()["x"]
    stage.press("ArrowRight")
    assert place.bounding_box()["x"] == pytest.approx(left - 60)
    draw(page, (0.5, 0.2), (0.6, 0.3))
    assert place.bounding_box()["x"] == pytest.approx(left - 60 + 42)
    fingers = page.context.new_cdp_session(page)
    for kind, spread in (("touchStart", 40), ("touchMove", 120), ("touchMove", 200), ("touchEnd", 0)):
        points = [{"x": 550 + side * spread, "y": 300, "id": side + 1} for side in (-1, 1) if spread]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert place.bounding_box()["width"] == pytest.approx(5 * 420, rel=0.05)
    # The middle of the picture, painted without a mouse.
    for key in ("b", "0", " "):
        stage.press(key)
    expect(page.locator("#undo")).to_be_enabled()


def test_many_photos_good_and_bad_come_back_as_a_zip(visit):
    page = visit()
    give(page, ("a.png", picture()), ("bad.jpg", b"words"), ("cut.jpg", picture(kind="JPEG")[:5000]),
         ("heavy.png", bytes(1_100_000)), ("large.jpg", picture(3000, "JPEG")), ("a.png", picture(200)),
         ("g.png", b""))  # fmt: skip
    reads(page, status="at most 6 photos at a time; 1 were left out")
    expect(page.locator("#photos .busy")).to_have_count(0)
    told = page.locator("#photos small").all_inner_texts()
    expected = ["1 removed", "not a picture", "cut short", "1.1 MB > 1 MB", "1.3 megapixels", "1 removed"]
    assert [words in line for words, line in zip(expected, told, strict=True)] == [True] * 6, told
    page.click("#photos li:nth-child(2) button")
    reads(page, wait="not a picture")
    name, archive = fetched(page, "#zip")
    assert (name, zipfile.ZipFile(io.BytesIO(archive)).namelist()) == ("uncovered.zip", ["a.png", "a (2).png"])
    for left in range(5, -1, -1):
        page.click("#remove")
        expect(page.locator("#photos li")).to_have_count(left)
    expect(page.locator("#drop")).to_be_visible()


def test_two_people_see_their_own_photos_and_wait_for_each_other(visit, painter):
    one, two = visit(), visit()
    painter.free.clear()
    give(one, ("mine.png", picture()))
    reads(one, wait="is being restored …")
    give(two, ("yours.png", picture(200)), ("more.png", picture(210)))
    expect(two.locator("#wait")).to_have_text(re.compile("is next|waits, 1 before it"))
    painter.free.set()
    for page, name in ((one, "mine.png"), (two, "yours.png")):
        reads(page, about=(name, "1 removed"))
    expect(one.locator("#photos li")).to_have_count(1)
    assert fetched(one)[1] != fetched(two)[1]


def test_photos_are_pasted_and_dropped(visit):
    page = visit()
    for event, field in (("paste", "clipboardData"), ("drop", "dataTransfer")):
        page.evaluate(
            """([event, field, bytes]) => {
                const transfer = new DataTransfer();
                transfer.items.add(new File([new Uint8Array(bytes)], `${event}.png`, {type: "image/png"}));
                const options = {bubbles: true, cancelable: true, [field]: transfer};
                document.dispatchEvent(new (event === "paste" ? ClipboardEvent : DragEvent)(event, options));
            }""",
            [event, field, list(picture(60, box=None, width=80))],
        )
    expect(page.locator("#photos b")).to_have_text(["paste.png", "drop.png"])
    expect(page.locator("#photos small")).to_have_text(["nothing found"] * 2)


def test_everything_is_reached_by_keys_named_and_fits_a_phone_in_chinese(visit):
    page = visit(locale="zh-CN", viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    give(page, ("a.png", picture()), ("b.png", picture()))
    reads(page, about="已去除 1 处")
    page.tap("[data-tool=add]")
    box = page.locator("#stage").bounding_box()
    assert box["height"] > 200
    page.touchscreen.tap(box["x"] + 200, box["y"] + 100)
    expect(page.locator("#apply")).to_be_enabled()
    sizes = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    assert sizes == [360, 640], "nothing has to be scrolled for"
    names, reached = page.evaluate(
        """() => {
            const seen = [...document.querySelectorAll("button, a, [role=slider], [role=application], input")]
                .filter(one => one.checkVisibility());
            return [seen.map(one => one.ariaLabel || one.innerText || one.closest("label")?.textContent || ""),
                    seen.filter(one => one.tabIndex >= 0).length];
        }"""
    )
    assert all(name.strip() for name in names), names
    assert reached == len(names) > 15
