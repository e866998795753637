"""Puts the scripts of bench/ and acceptance/ on the path; a server of one answer."""

import socket
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[0:0] = [str(ROOT / "bench"), str(ROOT / "acceptance")]


@pytest.fixture
def one_answer():
    """A function that gives the port of a server, which takes one request and answers these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve(answer):
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        def start(answer):
            threading.Thread(target=serve, args=[answer], daemon=True).start()
            return server.getsockname()[1]

        yield start
