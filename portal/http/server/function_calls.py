"""FunctionCalls: calls a function for each POST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..._internal.json_encoder import encode_json
from ..._internal.json_text import BodyDecoder
from ...calls.deadlines import limit_deadline
from ...calls.dispatcher import Dispatcher
from ...calls.middleware import Call
from ...catalogue import Entry
from ...context import CallContext
from ...errors import PortalError, ProtocolError, SerializationError, ValidationError
from ...http11.entity_tags import entity_tag, matches_tag, not_modified_headers
from ...schema.codecs.files import File, FileTable, file_of_json, files_of_call
from ...schema.transfer import Transfer
from ...serving import Request, Response
from ..messages.event_stream import JSON
from .deadline_responder import AroundLate, DeadlineResponder
from .error_responses import ErrorResponses
from .fault_places import name_places
from .files import file_params, file_response
from .negotiation import json_type, object_of, params_of, stream_type, transferred_params
from .stream_body import encode_items

__all__ = ["FunctionCalls", "json_response"]

_JSON_CONTENT = ("Content-Type", JSON)


class FunctionCalls:
    """Calls functions for requests.

    Args:
        dispatcher: runs the calls.
        errors: makes the responses of calls that fail.
        decoder: decodes the bodies.
        max_age: seconds for which clients may keep the results of cacheable functions without asking again.
        around_late: passes a response at a deadline through the HTTP middleware; None if there is none.

    Threads: any.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        errors: ErrorResponses,
        decoder: BodyDecoder,
        *,
        max_age: int,
        around_late: AroundLate | None,
    ) -> None:
        self._dispatcher = dispatcher
        self._errors = errors
        self._decoder = decoder
        self._cache_control = f"private, max-age={max_age}" if max_age else "private, no-cache"
        self._around_late = around_late

    def respond(self, entry: Entry, request: Request, context: CallContext, table: FileTable | None = None) -> Response:
        """Call a function with the parameters in the request's body.

        Args:
            table: the open table of files of this call; one is opened if the function has files.

        Raises: ProtocolError (406, 413, 415), SerializationError and ValidationError for a request that cannot be
            decoded.
        """
        function = entry.function
        schema = function.schema
        transfer = schema.transfer
        if schema.max_body is not None and request.body_size > schema.max_body:
            # The listener may have applied its own limit only.
            raise ProtocolError(f"the body must have at most {schema.max_body} bytes (max_body)", status=413)
        if transfer is None:
            params = params_of(request, self._decoder)
        elif table is None and (transfer.files or transfer.result):
            with files_of_call(FileTable(context, is_stable=context.idempotency_key is not None)) as opened:
                return self.respond(entry, request, context, opened)
        elif table is not None and transfer.files:
            params = file_params(request, self._decoder, transfer, schema.input, table)
        else:
            params = transferred_params(request, self._decoder, transfer)
        accept = request.headers.get("accept", "*/*")
        media = stream_type(accept) if schema.streaming else JSON if table is not None else json_type(accept)
        return self._respond(entry, params, request, context, media, table)

    def respond_plain(self, entry: Entry, request: Request, context: CallContext) -> Response:
        """Call a function that has no settings for requests; see `Route.is_plain`. Raises: as `respond`."""
        params = object_of(request.body, self._decoder)
        dispatcher = self._dispatcher
        if request.held is not None or not dispatcher.runs_here:
            return self._respond(entry, params, request, context, JSON, None)
        function = entry.function
        call: Call | None = None
        if self._around_late is not None:
            request.notes["function"] = entry.name
        try:
            if context.deadline is None and dispatcher.is_passthrough:
                result = dispatcher.call(function, params, context)
            else:
                call = Call(function, params, context, peer=request.peer, group=entry.group)
                if context.deadline is None:
                    result = dispatcher.run(call)
                else:
                    result = dispatcher.dispatch(call, self._responder(request, call, JSON))
        except PortalError as error:
            return self._failure_response(error, None, request, context, {} if call is None else call.replied)
        response = _result_response(function.name, result, context)
        if call is not None and call.replied:
            response.headers.extend(call.replied.items())
        return response

    def _respond(
        self,
        entry: Entry,
        params: dict[str, Any],
        request: Request,
        context: CallContext,
        media: str,
        table: FileTable | None,
    ) -> Response:
        function = entry.function
        schema = function.schema
        if self._around_late is not None:
            request.notes["function"] = entry.name
        call = Call(function, params, context, streaming=schema.streaming, peer=request.peer, group=entry.group)
        responder = None
        if schema.timeout is not None:
            limit_deadline(context, request.arrived + schema.timeout)
        if context.deadline is not None:
            responder = self._responder(request, call, media)
        connection = request.connection if request.held is not None else None  # a quick call is not cancelled
        if connection is not None:
            connection.on_reset(context.cancel)
        try:
            result = self._dispatcher.dispatch(call, responder)
        except PortalError as error:
            return self._failure_response(error, schema.transfer, request, context, call.replied)
        finally:
            if connection is not None:
                connection.on_reset(context.cancel, runs=False)
        if table is not None and not schema.streaming:
            file = _file_in(result, table, "" if schema.transfer is None else schema.transfer.result)
            if file is not None:
                response = file_response(file, request, context)
                response.headers.extend(call.replied.items())
                return response
            result = table.inlined(result)
        return self._stream(result, call, request, media) if schema.streaming else self._whole(result, call, request)

    def _failure_response(
        self,
        error: PortalError,
        transfer: Transfer | None,
        request: Request,
        context: CallContext,
        headers: Mapping[str, str],
    ) -> Response:
        if type(error) is ValidationError:
            error = name_places(error, transfer, request)
        return self._errors.respond(request, error, context, headers)

    def _responder(self, request: Request, call: Call, media: str) -> DeadlineResponder | None:
        """Return the responder at the deadline; None if only this thread can respond, which it then does in time."""
        early = request.share()
        if early is None:
            return None
        return DeadlineResponder(request, call, early, self._errors, self._around_late, media)

    def _whole(self, result: Any, call: Call, request: Request) -> Response:
        response = _result_response(call.function.name, result, call.context)
        if call.replied:
            response.headers.extend(call.replied.items())
        if call.function.schema.cacheable:
            assert isinstance(response.body, bytes)
            etag = entity_tag(response.body)
            response.headers += [("ETag", etag), ("Cache-Control", self._cache_control)]
            if matches_tag(request.headers.get("if-none-match"), etag):
                return Response(304, not_modified_headers(response.headers))
        return response

    def _stream(self, items: Any, call: Call, request: Request, media: str) -> Response:
        context = call.context
        if request.connection is not None and request.head.keep_alive:
            # A client that has said that this is its last request may close its side and still read the response.
            request.connection.on_hangup(context.cancel)
        headers = [
            ("Content-Type", media),
            ("Cache-Control", "no-store"),
            ("X-Request-ID", context.request_id),
            *call.replied.items(),
        ]
        return Response(200, headers, encode_items(items, media, context, self._errors.problem))


def _result_response(name: str, result: Any, context: CallContext) -> Response:
    try:
        return json_response(200, result, context, name)
    except SerializationError as error:  # of `validate_output="off"`, for example
        error.delivery = "executed"
        raise


def json_response(status: int, value: Any, context: CallContext, operation: str | None = None) -> Response:
    """Return a response with a JSON body. Raises: SerializationError, which names the operation."""
    try:
        body = encode_json(value)
    except SerializationError as error:
        raise error.with_context(operation=operation) from None
    return Response(status, [_JSON_CONTENT, ("X-Request-ID", context.request_id)], body)


def _file_in(result: Any, table: FileTable, kind: str) -> File | None:
    """Return the file that a result is, or None. A result that a middleware has cached has the file as base64."""
    file = table.file_in(result)
    if file is not None or not kind:
        return file
    try:
        return file_of_json(result, kind)
    except (LookupError, TypeError, ValueError):  # None, or a result that a middleware has replaced
        return None
