"""Service: a named group of Functions with a lifecycle. `@service` marks a class as a service.

stopped -> starting -> running -> stopping -> stopped
               \\-> error <-/          (after an error, start tries again)
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, TypeVar, overload

from ._internal.conditions import Condition
from ._internal.log import get_logger
from ._internal.settings import callback, instance, text
from .errors import ConfigError, RegistryError
from .function import Function, function
from .function.wrappers import wrapped_by
from .schema import check_name

__all__ = ["Service", "ServiceState", "is_service", "service", "stop_services"]

T = TypeVar("T")

_log = get_logger("portal.portal")
_MARK = "__portal_service__"
_HOOKS = ("on_start", "on_stop")


class ServiceState(Enum):
    """The states in the lifecycle of a service."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    ERROR = "error"


_NEXT_STATES = {
    ServiceState.STOPPED: {ServiceState.STARTING},
    ServiceState.STARTING: {ServiceState.RUNNING, ServiceState.ERROR},
    ServiceState.RUNNING: {ServiceState.STOPPING},
    ServiceState.STOPPING: {ServiceState.STOPPED, ServiceState.ERROR},
    ServiceState.ERROR: {ServiceState.STARTING},
}


class Service:
    """A named group of Functions with a lifecycle.

    Args:
        name: its segment in addresses.
        functions: its members; their names must differ.
        version: for documents.
        description: for documents.
        on_start: called once at each start, no lock is held. A subclass may have a method of that name instead.
        on_stop: called once at each stop; likewise.

    Raises: ConfigError for a wrong setting; RegistryError (conflict) for two functions of one name, (invalid) for a
        name that is not a path segment.

    Threads: any. If several threads start or stop a service at once, one does it and the others wait.
    """

    def __init__(
        self,
        name: str,
        functions: Iterable[Function | Callable[..., Any]] = (),
        *,
        version: str = "1",
        description: str = "",
        on_start: Callable[[], object] | None = None,
        on_stop: Callable[[], object] | None = None,
    ) -> None:
        self.name = check_name(name)
        self.version = text("service.version", version)
        self.description = instance("service.description", description, str, expected="a string")
        self._hooks = {
            ServiceState.STARTING: self._hook("on_start", on_start),
            ServiceState.STOPPING: self._hook("on_stop", on_stop),
        }
        self._functions: dict[str, Function] = {}
        for member in functions:
            self._add(Function.of(member))
        self._state = ServiceState.STOPPED
        self._error: BaseException | None = None
        self._changed = Condition()  # guards the state; not held while a hook runs

    def _hook(self, name: str, given: Callable[[], object] | None) -> Callable[[], object] | None:
        """Return the hook that was given, else the method of a subclass."""
        found = getattr(self, name, None) if given is None else given
        return callback(f"service.{name}", found, optional=True)

    def _add(self, member: Function) -> None:
        if member.name in self._functions:
            message = f"the functions of service {self.name} must have different names, got {member.name} twice"
            raise RegistryError(message, name=member.name, kind="conflict")
        self._functions[member.name] = member

    def __repr__(self) -> str:
        return f"<Service {self.name} {self._state.value}: {', '.join(self._functions)}>"

    @staticmethod
    def of(source: Any) -> Service:
        """Return a Service as it is, or make one from a `@service` class or an instance of one.

        Args:
            source: a Service, an instance of a `@service` class, or such a class. A class is called without arguments.

        Raises: ConfigError for anything else.
        """
        if isinstance(source, Service):
            return source
        options = getattr(source, _MARK, None)
        if options is None:
            raise ConfigError.invalid("service", source, "a Service, or a class with @service or an instance of one")
        return _from_instance(_instance_of(source) if isinstance(source, type) else source, options)

    @staticmethod
    def described(source: Any) -> Service:
        """Return a service whose functions have their schemas and are not called. A class is not called, either.

        Args:
            source: as for `of`.

        Raises: as `of`.
        """
        is_class = isinstance(source, type) and is_service(source)
        return Service.of(object.__new__(source) if is_class else source)

    @property
    def functions(self) -> Mapping[str, Function]:
        """The functions by name."""
        return dict(self._functions)

    def __getitem__(self, name: str) -> Function:
        try:
            return self._functions[name]
        except KeyError:
            raise RegistryError(f"service {self.name} has no function {name}", name=name) from None

    @property
    def state(self) -> ServiceState:
        """The present state."""
        return self._state

    def status(self) -> dict[str, Any]:
        """Return name, version, state, error (as text, or None) and function names as JSON data."""
        error = self._error
        return {
            "name": self.name,
            "version": self.version,
            "state": self._state.value,
            "error": None if error is None else f"{type(error).__name__}: {error}",
            "functions": list(self._functions),
        }

    def start(self, timeout: float | None = 30.0) -> None:
        """Run `on_start` and enter the state running. Do nothing if the service runs already.

        Args:
            timeout: seconds to wait for a start or stop by another thread; None waits without limit.

        Raises: what `on_start` raises, after entering the state error; TimeoutError after `timeout`.
        """
        self._change(ServiceState.STARTING, ServiceState.RUNNING, timeout)

    def stop(self, timeout: float | None = 30.0) -> None:
        """Run `on_stop` and enter the state stopped. Do nothing if the service does not run.

        Args:
            timeout: seconds to wait for a start or stop by another thread; None waits without limit.

        Raises: what `on_stop` raises, after entering the state error; TimeoutError after `timeout`.
        """
        self._change(ServiceState.STOPPING, ServiceState.STOPPED, timeout)

    def _change(self, through: ServiceState, to: ServiceState, timeout: float | None) -> None:
        with self._changed:
            settled = self._changed.wait_for(
                lambda: self._state not in (ServiceState.STARTING, ServiceState.STOPPING), timeout
            )
            if not settled:
                raise TimeoutError(f"service {self.name} is still {self._state.value}")
            if through not in _NEXT_STATES[self._state]:
                return  # it is already in that state
            self._set(through)
        hook = self._hooks[through]
        try:
            if hook is not None:
                hook()
        except BaseException as error:
            with self._changed:
                self._error = error
                self._set(ServiceState.ERROR)
            raise
        with self._changed:
            self._error = None
            self._set(to)

    def _set(self, state: ServiceState) -> None:
        self._state = state
        self._changed.notify_all()

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


