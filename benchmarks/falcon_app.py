"""The peer of `servers.py` that runs in granian: Falcon, with msgspec to decode, validate and encode.

Granian imports `app`. The types of the parameters are checked and an unknown parameter is rejected, as Portal does.
"""

from __future__ import annotations

import falcon
import msgspec

from .workload import add

__all__ = ["app"]


class _Params(msgspec.Struct, forbid_unknown_fields=True):
    a: float
    b: float


_decode = msgspec.json.Decoder(_Params).decode
_encode = msgspec.json.Encoder().encode


class _Add:
    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        try:
            params = _decode(request.bounded_stream.read())
        except msgspec.ValidationError as error:
            raise falcon.HTTPUnprocessableEntity(description=str(error)) from error
        except msgspec.DecodeError as error:
            raise falcon.HTTPBadRequest(description=str(error)) from error
        response.content_type = "application/json"
        response.data = _encode(add(params.a, params.b))


app = falcon.App()
app.add_route("/add", _Add())
