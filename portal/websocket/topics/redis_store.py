"""RedisTopicStore: events of topics in Redis or Valkey Streams, for any number of processes and hosts.

A topic has a hash with its epoch, its last offset and its bytes, and a stream with its events. A script adds an event,
numbers it and trims the stream. The id of an entry is `<start of the epoch in ms>-<offset>`, so that the entries of a
new epoch come after those of the one before, and one XREAD finds both.

An epoch ends when the store has lost its memory: its hash is gone, or its last offset is smaller than one that a
process has seen, as after a fail-over to a replica that lagged.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from time import monotonic, sleep
from typing import Any, TypeVar

from ..._internal.at_fork import renew_after_fork
from ..._internal.background import BackgroundLoop
from ..._internal.conditions import Event
from ..._internal.log import get_logger
from ..._internal.redis_client import RedisClient, StoreClient, StoreUnavailable, as_text, namespaced_prefix
from ..._internal.settings import text
from ...errors import OverloadedError, SerializationError
from .event import Offset, TopicEvent
from .topic import Topic

__all__ = ["RedisTopicStore"]

_log = get_logger("portal.topics")
_Found = TypeVar("_Found")
_BATCH = 1000  # entries of one XREAD
_BLOCK = 5.0  # seconds for which one XREAD waits
_PAUSE = 0.1  # seconds after the store did not respond
_MARGIN = 5.0  # seconds more until a reader gives up a store that does not respond

#: Returns {epoch, offset}; begins an epoch if there is none, or if it has lost events that the caller has seen.
_BEGIN = """
local function begin(meta, stream, fresh, seen_epoch, seen_offset)
  local kept = redis.call('HMGET', meta, 'epoch', 'offset', 'bytes', 'start')
  local epoch, offset, bytes, start = kept[1], tonumber(kept[2] or 0), tonumber(kept[3] or 0), tonumber(kept[4] or 0)
  if not epoch or (seen_epoch == epoch and offset < tonumber(seen_offset)) then
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local last = redis.call('EXISTS', stream) == 1 and redis.call('XINFO', 'STREAM', stream)[8] or '0-0'
    start = math.max(now, start + 1, tonumber(string.match(last, '^(%d+)')) + 1)
    epoch, offset, bytes = fresh, 0, 0
    redis.call('XTRIM', stream, 'MAXLEN', 0)
    redis.call('HSET', meta, 'epoch', epoch, 'offset', 0, 'bytes', 0, 'start', string.format('%.0f', start))
  end
  return epoch, offset, bytes, start
end
"""
_CURRENT = (
    _BEGIN
    + """
local epoch, offset, _, start = begin(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
local time = redis.call('TIME')
return {epoch, offset, string.format('%.0f', start), string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))}
"""
)
_APPEND = (
    _BEGIN
    + """
