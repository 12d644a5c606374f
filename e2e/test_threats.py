"""Clients that mean no good: replays, smuggling, oversized and slow requests, floods of connections. Each is refused, costs
the server a bounded amount, and leaves it answering others."""

import contextlib
import socket
import urllib.parse

import pytest

from harness.signing import Raw

# More than the server holds at once.
FLOOD = 1100


@contextlib.contextmanager
def _connection(url):
    address = urllib.parse.urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as made:
        yield made


def _read_all(connection):
    pieces = []
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def _signed(root):
    return Raw.json(root, "kms", "ListKeys", b"{}").sign()


def _head(signed, *more):
    lines = ["POST / HTTP/1.1", *(f"{name}: {value}" for name, value in signed.headers.items()), *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def _responsive(root):
    assert _signed(root).send().status == 200


def test_a_replay_is_answered_while_it_is_fresh_and_says_nothing_new(root):
    """SigV4 has no nonce: the same request within its minutes is the same request, as with AWS."""
    signed = _signed(root)
    assert signed.send().status == 200 and signed.send().status == 200
    old = Raw.json(root, "kms", "ListKeys", b"{}").sign(late=-600)
    assert (old.send().status, old.send().code) == (400, "InvalidSignatureException")


@pytest.mark.parametrize("headers", [
    ("Content-Length: 2", "Transfer-Encoding: chunked"),
    ("Transfer-Encoding: chunked", "Content-Length: 2"),
    ("Content-Length: 2", "Content-Length: 30"),
    ("Content-Length: 2, 30",),
    ("Content-Length: +2",),
    ("Content-Length: -1",),
    ("Transfer-Encoding: chunked, identity",),
    ("Transfer-Encoding: xchunked",),
    ("Transfer-Encoding : chunked",),
    ("Content-Length: 2", " folded: yes"),
], ids=" & ".join)
def test_two_ways_to_end_a_request_smuggle_none(root, headers):
    """Whatever such a request is answered by, what follows it on the connection is never taken for a second one."""
    signed = _signed(root)
    inner = _head(signed, "Content-Length: 2", "Connection: close") + b"{}"
    with _connection(root.url) as connection:
        connection.sendall(_head(signed, *headers) + b"0\r\n\r\n" + inner)
        connection.shutdown(socket.SHUT_WR)
        answer = _read_all(connection)
    assert answer.count(b"HTTP/1.1 200") == 0, answer
    _responsive(root)


def test_bare_line_ends_and_control_characters_in_headers_are_refused(root):
    for odd in (b"X-A: a\rb: c", b"X-A: a\x00b", b"X A: b", b"X-A\x7f: b", b": b"):
        with _connection(root.url) as connection:
            connection.sendall(_head(_signed(root), "Content-Length: 2")[:-2] + odd + b"\r\n\r\n{}")
            connection.shutdown(socket.SHUT_WR)
            assert b"HTTP/1.1 200" not in _read_all(connection), odd
    _responsive(root)


def test_a_body_larger_than_any_request_is_refused_unread(root):
    signed = _signed(root)
    with _connection(root.url) as connection:
        connection.sendall(_head(signed, "Content-Length: 1099511627776", "Connection: close"))
        connection.sendall(b"x" * 65536)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(64):
                connection.sendall(b"x" * 65536)
        answer = _read_all(connection)
    assert answer == b"" or b"413 Payload Too Large" in answer.split(b"\r\n")[0], answer[:200]
    with _connection(root.url) as connection:
        connection.sendall(_head(signed, "Transfer-Encoding: chunked", "Connection: close"))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(64):
                connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        answer = _read_all(connection)
    assert answer == b"" or b"413 Payload Too Large" in answer.split(b"\r\n")[0], answer[:200]
    _responsive(root)


def test_a_head_larger_than_any_is_refused(root):
    with _connection(root.url) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n")
            for number in range(20000):
                connection.sendall(b"X-H%d: %s\r\n" % (number, b"x" * 100))
            connection.shutdown(socket.SHUT_WR)
        answer = _read_all(connection)
    assert answer == b"" or b"431" in answer.split(b"\r\n")[0], answer[:200]
    _responsive(root)


@pytest.mark.parametrize("begun", [b"", b"POST / HT", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx"],
                         ids=["silent", "half a head", "half a body"])
def test_a_flood_of_slow_connections_keeps_nobody_out(own_root, begun):
    """All places are taken by clients that never finish a request: who asks is answered at their expense."""
    with contextlib.ExitStack() as opened:
        flood = []
        for _ in range(FLOOD):
            made = opened.enter_context(_connection(own_root.url))
            made.sendall(begun)
            flood.append(made)
        _responsive(own_root)
        assert _read_all(flood[0]) == b"", "the oldest connection has made room"
        flood[-1].setblocking(False)
        with pytest.raises(BlockingIOError):
            flood[-1].recv(1)
