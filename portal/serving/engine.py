"""Engine: the parts of a listener that serves, made in order."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

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
from .messages.rejections import RejectionLog
from .messages.stored_body import BodyRule, BodyRules, BodyStore
from .mounted_apps import MountedApps

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

    def stats(self) -> dict[str, Any]:
        """Return the counters of the parts. Takes no lock that serving needs.

        Returns: failures (of steps of the loop), accepted, rejected, expired, waited_too_long, too_late (their turn
            would have come after their deadline), computing (requests that keep a processor busy), computing_waiting,
            computing_rejected, connections, connections_limit, connections_evicted (closed to make room for others),
            handshakes (unfinished), parked, active, requests, bytes_in, bytes_out, input_buffered (bytes of requests),
            input_unknown (those of them whose caller is not authenticated), input_refused (requests rejected for them),
            input_on_disk (bytes of bodies in temporary files), input_on_disk_refused (requests rejected for them),
            output_buffered (bytes that wait for clients), output_aborted (connections cut as their client reads too
            slowly), streams, streams_rejected, and the counters of the worker pool.
        """
        table = self.table
        requests, bytes_in, bytes_out = table.open.totals()
        buffered, unknown = table.inputs.held
        return {
            "failures": self.reactor.failures,
            "accepted": self.acceptor.accepted,
            "rejected": self.rejections.total,
            **self.scheduler.queue.stats(),
            "connections": len(table.open),
            "connections_limit": self.acceptor.limits.total,
            "connections_evicted": self.acceptor.evicted,
            "handshakes": len(table.handshaking),
            "parked": len(table.parked),
            "active": len(self.scheduler.active),
            "requests": requests,
            "bytes_in": bytes_in,
            "bytes_out": bytes_out,
            "input_buffered": buffered,
            "input_unknown": unknown,
            "input_refused": table.inputs.refused,
            "input_on_disk": self.disk.used,
            "input_on_disk_refused": self.disk.refused,
            "output_buffered": table.output_budget.used,
            "output_aborted": table.output_aborted.value,
            "streams": table.streams.taken,
            "streams_rejected": table.streams.rejected,
            **self.pool.stats(),
        }


def build_engine(
    sockets: Iterable[socket.socket],
    config: ServingConfig,
    *,
    tls: ServerTLS | None,
    shared: bool,
    before: Totals,
    apps: MountedApps,
) -> Engine:
    """Make the parts in order. Each gets the parts that it needs when it is made. No thread is started.

    Args:
        sockets: listening sockets.
        shared: whether other processes listen on them, too.
        before: totals of the connections of earlier engines.
        apps: what serves requests.

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
            BodyStore(disk, partial(_rule_for, apps)),
        )
        acceptor = Acceptor(
            sockets, poller, table, config, tls=tls, rejections=rejections, trusts=apps.trusts, shared=shared
        )
        leader = LeaderFollower(name="portal-listener", limit=config.workers)
        service_times = ServiceTimes(pool)
        work = UpgradedWork(leader, pool, service_times, max_wait=config.max_wait)
        scheduler = RequestScheduler(
            table,
            leader,
            pool,
            BusyLane(config.computing, config.queue, config.waiting_per_client),
            apps.find,
            apps.prefixes,
            rejections,
            work.run_in_worker,
            poller.wake,
            service_times,
            max_wait=config.max_wait,
            serves_to_the_end=shared,
            is_prompt=apps.is_prompt,
        )
        reactor = Reactor(poller, table, acceptor, scheduler, work, leader, rejections, apps.find)
    except BaseException:
        poller.close()
        raise
    return Engine(pool, rejections, table, acceptor, leader, scheduler, reactor, disk)


def _rule_for(apps: MountedApps, head: RequestHead) -> BodyRule | None:
    app = apps.find(head.path)
    return app.body_rule(head) if isinstance(app, BodyRules) else None
