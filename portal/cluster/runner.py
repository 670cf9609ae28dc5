"""ClusterRunner: run the functions of any portal on a Dask cluster, by `executor=client.get_executor()`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ..context import CallContext
from ..errors import ConfigError, SerializationError, TransportError
from ..function import Function
from ..schema.codecs.files import current_table, with_base64
from .chunk import pack_call
from .connection import ClusterConnection
from .outcomes import result_of
from .packing import pack_by_name, pack_unchecked

__all__ = ["ClusterRunner"]


class ClusterRunner:
    """Runs calls as a DaskPortal does: each one runs, once unless its function is idempotent, until its deadline.

    The executor itself runs equal calls once and runs a call again whose worker has died.

    Args:
        executor: of a Dask client. Its `workers=`, `resources=` and other options apply; the client is not closed here.

    Raises: ConfigError for another executor, and for a cluster inside of this process.

    Threads: any. Fork: the client cannot be used in a child.
    """

    def __init__(self, executor: Any) -> None:
        client, options = getattr(executor, "_client", None), dict(getattr(executor, "_kwargs", {}))
        options.pop("pure", None)
        self._executor = executor
        self._connection = ClusterConnection(client, options)
        self._pack_by_name = lru_cache(maxsize=1024)(pack_by_name)

    def invoke(self, function: Function, params: Mapping[str, Any], context: CallContext) -> Any:
        """Run one call: JSON data in, JSON data out. Parameters are validated in this process, too.

        Raises: as `Function.invoke`; SerializationError for a function that workers cannot load; TransportError if
            workers or the scheduler have died; CallTimeout; CallCancelled.
        """
        function.parameters.load(params)
        if getattr(self._executor, "_shutdown", False):
            raise TransportError("the executor of the Dask client is shut down", delivery="not_sent")
        try:
            data = self._pack_by_name(function) or pack_unchecked(function)
        except ConfigError as error:
            raise SerializationError(str(error), delivery="not_sent", cause=error) from error
        calls = [tuple(pack_call(with_base64(params), context))]
        future = self._connection.submit(function.name, data, calls, context, idempotent=function.schema.idempotent)
        [outcome] = self._connection.wait(function.name, future, context).outcomes
        result = result_of(function, outcome, context.request_id)
        decode = function.output.decode
        return result if decode is None or current_table() is None else function.encode_result(decode(result))
