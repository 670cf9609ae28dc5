"""Engine: the parts of a listener that serves, made in order."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from .._internal.executor import WorkerPool
from .._internal.processors import count_processors
from ..http11.request_head import RequestHead
from .bounds.budget import ByteBudget, Places
from .bounds.disk import DiskBudget
from .bounds.input import InputBudgets
from .config import ServingConfig
from .connections.open_connections import OpenConnections, Totals
from .connections.table import ConnectionTable
from .io.poller import open_poller
from .io.tls import ServerTLS
from .loop.acceptor import Acceptor
from .loop.busy_lane import BusyLane
from .loop.leader import LeaderFollower
from .loop.reactor import Reactor
from .loop.scheduler import RequestScheduler
from .loop.service_times import ServiceTimes
from .loop.upgraded_work import UpgradedWork
from .messages.app import App
from .messages.rejections import RejectionLog
from .messages.stored_body import BodyRule, BodyRules, BodyStore

__all__ = ["Engine", "build_engine"]


@dataclass(frozen=True, slots=True)
class Engine:
    """The parts of a listener that serves."""

    pool: WorkerPool
    rejections: RejectionLog
    table: ConnectionTable
    acceptor: Acceptor
    leader: LeaderFollower
    scheduler: RequestScheduler
    reactor: Reactor
    disk: DiskBudget


def build_engine(
    sockets: Iterable[socket.socket],
    config: ServingConfig,
    *,
    tls: ServerTLS | None,
    shared: bool,
    before: Totals,
    app_for: Callable[[str], App | None],
    prefixes: Callable[[], Iterable[str]],
    trusts: Callable[[str], bool],
    is_prompt: Callable[[str], bool] = lambda path: False,
) -> Engine:
    """Make the parts in order. Each gets the parts that it needs when it is made. No thread is started.

    Args:
        sockets: listening sockets.
        shared: whether other processes listen on them, too.
        before: totals of the connections of earlier engines.
        app_for: returns the app that serves a path, or None.
        prefixes: returns the path prefixes that are served.
        trusts: returns whether an address is that of a trusted proxy.
        is_prompt: returns whether requests for a path are served by the thread that reads them.

    Raises: OSError if the system has no descriptors left. Then nothing stays open but the sockets.
    """
    limits, spare = config.key_limits(), config.abandoned
    pool = WorkerPool(config.workers, config.queue, name="portal-serve", limits=limits, spare=spare)
    rejections, disk = RejectionLog(), DiskBudget(config.max_input_on_disk)
    # On one processor, a busy poll would keep clients from sending.
    poller = open_poller(busy_poll=config.busy_poll if count_processors() > 1 else 0.0)
    try:
        table = ConnectionTable(
            poller,
            OpenConnections(before),
            ByteBudget(config.max_output),
            Places(config.streams, config.streams_per_client),
            InputBudgets(config.max_input, config.max_unknown_input),
            BodyStore(disk, partial(_rule_for, app_for)),
        )
        acceptor = Acceptor(
            sockets, poller, table, config, tls=tls, rejections=rejections, trusts=trusts, shared=shared
        )
        leader = LeaderFollower(name="portal-listener", limit=config.workers)
        service_times = ServiceTimes(pool)
        work = UpgradedWork(leader, pool, service_times, max_wait=config.max_wait)
        scheduler = RequestScheduler(
            table,
            leader,
            pool,
            BusyLane(config.computing, config.queue, config.waiting_per_client),
            app_for,
            prefixes,
            rejections,
            work.run_in_worker,
            service_times,
            max_wait=config.max_wait,
            serves_to_the_end=shared,
            is_prompt=is_prompt,
        )
        reactor = Reactor(poller, table, acceptor, scheduler, work, leader, rejections, app_for)
    except BaseException:
        poller.close()
        raise
    return Engine(pool, rejections, table, acceptor, leader, scheduler, reactor, disk)


def _rule_for(app_for: Callable[[str], App | None], head: RequestHead) -> BodyRule | None:
    app = app_for(head.path)
    return app.body_rule(head) if isinstance(app, BodyRules) else None