local epoch, offset, bytes, start = begin(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
local max_events, max_bytes, age = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
offset = offset + 1
local prefix = string.format('%.0f', start) .. '-'
redis.call('XADD', KEYS[2], prefix .. offset, 'e', epoch, 't', string.format('%.0f', now), 'd', ARGV[7], 's', ARGV[8],
  unpack(ARGV, 9))
bytes = bytes + tonumber(ARGV[8])
local length = redis.call('XLEN', KEYS[2])
while length > 1 do
  local entry = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  local fields = entry[2]
  if length <= max_events and bytes <= max_bytes and (age < 0 or tonumber(fields[4]) + age > now) then break end
  bytes = bytes - tonumber(fields[8])
  redis.call('XDEL', KEYS[2], entry[1])
  length = length - 1
end
redis.call('HSET', KEYS[1], 'offset', offset, 'bytes', bytes)
return {epoch, offset}
"""
)


class _Followed:
    """A topic whose stream is read.

    Attributes:
        last: the id of the last entry that the topic has.
    """

    __slots__ = ("last", "lock", "topic")

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.lock = threading.Lock()  # held while entries are passed to the topic, so that they come in order
        self.last = (0, 0)


class RedisTopicStore:
    """Keeps the events of topics in a store that several processes share.

    One thread of the process reads the streams of all its topics.

    Args:
        source: a URL (redis, rediss, unix, valkey, valkeys), or a client of the redis or valkey package, which must
            have a socket timeout.
        namespace: portals of one namespace share their topics.
        prefix: prefix of the keys in the store.
        clock: seconds, as `time.monotonic`.
        pause: waits for seconds after the store did not respond.

    Raises: ConfigError for a wrong setting. Methods raise OverloadedError if the store does not respond.

    Threads: any. Fork: a child reads with a thread of its own.
    """

    def __init__(
        self,
        source: str | RedisClient,
        *,
        namespace: str,
        prefix: str = "portal:topics",
        clock: Callable[[], float] = monotonic,
        pause: Callable[[float], object] = sleep,
    ) -> None:
        text("topics.prefix", prefix)
        self._prefix = namespaced_prefix(prefix, namespace)
        self._clock, self._pause = clock, pause
        self._link = StoreClient(source, path="topics.store")
        self._reading = StoreClient(source, path="topics.store", timeout=_BLOCK + _MARGIN, pause=0.1)
        self._block = _block_of(self._reading.client)
        self._current = self._link.client.register_script(_CURRENT)
        self._append = self._link.client.register_script(_APPEND)
        self._loop = BackgroundLoop("portal-topics", self._read, clock=clock)
        self._closed = False
        self._followed: dict[str, _Followed] = {}
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Start without a thread; called by `__init__`, and in a child process, whose topics are read on."""
        self._lock = threading.Lock()  # guards the attributes around it
        self._has_work = Event()  # set while there are topics, and at the end
        self._wake_key = f"{self._prefix}:wake:{os.urandom(8).hex()}"  # of this process: an entry wakes the thread
        self._woken = "0-0"
        self._stale = True  # whether the store may have lost events since the last step
        if self._followed and not self._closed:
            self._has_work.set()
            self._loop.start()

    # see TopicStore

    def attach(self, topic: Topic) -> None:
        """Pass the events that are kept to a topic, and from now on each new one."""
        followed = _Followed(topic)
        self._load(followed)
        with self._lock:
            self._followed[topic.name] = followed
            self._has_work.set()
        self._loop.start()
        self._wake()

    def detach(self, topic: Topic) -> None:
        """Pass nothing more to a topic."""
        with self._lock:
            self._followed.pop(topic.name, None)
            if not self._followed and not self._closed:
                self._has_work.clear()

    def append(self, topic: Topic, data: bytes, key: str | None, to: str | None) -> Offset:
        """Keep an event and return its offset; it reaches the topic through the stream."""
        retain = topic.retain
        age = -1 if retain.age is None else round(retain.age * 1000)
        size = len(data) + len(key or "")
        optional = [*(("k", key) if key is not None else ()), *(("o", to) if to is not None else ())]
        seen = topic.position
        values = [topic.fresh_epoch(), *seen, retain.events, retain.bytes, age, data, size, *optional]
        epoch, offset = self._run(lambda _: self._append(keys=self._keys(topic), args=values))
        return Offset(as_text(epoch), int(offset))

    def sync(self, topic: Topic) -> None:
        """Pass the events that are kept to the topic, if it does not have them yet."""
        with self._lock:
            followed = self._followed.get(topic.name)
        if followed is not None:
            self._load(followed)

    def close(self) -> None:
        """End the thread and the connections."""
        with self._lock:
            self._closed = True
            self._followed.clear()
            self._has_work.set()
        self._wake()
        self._loop.stop(1.0)
        self._reading.close()
        self._link.close()

    def _run(self, use: Callable[[Any], _Found]) -> _Found:
        try:
            return self._link.run(use)
        except StoreUnavailable as error:
            words = f"the store of the topics does not respond: {error}"
            raise OverloadedError(words, retry_after=1.0, delivery="unknown", cause=error) from error

    def _keys(self, topic: Topic) -> list[str]:
        share = f"{self._prefix}:{{{topic.name}}}"
        return [f"{share}:meta", f"{share}:events"]

    def _load(self, followed: _Followed) -> None:
        """Pass the entries after the last one, and what the store says of the epoch."""
        topic = followed.topic
        keys = self._keys(topic)
        seen = topic.position if followed.last != (0, 0) else Offset("", 0)
        values = [topic.fresh_epoch(), *seen]
        epoch, offset, start, now = self._run(lambda _: self._current(keys=keys, args=values))
        entries = self._run(lambda client: client.xrange(keys[1], min=_after(followed.last)))
        moment = int(now) / 1000
        self._pass(followed, entries, lambda at: self._clock() - max(0.0, moment - at))
        with followed.lock:
            last = (int(start), int(offset))
            if followed.last < last:
                followed.last = last
                topic.receive(as_text(epoch), (), head=int(offset))

    def _pass(self, followed: _Followed, entries: Iterable[Any], at: Callable[[float], float]) -> None:
        """Pass new entries to the topic."""
        with followed.lock:
            by_epoch, last = dict[str, list[TopicEvent]](), followed.last
            for entry_id, fields in entries:
                milliseconds, _, number = as_text(entry_id).partition("-")
                place = (int(milliseconds), int(number))
                if place <= last:
                    continue
                last = place
                found = {as_text(name): value for name, value in fields.items()}
                event = _event(place[1], found, at)
                if event is not None:
                    by_epoch.setdefault(as_text(found["e"]), []).append(event)
            for epoch, events in by_epoch.items():
                followed.topic.receive(epoch, events)  # it skips those that it has
            followed.last = last  # at the end, so that what an error has interrupted is read again

    # in the thread

    def _read(self) -> None:
        """Wait for entries of any topic, and pass them."""
        self._has_work.wait()
        with self._lock:
            followed = {self._keys(one.topic)[1]: one for one in self._followed.values()}
            closed = self._closed
        if closed or not followed:
            return
        try:
            if self._stale:
                for one in followed.values():
                    self._load(one)
                self._stale = False
            streams = {key: "{}-{}".format(*one.last) for key, one in followed.items()} | {self._wake_key: self._woken}
            block = round(self._block * 1000)
            found = self._reading.run(lambda client: client.xread(streams, count=_BATCH, block=block))
        except (StoreUnavailable, OverloadedError):
            self._stale = True
            self._pause(_PAUSE)
            return
        for key, entries in found or ():
            name = as_text(key)
            if name == self._wake_key:
                self._woken = as_text(entries[-1][0])
            else:
                self._pass(followed[name], entries, lambda _: self._clock())

    def _wake(self) -> None:
        """Let the thread look again at the topics that it reads."""

        def add(client: Any) -> None:
            client.xadd(self._wake_key, {"w": 1}, maxlen=1, approximate=False)
            client.expire(self._wake_key, 60)

        try:
            self._link.run(add)
        except StoreUnavailable as error:
            _log.debug("the reader of topics was not woken: %s", error)


def _event(offset: int, fields: dict[str, Any], at: Callable[[float], float]) -> TopicEvent | None:
    try:
        data = fields["d"]
        key, to = fields.get("k"), fields.get("o")
        return TopicEvent(
            offset,
            data if isinstance(data, bytes) else data.encode(),
            None if key is None else as_text(key),
            None if to is None else as_text(to),
            at(int(fields["t"]) / 1000),
        )
    except (KeyError, ValueError, SerializationError) as error:
        _log.error("an entry of a topic was not written by Portal: %s: %s", type(error).__name__, error)
        return None


def _after(last: tuple[int, int]) -> str:
    return "-" if last == (0, 0) else f"({last[0]}-{last[1]}"


def _block_of(client: Any) -> float:
    """Return the seconds for which a read may wait, within the socket timeout of the client."""
    pool = getattr(client, "connection_pool", None)
    timeout = getattr(pool, "connection_kwargs", {}).get("socket_timeout") or _BLOCK + _MARGIN
    return max(0.001, min(_BLOCK, timeout / 2))
