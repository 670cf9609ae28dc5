from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.pytest_arguments import PLUGIN_ARGUMENTS

pytest_plugins = ["pytester"]


@pytest.mark.parametrize(
    ("body", "outcome", "words"),
    [
        ("portal_testing.stub('f', 1); assert portal_consumer.call_at('test://f') == 1", {"passed": 1}, ""),
        ("portal_testing.expect('f')", {"failed": 1}, "*expected f() at least once, called 0 times*"),
        (
            "portal_testing_at('http://h/api').expect('f')",
            {"failed": 1},
            "*expected f() at least once, called 0 times*",
        ),
        ("portal_testing_at('http://h/api', seed=3); portal_testing.expect('f')", {"failed": 1}, "*expected f()*"),
        ("portal_testing.expect('f'); assert 1 == 2", {"failed": 1}, "*assert 1 == 2*"),
        ("portal_testing.expect('f'); import pytest; pytest.skip('later')", {"skipped": 1}, ""),
    ],
)
def test_expectations_are_verified_if_the_test_passed(
    pytester: pytest.Pytester, body: str, outcome: dict[str, int], words: str
) -> None:
    pytester.makepyfile(f"def test_it(portal_testing, portal_testing_at, portal_consumer):\n    {body}\n")
    result = pytester.runpytest_subprocess(*PLUGIN_ARGUMENTS)
    result.assert_outcomes(**outcome)
    if words:
        result.stdout.fnmatch_lines([words])


def test_portals_are_closed_after_a_failed_verification(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        kept = []
        def test_one(portal_testing, portal_testing_at, local_portal):
            kept.extend([portal_testing, portal_testing_at("http://h/api"), local_portal])
            portal_testing.expect("f")
        def test_two():
            assert [one.closed for one in kept] == [True, True, True]
        """
    )
    pytester.runpytest_subprocess(*PLUGIN_ARGUMENTS).assert_outcomes(passed=1, failed=1)


def test_portal_server_serves_until_the_test_has_ended(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        shop="""
        import os
        def add(a: int, b: int) -> int:
            return a + b
        def process_id() -> int:
            return os.getpid()
        """,
        test_shop="""
        import os, pytest
        from portal import Consumer, TransportError
        import shop
        bases = []
        def test_one(portal_server):
            first, second = portal_server(shop.add, "shop:process_id"), portal_server(shop.add)
            with Consumer() as consumer:
                assert consumer.call_at(first.child("add"), {"a": 1, "b": 2}) == 3
                assert consumer.call_at(first.child("process_id")) != os.getpid()
                portal_server.kill(first)
                with pytest.raises(TransportError):
                    consumer.call_at(first.child("add"), {"a": 1, "b": 2})
                assert consumer.call_at(second.child("add"), {"a": 1, "b": 2}) == 3
            bases.append(second)
        def test_two():
            with Consumer() as consumer, pytest.raises(TransportError):
                consumer.call_at(bases[0].child("add"), {"a": 1, "b": 2})
        """,
    )
    pytester.runpytest_subprocess(*PLUGIN_ARGUMENTS).assert_outcomes(passed=2)


def test_portal_faults_breaks_calls_until_the_test_has_ended(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from portal import CallTimeout, Consumer, HTTPPortal, TransportError
        from portal.testing import BlackHole, Cut
        kept = []
        def test_one(portal_faults):
            with HTTPPortal() as http, Consumer() as consumer:
                address = http.apply(len_of)
                proxy = portal_faults(http.base, Cut(after=10))
                with pytest.raises(TransportError):
                    consumer.call_at(proxy.through(address), {"text": "abc"})
                proxy.clear()
                assert consumer.call_at(proxy.through(address), {"text": "abc"}) == 3
                other = portal_faults(http.base, BlackHole(), seed=7, share=1.0)
                with pytest.raises(CallTimeout):
                    consumer.call_at(other.through(address), {"text": "abc"}, timeout=0.1)
                kept.extend([proxy, other])
                portal_faults(http.base)  # nothing is sent through it
        def len_of(text: str) -> int:
            return len(text)
        def test_two():
            for proxy in kept:
                with Consumer() as consumer, pytest.raises(TransportError, match="refused"):
                    consumer.call_at(f"http://127.0.0.1:{proxy.port}/api/len_of", {"text": "abc"})
        """
    )
    pytester.runpytest_subprocess(*PLUGIN_ARGUMENTS).assert_outcomes(passed=2)


def test_loading_the_plugin_loads_nothing_else_of_portal() -> None:
    code = "import sys, portal.pytest_plugin; print(*sorted(name for name in sys.modules if name.startswith('portal')))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.split() == ["portal", "portal.pytest_plugin"]
