"""How a table reads its source's inbox of received webhooks. What a body means lives in the source's module."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterator

from datalake.lake.inbox import Arrival, Inbox
from datalake.sources.base import Ask, Checkpoint, Item, Page
from datalake.sources.frontier import Frontier, text
from datalake.sources.paging import Workers

OVERLAP = dt.timedelta(minutes=5)
"""Arrivals so long before the newest one are looked at again: a body lands after its arrival, and machines' clocks differ."""
CHUNK = 500
"""Bodies between two checkpoints."""


def received(ask: Ask, inbox: Inbox, workers: Workers, page: Callable[[Arrival, bytes], Page]) -> Iterator[Item]:
    """Bodies as they were received, in the order of their arrival, each by `page`; those told before are not told again."""
    frontier = Frontier({} if ask.window else ask.cursor, OVERLAP)
    start = dt.datetime.fromisoformat(frontier.start) if frontier.start else None
    arrivals = inbox.arrivals(ask.window.since if ask.window else start)
    keys = (key for key, time in arrivals if ask.window is None or time < ask.window.until)
    while some := list(itertools.islice(keys, CHUNK)):
        for key, found in zip(some, workers.each(some, inbox.get), strict=True):
            if found is None:
                continue  # under way, or never answered: looked at again while the overlap lasts
            arrival, body = found
            if frontier.fresh([key.encode()], [text(dt.datetime.fromisoformat(arrival.received_at))]):
                yield page(arrival, body)
        if frontier.newest:
            yield Checkpoint(frontier.state())
