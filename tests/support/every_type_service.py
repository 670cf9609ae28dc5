"""Functions of every kind of type, flag and rule, to hold the OpenAPI document against the server.

They return their parameters, so that each value the document allows in a request comes back in a response.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict
from uuid import UUID

from marshmallow import RAISE, Schema, fields, validate

from portal import (
    ApiKeyAuth,
    BasicAuth,
    BearerAuth,
    Function,
    HTTPPortal,
    Idempotency,
    RateLimit,
    Service,
    function,
)
from portal import service as mark
from portal.schema.constraints import (
    Description,
    Example,
    Ge,
    Gt,
    Le,
    Lt,
    MaxLen,
    MinLen,
    MultipleOf,
    Pattern,
    Unique,
)

__all__ = ["API_KEY", "PASSWORD", "TOKEN", "functions", "portal", "protected", "service"]

TOKEN, API_KEY, PASSWORD = "t0ken", "k3y", "s3cret"


class Size(enum.Enum):
    """An enum."""

    SMALL = "small"
    LARGE = 42


class Level(enum.IntEnum):
    """An enum of whole numbers."""

    LOW = 1
    HIGH = 2


@dataclass
class Point:
    """A record with a default."""

    x: float
    y: Annotated[float, Ge(-1000), Le(1000)] = 0.0
    label: str | None = None
    tags: list[str] = field(default_factory=list)


@dataclass
class Tree:
    """A record that contains itself."""

    name: Annotated[str, MinLen(1)]
    children: list[Tree] = field(default_factory=list)


class Person(TypedDict):
    """A typed dict."""

    name: str
    born: NotRequired[date]


class Span(NamedTuple):
    """A named tuple."""

    start: int
    stop: int = 10


class Contact(Schema):
    """A marshmallow schema."""

    class Meta:
        unknown = RAISE

    name = fields.String(required=True, validate=validate.Length(1, 50))
    kind = fields.String(validate=validate.OneOf(["friend", "colleague"]), load_default="friend")
    nicknames = fields.List(fields.String(), load_default=list)


RAW: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A raw JSON Schema",
    "type": "object",
    "properties": {
        "kind": {"enum": ["circle", "square"]},
        "size": {"$ref": "#/$defs/size"},
        "colour": {"type": ["string", "null"], "maxLength": 20, "default": None},
        "corner": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "integer"}], "items": False},
        "more": {"type": "object", "additionalProperties": {"type": "number"}},
    },
    "required": ["kind", "size"],
    "additionalProperties": False,
    "$defs": {"size": {"type": "number", "exclusiveMinimum": 0, "maximum": 1000000}},
}


@mark(name="all_types", version="1")
class AllTypes:
    """One function for each kind of type."""

    @function(idempotent=True)
    def scalars(self, flag: bool, whole: int, real: float, text: str, nothing: None = None) -> dict[str, Any]:
        """The types that JSON has."""
        return {"flag": flag, "whole": whole, "real": real, "text": text, "nothing": nothing}

    @function(idempotent=True, cacheable=True)
    def choices(
        self, size: Size, level: Level, word: Literal["a", "b", 3, None], maybe: int | str | None = None
    ) -> Size:
        """Enums, literals, unions."""
        return size

    @function()
    def united(self, one: int | list[int] | Point, other: date | bool | None = None) -> int | list[int] | Point:
        """A union of unlike members."""
        return one

    @function()
    def moment(self, at: datetime) -> datetime:
        """A date-time with its offset."""
        return at

    @function()
    def calendar(self, on: date, when: time, span: timedelta) -> tuple[date, time, timedelta]:
        """Dates, times of day, durations."""
        return on, when, span

    @function()
    def exact(self, amount: Decimal, key: UUID) -> tuple[Decimal, UUID]:
        """Decimals and UUIDs, as text."""
        return amount, key

    @function()
    def binary(self, blob: bytes = b"") -> bytes:
        """Bytes, as base64."""
        return blob

    @function(idempotent=True)
    def record(self, point: Point, person: Person, span: Span, tree: Tree | None = None) -> Point:
        """Dataclass, typed dict, named tuple, a record that contains itself."""
        return point

    @function()
    def tree(self, tree: Tree) -> Tree:
        """A record that contains itself."""
        return tree

    @function()
    def containers(
        self,
        several: list[int],
        pair: tuple[int, str],
        row: tuple[float, ...],
        distinct: set[str],
        table: dict[str, float],
        frozen: frozenset[int] = frozenset(),
        by_code: Mapping[Annotated[str, Pattern("^[a-z]{2}$")], int] | None = None,
    ) -> set[str]:
        """Lists, tuples, sets, dicts."""
        return distinct

    @function()
    def constrained(
        self,
        percent: Annotated[float, Ge(0), Le(100)],
        between: Annotated[int, Gt(0), Lt(10)],
        even: Annotated[int, MultipleOf(2)],
        code: Annotated[str, Pattern("^[A-Z]{3}$"), Description("Three letters."), Example("ABC")],
        name: Annotated[str, MinLen(1), MaxLen(8)],
        few: Annotated[list[int], MinLen(1), MaxLen(3), Unique()],
    ) -> Annotated[str, MinLen(1), MaxLen(8)]:
        """Numbers, texts and lists within bounds."""
        return name

    @function()
    def anything(self, value: Any, more: list[Any] | None = None) -> Any:
        """Any JSON value."""
        return value

    @function()
    def nothing(self) -> None:
        """No parameters and no result."""

    @function(input={"contact": fields.Nested(Contact, required=True)}, output=Contact)
    def marshmallow(self, contact: dict[str, Any]) -> dict[str, Any]:
        """A marshmallow schema both ways."""
        return contact

    @function(input=RAW, output=RAW)
    def raw(self, **given: Any) -> dict[str, Any]:
        """A raw JSON Schema both ways."""
        return given

    @function(idempotent=True)
    def count(self, stop: Annotated[int, Ge(0), Le(50)]) -> Iterator[int]:
        """A stream of numbers."""
        yield from range(stop)

    @function()
    def points(self, number: Annotated[int, Ge(0), Le(20)] = 3) -> Iterator[Point]:
        """A stream of records."""
        for index in range(number):
            yield Point(float(index))

    @function(deprecated=True, timeout=5.0, tags=("old",))
    def old(self, a: int = 0) -> int:
        """A deprecated function."""
        return a


service = Service.of(AllTypes)


def functions() -> list[Function]:
    """Return two versions of one function, and a function whose name is not an identifier."""

    def add(a: int, b: int) -> int:
        """Add whole numbers."""
        return a + b

    def greater(a: Decimal, b: Decimal = Decimal(0)) -> Decimal:
        """The greater of two decimals: a sum may have more digits than there is memory."""
        return max(a, b)

    def greet(name: str) -> str:
        return f"hello {name}"

    return [
        function(name="add", version="1", deprecated=True)(add),
        function(name="add", version="2", idempotent=True)(greater),
        function(name="greet-people.now")(greet),
    ]


def portal() -> HTTPPortal:
    """Return a portal with all of it and without authentication. The caller closes it."""
    return _filled(HTTPPortal(middleware=[Idempotency()]))


def protected() -> HTTPPortal:
    """Return a portal with all of it that needs a token, an API key or a password. The caller closes it.

    It has a rate limit that is never reached, so that the headers and the 429 are in the document.
    """
    http = HTTPPortal(
        auth=[BearerAuth({TOKEN: "ann"}), ApiKeyAuth({API_KEY: "bob"}), BasicAuth({"eve": PASSWORD})],
        middleware=[RateLimit("1000000/second", per="identity"), Idempotency()],
    )
    return _filled(http)


def _filled(http: HTTPPortal) -> HTTPPortal:
    http.apply_service(service)
    for one in functions():
        http.apply(one)
    return http
