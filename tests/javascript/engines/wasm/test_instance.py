"""An instance of the guest, and the traps that were found when WebAssembly was tried."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from portal.javascript import EngineError
from portal.javascript.engines.wasm.guest import guest_version, load_guest
from portal.javascript.engines.wasm.instance import MAX_FUEL, Instance, binding_of

pytestmark = pytest.mark.skipif(guest_version() == "", reason="wasmtime or quickjs-rs is not installed")
MIB = 1024 * 1024


@pytest.fixture
def instance() -> Iterator[Instance]:
    watchdog = binding_of(load_guest()).watchdog
    watchdog.open()
    made = Instance(load_guest())
    yield made
    made.close()
    watchdog.close()


def evaluate(instance: Instance, source: str, seconds: float = 20.0) -> int:
    """Return the status of the guest: 0, or 1 for an exception."""
    result = instance.allocate(bytes(4))
    data = source.encode()
    return instance.run(seconds, "eval_code", instance.allocate(data), len(data), result)


def trapped(instance: Instance, source: str, seconds: float = 20.0) -> EngineError:
    with pytest.raises(EngineError) as caught:
        evaluate(instance, source, seconds)
    return caught.value


def test_memory_is_written_and_read(instance: Instance) -> None:
    place = instance.allocate(b"some bytes")
    assert instance.read(place, 10) == b"some bytes"
    instance.write_numbers(place, -1, 2)
    assert instance.read_number(place) == -1
    assert instance.read(place, 0) == b""


def test_an_address_outside_of_the_memory_is_never_touched(instance: Instance) -> None:
    """A guest that was taken over may return any number."""
    with pytest.raises(EngineError, match="wrong address"):
        instance.read(instance.size - 4, 8)
    assert instance.failed


@pytest.mark.parametrize(("place", "length"), [(-4, 8), (0, -1), (2**32 - 1, 1), (2**40, 2**31)])
def test_wrong_numbers_of_the_guest(instance: Instance, place: int, length: int) -> None:
    with pytest.raises(EngineError, match="wrong address"):
        instance.read(place, length)


def test_strings(instance: Instance) -> None:
    handle = instance.string("π 漢字 😀\x00".encode(), 20.0)
    assert instance.text(handle) == "π 漢字 😀\x00"
    assert instance.text(instance.call("new_undefined")) is None


@pytest.mark.parametrize(
    "source",
    [
        "for (;;);",
        "new Array(1e9).join('x')",
        "/(a+)+$/.test('a'.repeat(40) + 'b')",
        "Array.prototype.indexOf.call({length: 2 ** 53 - 1}, 1)",
        "[...'x'.repeat(1e4)].sort((a, b) => { for (;;); })",
        "let n = 1n; for (let i = 1n;; i++) n *= i",
        "for (;;) { try { for (;;); } catch {} finally { continue } }",
    ],
)
def test_the_epoch_stops_native_loops_too(instance: Instance, source: str) -> None:
    assert trapped(instance, source, 0.1).stage == "timeout"
    assert instance.failed


def test_an_instance_is_not_used_after_a_trap(instance: Instance) -> None:
    trapped(instance, "for (;;);", 0.05)
    with pytest.raises(EngineError, match="has failed before") as caught:
        instance.call("new_undefined")
    assert caught.value.broken
    assert not instance.restore(Instance(load_guest()).image())


def test_fuel_stops_a_loop(instance: Instance) -> None:
    instance.refuel(10_000_000)
    assert trapped(instance, "for (;;);").stage == "fuel"
    assert instance.fuel() == 0


def test_equal_instances_count_equal_fuel() -> None:
    found = set()
    for _ in range(3):
        made = Instance(load_guest())
        assert evaluate(made, "let t = 0; for (let i = 0; i < 1000; i++) t += i;") == 0
        found.add(MAX_FUEL - made.fuel())
        made.close()
    assert len(found) == 1


def test_typed_arrays_escape_the_heap_limit_but_not_that_of_the_store(instance: Instance) -> None:
    grow = "globalThis.a = []; for (let i = 0; i < 64; i++) a.push(new Uint8Array(1048576).fill(1));"
    instance.call("set_memory_limit", 16 * MIB)
    instance.limit_memory(24 * MIB)
    assert evaluate(instance, grow) == 1
    assert len(instance.image().memory) <= 24 * MIB
    assert evaluate(instance, "globalThis.a = null") == 0, "it can be used after it was out of memory"


def test_deep_recursion_is_a_trap(instance: Instance) -> None:
    error = trapped(instance, "(function f() { return f() + 1 })()")
    assert error.stage == "stack"


def test_deep_recursion_on_a_thread_that_is_not_the_main_one() -> None:
    """A larger `max_wasm_stack` than the stack of a thread would end the process."""
    stages: list[str] = []

    def work() -> None:
        made = Instance(load_guest())
        stages.append(trapped(made, "(function f() { return f() + 1 })()").stage)
        made.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60.0)
    assert stages == ["stack"]


def test_there_is_nothing_of_the_system(instance: Instance) -> None:
    names = ("std", "os", "fetch", "require", "process", "WebAssembly", "Atomics", "gc", "print")
    assert evaluate(instance, "if ([" + ",".join(f"typeof {one}" for one in names) + "].some(x => x !== 'undefined')) "
                    "throw 1") == 0  # fmt: skip


def test_the_clock_has_whole_milliseconds(instance: Instance) -> None:
    source = "const t = performance.now() + performance.timeOrigin; if (Date.now() % 1 || Date.now() < 1e12) throw 1"
    assert evaluate(instance, source) == 0


def test_a_callback_never_raises(instance: Instance) -> None:
    from portal.javascript.engines.wasm import instance as module

    values = (module.ctypes.c_uint64 * 8)()
    place = module.ctypes.addressof(values)
    assert module._clock_time_get(-1, None, place, 3) == 0, "there is no such instance"
    assert values[0] & 0xFFFFFFFF == 8
    values[0] = values[2] = 0xFFFFFFF0
    assert module._environ_sizes_get(instance.key, None, place, 2) == 0
    assert values[0] & 0xFFFFFFFF == 8, "the addresses are outside of the memory"


def test_a_state_is_taken_over_whole(instance: Instance) -> None:
    assert evaluate(instance, "globalThis.n = 1") == 0
    image = instance.image()
    assert evaluate(instance, "n = 2; globalThis.m = 3") == 0
    assert instance.restore(image)
    assert evaluate(instance, "if (n !== 1 || typeof m !== 'undefined') throw 1") == 0
    other = Instance(load_guest())
    assert other.restore(image)
    assert evaluate(other, "if (n !== 1) throw 1") == 0
    other.close()


def test_an_instance_that_has_grown_does_not_take_over_a_state(instance: Instance) -> None:
    image = instance.image()
    assert evaluate(instance, "globalThis.a = new Uint8Array(4 * 1048576)") == 0
    assert not instance.restore(image)


def test_many_threads_make_and_close_instances() -> None:
    """Calls of wasmtime that change its global table of callbacks are not safe for threads; none is used here."""
    faults: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                made = Instance(load_guest())
                assert evaluate(made, "Date.now(); let n = 0; for (let i = 0; i < 100; i++) n += i;") == 0
                made.close()
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(120.0)
    assert faults == []
