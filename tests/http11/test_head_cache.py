from __future__ import annotations

from collections.abc import Callable

from portal.errors import ProtocolError
from portal.http11.head_cache import HeadCache
from portal.http11.request_head import RequestHead, parse_request_head
from tests.support.races import fast_switches, in_threads

HOST = b"Host: x\r\n"


def head(line: bytes = b"GET /a HTTP/1.1", headers: bytes = HOST) -> bytes:
    return line + b"\r\n" + headers + b"\r\n"


def test_equal_heads_are_parsed_once() -> None:
    cache = HeadCache(max_entries=2)
    cache.parse(head())
    again = cache.parse(head())  # it has come twice: now it is worth keeping
    assert cache.parse(head()) is again
    long = head(headers=HOST + b"A: " + b"b" * 2000 + b"\r\n")
    assert cache.parse(long) is not cache.parse(long)
    for number in range(30):
        for _ in range(3):
            assert cache.parse(head(b"GET /%d HTTP/1.1" % number)).path == f"/{number}"
    assert len(cache._heads) <= 2


def test_a_head_with_a_cached_prefix_equals_a_parsed_head() -> None:
    """A cached prefix gives the same head or error as a full parse."""
    start = b"POST /api/add?version=2 HTTP/1.1\r\nHost: x:1\r\nAccept: a/b\r\n"
    ends = [
        b"X-Request-ID: a-1\r\nContent-Length: 17\r\n\r\n",
        b"X-Request-ID: a-2\r\nX-Portal-Timeout: 30000\r\nContent-Length: 3\r\n\r\n",
        b"X-Request-ID: a-3\r\nContent-Length: 0\r\nIdempotency-Key: k\r\n\r\n",
        b"X-Request-ID: a-4\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"X-Request-ID: a-5\r\nContent-Length: 4\r\nConnection: close\r\n\r\n",
        b"X-Request-ID: a-6\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n",
        b"X-Request-ID: a-7\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"X-Request-ID: a-8\r\nContent-Length: +4\r\n\r\n",
        b"X-Request-ID: a-9\r\nHost: evil\r\nContent-Length: 4\r\n\r\n",
        b"X-Request-ID: a-10\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
        b"X-Request-ID: a-11\r\nX-Request-ID: again\r\nContent-Length: 4\r\n\r\n",
        b"X-Request-ID: a-11\r\ntraceparent: x\r\ntracestate: a=1\r\nContent-Length: 4\r\n\r\n",
        b"X-Request-ID: a-11\r\ntracestate: a=1\r\ntracestate: b=1\r\nContent-Length: 4\r\n\r\n",
        b"X-Request-ID: a-12\r\n folded\r\nContent-Length: 4\r\n\r\n",
        b"X-Request-ID: a\x00\r\nContent-Length: 4\r\n\r\n",
        b"X-Request-ID: a-13\r\n\r\n",
    ]

    def outcome(parse: Callable[[bytes], RequestHead], data: bytes) -> object:
        try:
            found = parse(data)
        except ProtocolError as error:
            return error.status, str(error)
        return {name: getattr(found, name) for name in RequestHead.__slots__ if name != "template"}

    cache = HeadCache()
    cache.parse(start + ends[0])
    expecting = start + b"Expect: 100-continue\r\n"
    for prefix in (start, start + b"Content-Type: a/b\r\n", start + b"Content-Length: 4\r\n", expecting):
        for end in ends * 2:
            assert outcome(cache.parse, prefix + end) == outcome(parse_request_head, prefix + end)
    assert cache._prefixes


def test_a_cached_prefix_does_not_raise_the_limit_of_headers() -> None:
    ids = b"X-Request-ID: a\r\nContent-Length: 4\r\n"
    more = b"X-Portal-Timeout: 1\r\ntraceparent: x\r\ntracestate: a=1\r\nIdempotency-Key: k\r\n"
    for repeated in range(93, 98):
        cache = HeadCache()
        for end in (ids, ids, ids + more[:21], ids + more):
            data = head(headers=HOST + b"A: b\r\n" * repeated + end)
            outcomes: list[object] = []
            for parse in (cache.parse, parse_request_head):
                try:
                    outcomes.append(parse(data).headers)
                except ProtocolError as error:
                    outcomes.append(str(error))
            assert outcomes[0] == outcomes[1]


def test_heads_that_repeat_or_continue_a_cached_one_share_its_template() -> None:
    cache = HeadCache()
    assert cache.parse(head()).template is None
    again = cache.parse(head())
    assert again.template is again
    assert cache.parse(head()).template is again
    ids = [head(b"POST /a HTTP/1.1", HOST + b"A: b\r\nX-Request-ID: %d\r\nContent-Length: 1\r\n" % n) for n in range(3)]
    first, second, third = (cache.parse(one) for one in ids)
    assert first.template is None
    assert second.template is third.template is not None
    assert second.template.headers == {"host": "x", "a": "b"}
    assert (second.template.method, second.template.path) == ("POST", "/a")
    assert second.headers["x-request-id"] == "1"


def test_threads_together_keep_no_more_heads_than_the_limit() -> None:
    cache = HeadCache(max_entries=4)
    prefix = b"POST /%d HTTP/1.1\r\nHost: x\r\nX-Request-ID: a\r\nContent-Length: 0\r\n\r\n"

    def work(number: int) -> int:
        most = 0
        for index in range(1500):
            for data in (head(b"GET /%d HTTP/1.1" % (index // 2)), prefix % (4 * index + number)):
                assert cache.parse(data).path.startswith("/")
                most = max(most, len(cache._heads), len(cache._prefixes), len(cache._seen) // 4)
        return most

    with fast_switches():
        assert max(in_threads(4, work)) <= 4
