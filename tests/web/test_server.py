"""`python app.py` as a user runs it, with the shipped weights."""

import contextlib
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
from tests.conftest import PHOTOS


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    """The page, whose files lie in a folder."""
    command, pipe = [sys.executable, app.__file__, "--device", "cpu", *arguments], subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**os.environ, "TMPDIR": str(folder)})


@pytest.mark.parametrize(("host", "stop"), [("127.0.0.1", signal.SIGINT), ("0.0.0.0", signal.SIGTERM)])
def test_it_serves_until_it_is_stopped_and_leaves_nothing(tmp_path, host, stop):
    with start(tmp_path, "--port", "0", "--host", host) as process:
        lines = [process.stdout.readline(), process.stdout.readline()]
        port = re.search(r"open http://[0-9.]+:(\d+)/", lines[1])[1]
        address = f"http://127.0.0.1:{port}"
        with open(PHOTOS / "notes_hand.jpg", "rb") as photo:
            assert httpx.post(f"{address}/api/jobs", files={"photo": photo}).status_code == 201
        assert httpx.get(f"{address}/api/health").json()["engine"] == lines[0].strip()
        assert len(list(tmp_path.glob("uncover-web-*/*/source/notes_hand.jpg"))) == 1
        process.send_signal(stop)
        _, said = process.communicate(timeout=60)
    assert process.returncode == (130 if stop == signal.SIGINT else -stop)
    assert ("without a password" in said) == (host == "0.0.0.0")
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("arguments", "words"), [
    ("--port {taken}", "port {taken}: Address already in use; name another with --host or --port"),
    ("--port 99999", "'99999' is not a whole number from 0 to 65535"),
    ("--max-pages 0", "'0' is not a whole number from 1 to 1000000"),
    ("--weights none.pdparams --port 0", "none.pdparams"),
    ("--host no.such.host.invalid", "no.such.host.invalid"),
])  # fmt: skip
def test_what_cannot_work_is_said_at_once(capsys, arguments, words):
    with socket.create_server(("127.0.0.1", 0)) as taken, contextlib.suppress(SystemExit):
        number = taken.getsockname()[1]
        assert app.main(arguments.format(taken=number).split()) == 2
    assert words.format(taken=number) in capsys.readouterr().err