@overload
def service(cls: type[T], /) -> type[T]: ...


@overload
def service(*, name: str | None = None, version: str = "1") -> Callable[[type[T]], type[T]]: ...


def service(cls: Any = None, /, *, name: str | None = None, version: str = "1") -> Any:
    """Mark a class as a service: its public methods become functions, `on_start` and `on_stop` its lifecycle.

    The class itself does not change. A method may have `@function(...)` with options, and other decorators. Names that
    begin with an underscore, properties and nested classes are left out.

    Args:
        cls: the class, when used as `@service` without arguments.
        name: name of the service; the name of the class in lower case when None.
        version: version of the service, for documents.

    Returns: the class.
    Raises: ConfigError for anything but a class. A method without a usable schema, and a callable
        that is not a method, raise when the service is published.

    Threads: several threads may call a published instance at once, so its attributes need a lock of their own.
    """

    if name is not None:
        check_name(name)
    text("service.version", version)

    def mark(target: Any) -> Any:
        instance("service", target, type, expected="a class")
        setattr(target, _MARK, {"name": name or target.__name__.lower(), "version": version})
        return target

    return mark if cls is None else mark(cls)


def is_service(source: object) -> bool:
    """Return whether an object is a class marked with `@service`, or an instance of one."""
    return hasattr(source, _MARK)


def stop_services(services: Iterable[Service]) -> None:
    """Stop several services in the given order, even if some of them fail to stop. Each error is logged.

    Raises: the first error, after all services were stopped.
    """
    errors: list[Exception] = []
    for one in services:
        try:
            one.stop()
        except Exception as error:
            _log.exception("service %s failed to stop", one.name)
            errors.append(error)
    if errors:
        raise errors.pop(0)  # this frame does not keep what it raises


#: Attributes that are no methods of the service: properties, nested classes, and methods of classes in C.
_LEFT_OUT = (
    property,
    functools.cached_property,
    type,
    types.GenericAlias,
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)


def _member(instance: Any, attribute: str, value: Any) -> Function | None:
    """Return the Function of a public attribute of a service class; None if it is not a method.

    A method may be under a decorator: functools.cache, partialmethod, or an object with `__get__`.

    Raises: ConfigError for a method that cannot be called by name, and for another callable.
    """
    if isinstance(value, Function):
        return value.__get__(instance, type(instance))
    if isinstance(value, _LEFT_OUT) or typing.get_origin(value) is not None:
        return None
    where = f"{type(instance).__qualname__}.{attribute}"
    if isinstance(value, functools.singledispatchmethod):
        message = f"{where} is a singledispatchmethod, which takes its first argument by position only"
        raise ConfigError(message, path=where, expected="a method with a parameter of a union of types")
    if not callable(value) and not isinstance(value, functools.partialmethod | classmethod):
        if hasattr(type(value), "__get__") and not hasattr(type(value), "__set__"):
            kind = type(value).__qualname__
            _log.warning("%s is left out of the service: a %s is not callable", where, kind)
        return None
    if any(isinstance(inner, Function) for inner in wrapped_by(value)):
        message = f"{where} has a decorator around @function, which must be the outermost one"
        raise ConfigError(message, path=where)
    if not hasattr(type(value), "__get__"):
        message = f"{where} is callable and is not bound to the instance, because it has no __get__"
        raise ConfigError(message, path=where, expected="a method, or a name that begins with an underscore")
    bound = getattr(instance, attribute)
    return bound if isinstance(bound, Function) else function(name=attribute)(bound)


def _instance_of(source: type) -> Any:
    """Return an instance of a class. Raises: ConfigError if its `__init__` requires arguments."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    try:
        parameters = inspect.signature(source).parameters.values()
    except (TypeError, ValueError):  # a metaclass of user code may have any signature
        parameters = {}.values()
    needed = [one.name for one in parameters if one.default is one.empty and one.kind not in kinds]
    if needed:
        expected = f"an instance, as {source.__name__} requires the argument {', '.join(needed)}"
        raise ConfigError.invalid("service", source, expected)
    return source()


def _from_instance(instance: Any, options: Mapping[str, str]) -> Service:
    members = []
    for attribute in dir(type(instance)):
        if not attribute.startswith("_") and attribute not in _HOOKS:
            member = _member(instance, attribute, inspect.getattr_static(type(instance), attribute))
            if member is not None:
                members.append(member)
    return Service(
        options["name"],
        members,
        version=options["version"],
        description=inspect.getdoc(type(instance)) or "",
        on_start=getattr(instance, "on_start", None),
        on_stop=getattr(instance, "on_stop", None),
    )
