"""`python app.py` as a user runs it, with the shipped weights."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import app

SCRIPT = Path(app.__file__).resolve()
PHOTO = SCRIPT.parent / "test_code" / "samples" / "photos" / "notes_hand.jpg"


def start(tmp_path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, str(SCRIPT), "--device", "cpu", *arguments]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize(
    ("host", "warns", "stop"), [("127.0.0.1", False, signal.SIGINT), ("0.0.0.0", True, signal.SIGTERM)]
)
def test_it_serves_until_it_is_stopped_and_leaves_nothing(tmp_path, host, warns, stop):
    with start(tmp_path, "--port", "0", "--host", host) as process:
        lines = [process.stdout.readline(), process.stdout.readline()]
        port = re.search(r"open http://[0-9.]+:(\d+)/", lines[1])[1]
        address = f"http://127.0.0.1:{port}"
        with open(PHOTO, "rb") as photo:
            assert httpx.post(f"{address}/api/jobs", files={"photo": photo}).status_code == 201
        assert httpx.get(f"{address}/api/health").json()["engine"] == lines[0].strip()
        assert len(list(tmp_path.glob("uncover-web-*/*/source/notes_hand.jpg"))) == 1
        process.send_signal(stop)
        _, said = process.communicate(timeout=60)
    assert process.returncode == (130 if stop == signal.SIGINT else -stop)
    assert ("without a password" in said) == warns
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "{taken}"], "port {taken}: Address already in use; name another with --host or --port"),
        (["--port", "99999"], "'99999' is not a whole number from 0 to 65535"),
        (["--max-pages", "0"], "'0' is not a whole number from 1 to 1000000"),
        (["--weights", "none.pdparams", "--port", "0"], "none.pdparams"),
        (["--host", "no.such.host.invalid"], "no.such.host.invalid"),
    ],
)
def test_what_cannot_work_is_said_at_once(tmp_path, arguments, words):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        with start(tmp_path, *(one.format(taken=number) for one in arguments)) as process:
            _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert words.format(taken=number) in said
    assert "Traceback" not in said
