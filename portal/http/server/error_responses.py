"""ErrorResponses: the response to a request that fails: its headers, and its log line.

The body is a problem document; `network/problem.py` says which members it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..._internal.log import get_logger
from ...auth.authentication import Authenticator, challenges_of
from ...context import CallContext, new_request_id
from ...errors import PortalError, ProtocolError
from ...function.failure import limit_exposure
from ...network.failure_log import log_failure
from ...network.problem import encode_problem
from ...network.problem_response import problem_response
from ...serving import Request, Response

__all__ = ["METHODS_OF_FUNCTION", "ErrorResponses"]

_log = get_logger("portal.http")
METHODS_OF_FUNCTION = "GET, HEAD, OPTIONS, POST"
_NO_HEADERS: Mapping[str, str] = {}


class ErrorResponses:
    """Makes responses of errors.

    Args:
        authenticators: name their challenges in the response to a missing or invalid credential.
        debug: whether clients see what functions raise.

    Threads: any.
    """

    def __init__(self, authenticators: Iterable[Authenticator], *, debug: bool) -> None:
        self._authenticators = tuple(authenticators)
        self._debug = debug

    def respond(
        self,
        request: Request,
        error: PortalError,
        context: CallContext | None,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> Response:
        """Return the response to a request, and note the error's code for the request log.

        Args:
            context: of the call, if it was known by then.
            headers: go with the response.
        """
        limit_exposure(error)  # that of a function is limited already; that of a middleware is not
        request.notes["code"] = error.code
        request_id = context.request_id if context is not None else new_request_id()
        rows = list(headers.items())
        if error.status == 405 and "Allow" not in headers:
            rows.append(("Allow", METHODS_OF_FUNCTION))
        if error.status == 401:
            rows += [("WWW-Authenticate", challenge) for challenge in challenges_of(error, self._authenticators)]
        log_failure(_log, error, request_id)
        return problem_response(error, request_id, rows, debug=self._debug)

    def internal(self, request: Request, error: Exception, context: CallContext | None) -> Response:
        """Return the response to a request on which Portal itself, or a middleware, has failed."""
        return self.respond(request, PortalError("internal error", cause=error), context)

    def unsupported_coding(self, request: Request, context: CallContext) -> Response:
        """Return 415 with Accept-Encoding, so that the client may send the same body uncompressed."""
        coding = request.headers["content-encoding"]
        error = ProtocolError(f"the body is encoded as {coding[:40]!r}, which is not supported here", status=415)
        return self.respond(request, error, context, {"Accept-Encoding": "identity"})

    def problem(self, error: PortalError, context: CallContext | None) -> bytes:
        """Return the problem document of an error, and log it if a function raised it."""
        limit_exposure(error)
        log_failure(_log, error, context.request_id if context is not None else "-")
        return encode_problem(error, debug=self._debug)
