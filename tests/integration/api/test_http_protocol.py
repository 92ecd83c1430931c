"""The API behind a real uvicorn, spoken to with raw sockets, curl and Java's own client."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.fakes.served_api import served_api

BODY = json.dumps({"messages": [{"role": "user", "content": "Say hello 🙂."}], "max_tokens": 4}).encode()
STREAMED = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "stream": True}).encode()
OFFER = "Connection: {connection}\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
SECONDS = 20


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with served_api(tmp_path_factory.mktemp("served")) as port:
        yield port


def request(framing: str, connection: str = "Upgrade, HTTP2-Settings", offer: str = OFFER) -> bytes:
    """Return a POST that offers h2c, with its body framed by `Content-Length` or in chunks."""
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    head += offer.format(connection=connection)
    if framing == "length":
        return f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
    chunks = [BODY[:7], BODY[7:30], BODY[30:]]
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + framed + b"0\r\n\r\n"


class Connection:
    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, *segments: bytes) -> None:
        for segment in segments:
            self._socket.sendall(segment)

    def answer(self) -> tuple[int, bytes]:
        """Read one answer that has a length. Return its status and its body."""
        status = int(self._file.readline().split()[1])
        length = 0
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return status, self._file.read(length)

    def rest(self) -> bytes:
        """Read until the server closes the connection."""
        return self._file.read()


def is_answered(given: tuple[int, bytes]) -> bool:
    status, body = given
    return status == 200 and "24 months" in json.loads(body)["choices"][0]["message"]["content"]


def halves(data: bytes) -> Iterator[Sequence[bytes]]:
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    for at in range(1, len(data), 5):
        yield [data[:at], data[at:]]


@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("connection", ["Upgrade, HTTP2-Settings", "keep-alive, upgrade", "HTTP2-Settings,Upgrade"])
def test_an_offer_of_h2c_is_declined_and_the_connection_goes_on(port: int, framing: str, connection: str) -> None:
    with Connection(port) as client:
        for segments in halves(request(framing, connection)):
            client.send(*segments)
            assert is_answered(client.answer())


def test_pipelined_offers_are_answered_in_their_order(port: int) -> None:
    with Connection(port) as client:
        client.send((request("length") + request("chunks") + b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n") * 20)
        for _ in range(20):
            assert is_answered(client.answer())
            assert is_answered(client.answer())
            assert client.answer()[0] == 200


def test_an_offer_that_ends_the_connection_ends_it(port: int) -> None:
    with Connection(port) as client:
        client.send(request("length", "close, Upgrade"))
        assert is_answered(client.answer())
        assert client.rest() == b""


def test_a_websocket_is_declined_like_any_other_protocol(port: int) -> None:
    offer = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n"
    with Connection(port) as client:
        client.send(request("length", offer=offer))
        assert is_answered(client.answer())


@pytest.mark.parametrize("target", ["/v1/models", "api:80"])
def test_a_tunnel_is_refused(port: int, target: str) -> None:
    with Connection(port) as client:
        client.send(
            f"CONNECT {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n".encode()
        )
        assert client.answer()[0] in (400, 403, 404, 405)


@pytest.mark.parametrize("extra", ["", "Connection: keep-alive\r\n", "Connection: Upgrade\r\nUpgrade: h2c\r\n"])
def test_a_stream_for_http_1_0_ends_with_the_connection(port: int, extra: str) -> None:
    head = f"POST /v1/chat/completions HTTP/1.0\r\nContent-Type: application/json\r\n{extra}"
    with Connection(port) as client:
        client.send(f"{head}Content-Length: {len(STREAMED)}\r\n\r\n".encode() + STREAMED)
        head_sent, _, body = client.rest().partition(b"\r\n\r\n")
    assert b" 200 " in head_sent.splitlines()[0]
    assert b"transfer-encoding" not in head_sent.lower()
    assert body.startswith(b"data: {")
    assert body.endswith(b"data: [DONE]\n\n")


def test_an_answer_with_a_length_keeps_it_for_http_1_0(port: int) -> None:
    with Connection(port) as client:
        client.send(b"GET /health HTTP/1.0\r\n\r\n")
        status, body = client.answer()
        assert status == 200
        assert json.loads(body)["status"] == "ok"
        assert client.rest() == b""


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_curl_that_offers_http2_is_answered(port: int, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(BODY)
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    given = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "--http2", "-H", "content-type: application/json", "-d", "@body", url],
        cwd=tmp_path, capture_output=True, check=True, timeout=SECONDS,
    )  # fmt: skip
    assert is_answered((200, given.stdout))


JAVA = """
import java.net.URI;
import java.net.http.*;
import java.nio.file.*;

public class Post {
    public static void main(String[] given) throws Exception {
        HttpClient client = HttpClient.newHttpClient();  // offers h2c, as it does by default
        for (HttpRequest.BodyPublisher body : new HttpRequest.BodyPublisher[] {
                HttpRequest.BodyPublishers.ofFile(Path.of(given[1])),
                HttpRequest.BodyPublishers.ofInputStream(() -> {
                    try { return Files.newInputStream(Path.of(given[1])); } catch (Exception e) { return null; } }) }) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(given[0]))
                .header("Content-Type", "application/json").POST(body).build();
            HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.body());
        }
    }
}
"""


@pytest.mark.check
@pytest.mark.skipif(not shutil.which("javac"), reason="there is no Java compiler")
def test_javas_own_client_is_answered(port: int, tmp_path: Path) -> None:
    (tmp_path / "Post.java").write_text(JAVA)
    (tmp_path / "body").write_bytes(BODY)
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    done = subprocess.run(
        ["java", "-Xmx64m", "Post.java", url, "body"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    for line in lines:
        status, _, body = line.partition(" ")
        assert is_answered((int(status), body.encode()))
