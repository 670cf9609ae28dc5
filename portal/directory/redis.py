"""RedisStore: the records of portals of many hosts in Redis or Valkey, at `redis://host:6379/0`."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from .._internal.redis_client import RedisClient, StoreClient, as_text, namespaced_prefix
from .store import Snapshot, StoredRecord

__all__ = ["RedisStore"]

_MAX_DIGITS = 18  # of a token
# KEYS: records (owner -> "token text"), ends (owner -> moment in ms), state (epoch, version, token).
_COMMON = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSETNX', KEYS[3], 'epoch', ARGV[1])
local function changed()
  redis.call('HINCRBY', KEYS[3], 'version', 1)
end
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)
for _, owner in ipairs(gone) do
  redis.call('HDEL', KEYS[1], owner)
  redis.call('ZREM', KEYS[2], owner)
end
if #gone > 0 then changed() end
local function token_of(owner)
  local found = redis.call('HGET', KEYS[1], owner)
  return found and string.match(found, '^(%d+) ')
end
local function write(owner, token, text, lease)
  redis.call('HSET', KEYS[1], owner, token .. ' ' .. text)
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + lease), owner)
end
"""
# The token is at least the time, so that it grows although the store has lost its memory.
_REGISTER = (
    _COMMON
    + """
local last = tonumber(redis.call('HGET', KEYS[3], 'token') or 0)
local token = string.format('%.0f', math.max(last + 1, now))
redis.call('HSET', KEYS[3], 'token', token)
write(ARGV[2], token, ARGV[3], tonumber(ARGV[4]))
changed()
return token
"""
)
_RENEW = (
    _COMMON
    + """
if token_of(ARGV[2]) ~= ARGV[3] then return 0 end
write(ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]))
return 1
"""
)
_HOLDS = """
local found = redis.call('HGET', KEYS[1], ARGV[1])
return found and string.match(found, '^(%d+) ') == ARGV[2] and 1 or 0
"""
_WITHDRAW = (
    _COMMON
    + """
local token = token_of(ARGV[2])
if not token or (ARGV[3] ~= '' and token ~= ARGV[3]) then return 0 end
redis.call('HDEL', KEYS[1], ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[2])
changed()
return 1
"""
)
_POLL = (
    _COMMON
    + """
local epoch = redis.call('HGET', KEYS[3], 'epoch')
local version = redis.call('HGET', KEYS[3], 'version') or '0'
if epoch == ARGV[2] and version == ARGV[3] then return 0 end
return {epoch, version, redis.call('HGETALL', KEYS[1])}
"""
)


class RedisStore:
    """Keeps records in a server that many hosts share. The leases run by the clock of the server.

    Args:
        source: a URL (redis, rediss, unix, valkey, valkeys), or a client of the redis or valkey package, which must
            have a socket timeout.
        namespace: consumers find the portals of one namespace.
        prefix: prefix of the keys in the store.

    Attributes:
        restricted: whether the URL holds a password.

    Raises: ConfigError for a wrong setting.

    Threads: any. After a fork, the client's pool in the child opens connections of its own.
    """

    def __init__(
        self, source: str | RedisClient, *, namespace: str = "default", prefix: str = "portal:directory"
    ) -> None:
        self.restricted = isinstance(source, str) and urlsplit(source).password is not None
        self._link = StoreClient(source, path="directory.store")
        base = namespaced_prefix(prefix, namespace)
        self._keys = [f"{{{base}}}:{name}" for name in ("records", "ends", "state")]
        register = self._link.client.register_script
        self._register, self._renew = register(_REGISTER), register(_RENEW)
        self._withdraw, self._poll = register(_WITHDRAW), register(_POLL)
        self._holds = register(_HOLDS)

    def register(self, owner: str, text: str, lease: float) -> int:
        """See `Store.register`."""
        values = [os.urandom(8).hex(), owner, text, _milliseconds(lease)]
        return int(self._link.run(lambda _: self._register(keys=self._keys, args=values)))

    def renew(self, owner: str, token: int, text: str, lease: float) -> bool:
        """See `Store.renew`."""
        values = [os.urandom(8).hex(), owner, str(token), text, _milliseconds(lease)]
        return bool(self._link.run(lambda _: self._renew(keys=self._keys, args=values)))

    def holds(self, owner: str, token: int) -> bool:
        """See `Store.holds`."""
        return bool(self._link.run(lambda _: self._holds(keys=self._keys, args=[owner, str(token)])))

    def withdraw(self, owner: str, token: int | None) -> None:
        """See `Store.withdraw`."""
        values = [os.urandom(8).hex(), owner, "" if token is None else str(token)]
        self._link.run(lambda _: self._withdraw(keys=self._keys, args=values))

    def poll(self, epoch: str | None, version: int) -> Snapshot | None:
        """See `Store.poll`."""
        values = [os.urandom(8).hex(), epoch or "", str(version)]
        found = self._link.run(lambda _: self._poll(keys=self._keys, args=values))
        if not isinstance(found, list):
            return None
        flat = [as_text(value) for value in found[2]]
        records = []
        for owner, kept in zip(flat[::2], flat[1::2], strict=True):
            token, _, text = kept.partition(" ")
            is_token = token.isdecimal() and len(token) <= _MAX_DIGITS  # else something other than Portal wrote it
            records.append(StoredRecord(owner, int(token) if is_token else 0, text if is_token else ""))
        return Snapshot(as_text(found[0]), int(found[1]), tuple(records))

    def close(self) -> None:
        """Close the connections that were opened for a URL."""
        self._link.close()


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
