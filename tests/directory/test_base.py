from __future__ import annotations

from portal.directory import Directory, Instance, Watch
from portal.directory.base import OnChange


class _Closed:
    def close(self) -> None:
        pass


class _Fixed:
    """A directory whose lists do not change: the smallest one."""

    problem = None

    def instances(self, name: str) -> tuple[Instance, ...]:
        return (Instance(f"http://one/api/{name}"),)

    def watch(self, name: str, on_change: OnChange) -> Watch:
        on_change(self.instances(name))
        return _Closed()


def test_a_directory_needs_three_members() -> None:
    fixed: Directory = _Fixed()
    assert isinstance(fixed, Directory)
    assert not isinstance(object(), Directory)
    seen: list[tuple[Instance, ...]] = []
    watch = fixed.watch("add", seen.append)
    assert isinstance(watch, Watch)
    assert seen == [fixed.instances("add")] == [(Instance("http://one/api/add"),)]
