"""JavaScriptPortal: publish JavaScript functions inside this process, at `js://` addresses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import replace
from time import monotonic
from typing import Any, ClassVar

from .._internal.log import get_logger
from .._internal.settings import callback, choice, instance
from ..address import Address
from ..calls.deadlines import cancelled_error, limit_deadline
from ..calls.dispatcher import Dispatcher
from ..calls.middleware import Call, Middleware
from ..catalogue import Entry, UniqueIds
from ..context import CallContext, enter, leave
from ..errors import AddressError, ConfigError, PortalError, RegistryError
from ..function import Function, ResolvedFunction
from ..portal import Portal, announce, topology
from ..service import Service
from .config import FunctionConfig, function_configs
from .engines.registry import engine_names, require_engine
from .fuel import FuelQuota
from .function import JSFunction
from .host import Caller, HostAPI
from .limits import Limits
from .runtime import Runtime
from .sandbox import Place, Sandbox, limits_for
from .script import Script, ScriptFunction
from .service import JSService

__all__ = ["JavaScriptPortal"]

_log = get_logger("portal.javascript")


class PublishedScript(ResolvedFunction):
    """A resolved function of a JavaScriptPortal. It looks its function up again when something was published.

    Args:
        portal: publishes the function.
        entry: of the function in the portal's catalogue.
        address: the address that was resolved.
        version: `topology.version` from before the entry was looked up.

    Threads: any.
    """

    def __init__(self, portal: JavaScriptPortal, entry: Entry, address: Address, version: int) -> None:
        found = entry.function
        super().__init__(portal, schema=found.schema, address=address, parameters=found.parameters, output=found.output)
        self._portal = portal
        self._dispatcher = portal.dispatcher
        self._at = address
        self._found = version, entry

    def entry(self) -> Entry:
        """Return what is published at the address now. Raises: RegistryError (not_found)."""
        version, entry = self._found
        if topology.version != version:
            version = topology.version
            entry = self._portal.entry_at(self._at)
            self._found = version, entry
        return entry

    def invoke(self, params: Mapping[str, Any], context: CallContext) -> Any:
        """Make one call with JSON data, and return JSON data."""
        version, entry = self._found
        if topology.version != version:
            entry = self.entry()
        found: Any = entry.function  # a ScriptFunction
        dispatcher = self._dispatcher
        if context.deadline is not None or found.schema.timeout is not None or not dispatcher.is_passthrough:
            return self._portal.dispatch(self, entry, params, context)
        # nothing is around the call but its context: what the dispatcher does for it stands here, to save its time
        if context.parent is not None and context.cancelled:
            raise cancelled_error(context)
        dispatcher.started.add()
        token = enter(context)
        try:
            return found.invoke(params, context)
        except PortalError as error:
            dispatcher.count_failure(found, error, context)
            raise
        finally:
            leave(token)
            dispatcher.finished.add()


class JavaScriptPortal(Portal):
    """Publish JavaScript functions. Each has the addresses `js://engine/name/fingerprint` and `js://name`.

    A function is untrusted unless it says otherwise: each call runs in a child process, in a global object of its own,
    under the limits of the sandbox. Code with `trusted=True` runs in threads of this process and keeps its state
    between calls. The sandbox must permit it.

    The portal need not be started. `start`, or the first call, starts the child processes, and checks that an endless
    loop, a script that fills the memory, and a deep recursion are stopped. To publish a function over HTTP as well,
    pass `resolve_function(address)` to `HTTPPortal.apply`.

    Args:
        engine: the engine of functions that name none; "auto" takes the first that is installed.
        sandbox: "untrusted", "trusted", "hostile", or a Sandbox.
        host: what scripts may ask of this process; None grants nothing but `console`.
        caller: makes the calls of `portal.call` in scripts, such as `Consumer.call_at`.
        config: settings of single functions by name; they take precedence over those of the functions.
        fuel_quota: bounds the fuel of each caller; it needs an engine that counts fuel, such as quickjs-wasm.
        executor: where every call runs; None for the thread of the caller.
        middleware: around every call, the first outermost.
        unique_ids: "fingerprint" or "random" for the last segment of addresses.
        name: the portal's own name.

    Raises: ConfigError for a wrong setting.

    Threads: any. Fork: a forked process starts children of its own.
    """

    schemes: ClassVar[tuple[str, ...]] = ("js",)
    in_process = True

    def __init__(
        self,
        *,
        engine: str = "auto",
        sandbox: Sandbox | str = "untrusted",
        host: HostAPI | None = None,
        caller: Caller | None = None,
        config: Mapping[str, FunctionConfig] | None = None,
        fuel_quota: FuelQuota | None = None,
        executor: Executor | None = None,
        middleware: Iterable[Middleware | str] = (),
        unique_ids: UniqueIds = "fingerprint",
        name: str | None = None,
    ) -> None:
        super().__init__(unique_ids=unique_ids, name=name)
        self.sandbox = Sandbox.of(sandbox)
        self._engine = _engine_setting(engine)
        self._host = instance("javascript.host", host, HostAPI, optional=True) or HostAPI()
        self._caller = callback("javascript.caller", caller, optional=True)
        self._config = function_configs(config)
        self._quota = instance("javascript.fuel_quota", fuel_quota, FuelQuota, optional=True)
        self._runtime = Runtime(self.sandbox)
        self.dispatcher = Dispatcher(middleware, executor=executor, name=self.name)
        announce(self)

    # publishing

    def apply(self, function: JSFunction | Function | Callable[..., Any]) -> Address:
        """Publish a JSFunction.

        A portal that runs loads the code first. Otherwise it is loaded by the first call.

        Returns: the address.
        Raises: ConfigError for anything else, or if the function asks for more than the sandbox permits;
            JavaScriptError for code that cannot be loaded; RegistryError (conflict) if another function has this name
            and version.
        """
        return super().apply(self._made(function))

    def apply_service(self, service: Any) -> Address:
        """Publish the functions of a JSService under its name, as `apply` does. All or nothing.

        Returns: the address of the service.
        Raises: as `apply`; ConfigError for anything but a JSService.
        """
        if not isinstance(service, JSService):
            raise ConfigError.invalid("javascript.service", service, "a JSService")
        members = [self._made(one) for one in service.functions]
        group = Service(service.name, members, version=service.version, description=service.description)
        return super().apply_service(group)

    def _made(self, function: Any) -> ScriptFunction:
        if not isinstance(function, JSFunction):
            raise ConfigError.invalid("javascript.function", function, "a JSFunction")
        config = self._config.get(function.name) or FunctionConfig()
        trusted = function.trusted if config.trusted is None else config.trusted
        place = self.sandbox.place(config.engine or function.engine or self._engine, trusted)
        if self._quota is not None:
            _require_fuel(place, "javascript.fuel_quota")
        if config.fuel is not None:
            _require_fuel(place, "function.fuel")
        wanted = {"time": function.timeout, "memory": function.memory, **config.limits()}
        limits = limits_for(self.sandbox, wanted)
        script = self._script(function, place, limits)
        made = ScriptFunction(
            script,
            place=place,
            limits=limits,
            runner=self._runtime.runner,
            host=self._host.for_function(self._caller, function.name),
            quota=self._quota,
        )
        if self._services_run:
            made.check(script)
        return made

    def replace(self, name: str, code: str) -> Address:
        """Run other code under the address of a function. The schema stays; calls that run finish with the old code.

        Args:
            name: the name of the function, or its address.
            code: the new source.

        Returns: the address.
        Raises: JavaScriptError if the new code cannot be loaded, and the old one stays; RegistryError (not_found).
        """
        entry = self._entry_named(name)
        function = _script_function(entry)
        script = self._script(function.script.declaration.with_code(code), function.place, function.limits)
        function.check(script)
        function.replace(script)
        topology.changed()
        return self._address_of(entry.full_path)

    def rollback(self, name: str) -> Address:
        """Run the code from before the last `replace`.

        Raises: RegistryError (not_found) if there is no such function, or no earlier code.
        """
        entry = self._entry_named(name)
        _script_function(entry).rollback()
        topology.changed()
        return self._address_of(entry.full_path)

    def _script(self, function: JSFunction, place: Place, limits: Limits) -> Script:
        for finding in self.sandbox.analysis.check(function.name, function.code):
            _log.warning("javascript %s: %s", function.name, finding)
        options: dict[str, Any] = {"log": limits.log, **self._host.options()}
        if denied := self.sandbox.denied(place.trusted):
            options["deny"] = denied
        program = function.program(json.dumps(options, sort_keys=True), self._host.modules)
        facts = ("javascript", place.engine, place.isolation, place.trust, f"sha256:{function.code_hash[:16]}")
        schema = replace(function.schema, tags=(*dict.fromkeys((*function.schema.tags, *facts)),))
        return Script(function, program, schema)

    def _entry_named(self, name: str) -> Entry:
        path = self._path_of(Address.parse(name)) if "://" in name else tuple(name.split("/"))
        return self._catalogue.get(path)

    # addresses

    def _address_of(self, path: tuple[str, ...]) -> Address:
        entry = self._catalogue.find(path)
        engine = None if entry is None else _script_function(entry).place.engine
        return Address.local("js", path if engine is None else (engine, *path))

    def _path_of(self, address: Address) -> tuple[str, ...]:
        segments = address.segments
        return segments[1:] if len(segments) > 1 and segments[0] in engine_names() else segments

    def entry_at(self, address: Address) -> Entry:
        """Return what is published at an address now.

        Raises: AddressError for an address of another scheme; RegistryError (not_found) if nothing is published there,
            or if the function runs on another engine.
        """
        if address.scheme not in self.schemes:
            message = f"the scheme of {address} must be js, got {address.scheme}"
            raise AddressError(message, position=0, reason="wrong scheme", address=address)
        path = self._path_of(address)
        entry = self._catalogue.get(path, address.version, address=address)
        engine = _script_function(entry).place.engine
        if path != address.segments and address.segments[0] != engine:
            message = f"{entry.function.name} runs on {engine}, got {address.segments[0]}"
            raise RegistryError(message, name=entry.function.name, address=address)
        return entry

    def resolve_function(self, address: Address | str) -> ResolvedFunction:
        """Return the Function at an address. Each call looks it up again, so that a removed function is rejected.

        Raises: AddressError for an address of another scheme; RegistryError (not_found) if nothing is published there.
        """
        target, version = Address.of(address), topology.version
        return PublishedScript(self, self.entry_at(target), target, version)

    # calls

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Any:
        """Make one call of a resolved function with JSON data, and return JSON data."""
        assert isinstance(function, PublishedScript)
        return function.invoke(params, context)

    def dispatch(self, function: PublishedScript, entry: Entry, params: Mapping[str, Any], context: CallContext) -> Any:
        """Make one call that has a deadline, or middleware around it."""
        found = _script_function(entry)
        if found.place.isolation != "thread" and self.dispatcher.is_passthrough:
            # the runner ends the call at the deadline, so that no worker has to
            if found.schema.timeout is not None:
                limit_deadline(context, monotonic() + found.schema.timeout)
            context.watched = True
        return self.dispatcher.dispatch(Call(found, params, context, function.address, group=entry.group))

    def iterate(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        """Raise ProtocolError: JavaScript functions do not stream."""
        assert isinstance(function, PublishedScript)
        return function.entry().function.iterate(params, context)

    # lifecycle

    def start(self) -> None:
        """Start the child processes, and prove the limits of the sandbox.

        Raises: ConfigError if a limit does not hold; JavaScriptError for code that cannot be loaded.
        """
        for entry in self._catalogue.entries():
            function = _script_function(entry)
            function.check(function.script)
        super().start()

    def stop(self, grace: float = 5.0) -> None:
        """End the child processes; running calls fail. A later call starts them again, unless the portal is closed."""
        try:
            super().stop(grace)
        finally:
            if self._closed:
                self._runtime.close()
                self.dispatcher.close(grace)
            else:
                self._runtime.stop()

    def health(self) -> dict[str, Any]:
        """Return the health of the portal, with the last proof of each engine and a row for each function."""
        scripts = {
            entry.name: {**_place_of(found), "code": found.script.declaration.code_hash}
            for entry, found in self._scripts()
        }
        return super().health() | {"engines": self._runtime.health(), "scripts": scripts}

    def stats(self) -> dict[str, Any]:
        """Return counters of functions and calls, those of each engine, and those of each function by name and version.

        A function has where it runs, its calls, those that failed by stage, and the fuel that they took. "fuel" has the
        fuel by name alone.
        """
        scripts: dict[str, dict[str, Any]] = {}
        fuel: dict[str, int] = {}
        for entry, found in self._scripts():
            name, counts = entry.name, found.counts.read()
            scripts[f"{name}@{found.schema.version}"] = _place_of(found) | counts
            if counts["fuel"]:
                fuel[name] = fuel.get(name, 0) + counts["fuel"]
        more = {"engines": self._runtime.stats(), "scripts": scripts, "fuel": fuel}
        return super().stats() | self.dispatcher.stats() | more

    def _scripts(self) -> list[tuple[Entry, ScriptFunction]]:
        return [(entry, _script_function(entry)) for entry in self._catalogue.entries()]


def _place_of(function: ScriptFunction) -> dict[str, str]:
    place = function.place
    return {"engine": place.engine, "isolation": place.isolation, "trust": place.trust}


def _script_function(entry: Entry) -> ScriptFunction:
    assert isinstance(entry.function, ScriptFunction)
    return entry.function


def _engine_setting(engine: str) -> str:
    return choice("javascript.engine", engine, ("auto", *engine_names()))


def _require_fuel(place: Place, setting: str) -> None:
    if "fuel" not in require_engine(place.engine).capabilities().limits:
        message = f"{setting.rpartition('.')[2]} needs an engine that counts fuel, got {place.engine}"
        raise ConfigError(message, path=setting, expected='engine="quickjs-wasm"')
