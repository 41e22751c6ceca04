"""How Conta Azul is asked: lists with what changed in them, invoices by day, financial events by the change feed.

No list tells of deletions, so every list is read whole now and then (COMPARE_DAYS) and what it no longer holds is gone. A
list that is read whole tells so only if it changed. How lists are walked and their filters checked lives in
`conta_azul_lists.py`; the rows that follow other rows in `conta_azul_children.py`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any

from datalake.lake.raw import now as utc_now
from datalake.model import Source, Table
from datalake.settings import SettingError, Settings
from datalake.sources.base import Ask, Checkpoint, Complete, Item, Page, Skipped
from datalake.sources.budget import Budget, Limit
from datalake.sources.conta_azul_children import changed_events, children_of_changed, daily_snapshot, from_parent
from datalake.sources.conta_azul_lists import (
    INVENTED_TOTALS,
    ZONE,
    Filter,
    Listed,
    Stretch,
    cut,
    day_of,
    identity,
    moment_of,
    utc,
    walk,
)
from datalake.sources.conta_azul_run import ContaAzulRun
from datalake.sources.frontier import Frontier
from datalake.sources.http import Http
from datalake.sources.oauth import OAuth
from datalake.sources.paging import full_list as told_if_changed
from datalake.sources.progress import Progress
from datalake.sources.records import Drop, Record, digest, elements, inner, pick

LOGIN = "https://auth.contaazul.com"
LIMITS = (Limit(10, 1.06), Limit(600, 60.0))
"""Calls a company may make: 10 a second and 600 a minute, which no answer tells. A little more than a second, because calls do
not take equally long to get there."""
BEGINNING = dt.datetime(2011, 1, 1, tzinfo=ZONE)
"""Conta Azul is not older."""
DAY = dt.timedelta(days=1)
OVERLAP = DAY
"""How far below the newest change known a list is asked again: changes do not show up in the order of their time."""
FEED_LAG = dt.timedelta(minutes=1)
"""The change feed is read up to this long ago: it names ids without times, so what comes late could not be told apart."""

CHANGED = Filter("data_alteracao_de", "data_alteracao_ate", "data_alteracao", days=False)
DUE = Filter("data_vencimento_de", "data_vencimento_ate", "data_vencimento", days=True, longest=dt.timedelta(days=100 * 366))
FEED = Filter("data_inicio", "data_fim", "", days=False)
NOTHING = Stretch(FEED, dt.datetime(2000, 1, 1, tzinfo=ZONE), dt.datetime(2000, 1, 2, tzinfo=ZONE))
"""A day that can hold nothing."""
TOLD_SINCE = {"digest": ""}
"""What the cursor says of a whole list after rows were told on top of it: should the next one be as that was, they are gone."""
DUE_TABLES = frozenset({"contas_a_pagar", "contas_a_receber"})
"""Lists that answer only with a window of due dates."""


@dataclasses.dataclass(frozen=True, slots=True)
class Dated:
    """How a list by date is read: the last `back` days again on each run, up to `ahead` days from now."""

    filter: Filter
    back: int
    ahead: int = 0


DATED = {
    "notas_fiscais": Dated(Filter("data_inicial", "data_final", "data_emissao", days=True, longest=15 * DAY), back=45),
    "notas_fiscais_servico": Dated(
        Filter("data_competencia_de", "data_competencia_ate", "data_competencia", days=True, longest=15 * DAY), back=60
    ),
    "transferencias": Dated(Filter("data_inicio", "data_fim", "data", days=True, longest=90 * DAY), back=90, ahead=360),
}


def oauth(settings: Settings) -> OAuth:
    """The login of CONTA_AZUL_CLIENT_ID and its kept refresh token. Raises SettingError for what is missing."""
    address, moved = settings.base_url("conta_azul", LOGIN)
    return OAuth(
        settings,
        "conta_azul",
        token_url=f"{address}/oauth2/token",
        client_id=settings.require("CONTA_AZUL_CLIENT_ID"),
        client_secret=settings.require("CONTA_AZUL_CLIENT_SECRET"),
        moved=moved,
        refusals={"invalid_grant": "the refresh token was used, withdrawn or is too old; an administrator must consent again"},
    )


def open_run(settings: Settings, source: Source, progress: Progress) -> ContaAzulRun:
    """A run with the company's login. Raises SettingError for what is missing."""
    base_url, moved = settings.base_url("conta_azul", source.base_url)
    http = Http(
        "conta_azul",
        base_url,
        moved=moved,
        auth=oauth(settings),
        budget=Budget(LIMITS, waiting=lambda seconds, why: progress.waiting("conta_azul", seconds, why)),
        secrets=settings.secrets(),
        note=progress.note,
    )
    days = settings["CONTA_AZUL_COMPARE_DAYS"]
    if not days.isdigit() or int(days) < 1:
        raise SettingError(f"CONTA_AZUL_COMPARE_DAYS is '{days}': write a number of days, at least 1")
    return ContaAzulRun(
        source, http, FUNCTIONS, alias=settings["CONTA_AZUL_COMPANY"].strip(), since=_since(settings), compare_days=int(days)
    )


def identify(run: ContaAzulRun) -> str:
    """The company of the login, and the core lists that it may not read. Raises AuthenticationFailed."""
    (name,) = pick(run.company.record, "razao_social")

    def refused(table: Table) -> str:
        try:
            next(walk(run.get, table, _probe(run, table)))
        except Skipped:
            return table.name
        return ""

    tables = [table for table in run.source.tables.values() if table.core and table.parent is None]
    missing = list(filter(None, run.workers.each([table for table in tables if table.rows != "single_object"], refused)))
    may = f"the login may not read {', '.join(missing)}" if missing else "all core lists can be read"
    return f"company {name}; {may}; it may also write: Conta Azul knows no read-only login"


def _probe(run: ContaAzulRun, table: Table) -> Stretch | None:
    """A small window for lists that answer only with one."""
    if table.name in DUE_TABLES:
        return Stretch(DUE, run.today, run.today)
    if table.name in DATED:
        return Stretch(DATED[table.name].filter, run.today, run.today)
    return NOTHING if table.rows in ("change_feed", "date_window") else None


def _since(settings: Settings) -> dt.datetime:
    text = settings["CONTA_AZUL_SINCE"]
    if not text:
        return BEGINNING
    try:
        return dt.datetime.combine(dt.date.fromisoformat(text), dt.time(), ZONE)
    except ValueError:
        raise SettingError(f"CONTA_AZUL_SINCE is '{text}': write the first day to load as YYYY-MM-DD") from None


# Functions that the contracts name in `rows:`


def single_object(run: ContaAzulRun, ask: Ask) -> Iterator[Item]:
    """The company of the login, told when it changed."""
    found = digest([run.company.record])
    if found != ask.cursor.get("digest"):
        yield Page([run.company.record], run.company.at)
        yield Checkpoint({"digest": found})


def full_list(run: ContaAzulRun, ask: Ask) -> Iterator[Item]:
    """A list without dates, read whole and told when it changed."""
    state = yield from _listing(run, ask, [])
    yield Checkpoint(state)


def tree(run: ContaAzulRun, ask: Ask) -> Iterator[Item]:
    """A tree as one row an item, told when anything in it changed."""
    (page,) = walk(run.get, ask.table)
    found = digest(page.records)
    if found == ask.cursor.get("digest"):
        return
    level: list[tuple[str | None, list[Record]]] = [(None, page.records)]
    without_items, depth = Drop(["subitens"]), 0
    while level:
        below = []
        for parent, items in level:
            at = page.answer.at
            yield Page([without_items(item) for item in items], at, {"id_pai": parent, "nivel": depth})
            below += [(pick(item, "id")[0], _inside(item, "subitens")) for item in items]
        level, depth = [(parent, items) for parent, items in below if items], depth + 1
    yield Complete({}, page.answer.at)
    yield Checkpoint({"digest": found, "listed": page.answer.at})


def modified_window(run: ContaAzulRun, ask: Ask) -> Iterator[Item]:
    """What changed since the newest change known, a day of it again; now and then the whole list, which shows what is gone."""
    table = ask.table
    if ask.window:
        for page in _changed(run, table, ask.window.since, ask.window.until):
            yield Page(page.records, page.answer.at)
        yield Checkpoint(ask.cursor)
        return
    state, day = dict(ask.cursor), run.today.date().isoformat()
    frontier = Frontier(state.get("changes", {}), OVERLAP)
    if run.to_compare(state):

        def watch(_window: Stretch | None, pages: Sequence[Listed]) -> None:
            for page in pages:
                frontier.fresh(page.records, _times(run, ask, page.records))

        listed = yield from _listing(run, ask, [_all_due(table)] if table.name in DUE_TABLES else [], watch)
        state |= listed | ({"compared": day} if listed["digest"] else {})
    else:
        for news in _news(run, ask, frontier):
            state |= TOLD_SINCE if news.records else {}
            yield news
    yield Checkpoint({**state, "changes": frontier.state(), "day": day})


def _news(run: ContaAzulRun, ask: Ask, frontier: Frontier) -> Iterator[Page]:
    """What a list says has changed, and what fell due since the last run: becoming overdue is no change to Conta Azul."""
    last = dt.datetime.fromisoformat(ask.cursor["day"]).replace(tzinfo=ZONE)
    low = dt.datetime.fromisoformat(frontier.start) if frontier.start else last - OVERLAP
    for page in _changed(run, ask.table, low, run.now + DAY):
        fresh = frontier.fresh(page.records, _times(run, ask, page.records))
        yield Page([record for record, _ in fresh], page.answer.at)
    if ask.table.name in DUE_TABLES and last < run.today:
        for page in cut(run.get, ask.table, Stretch(DUE, last, run.today - DAY)):
            yield Page(page.records, page.answer.at)


def date_window(run: ContaAzulRun, ask: Ask) -> Iterator[Item]:
    """Rows by their date. The last weeks are read again on each run and told where they changed; now and then, everything.

    `digests` in the cursor are fingerprints of the windows of those weeks, by their first day.
    """
    dated = DATED.get(ask.table.name)
    if dated is None:
        yield from _moments(run, ask)
        return
    filter_, today = dated.filter, run.today
    if ask.window:
        for _, pages in _by_window(run, ask.table, _windows(filter_, ask.window.since, ask.window.until)):
            yield from (Page(page.records, page.answer.at) for page in pages)
        yield Checkpoint(ask.cursor)
        return
    state, end = dict(ask.cursor), today + dated.ahead * DAY
    again = _windows(filter_, today - dated.back * DAY, end)
    known, digests = state.get("digests", {}), {}
    if run.to_compare(state):

        def watch(window: Stretch | None, pages: Sequence[Listed]) -> None:
            if window in again:
                digests[_name(window)] = _digest(pages)

        listed = yield from _listing(run, ask, _windows(filter_, min(run.since, again[0].low), end), watch)
        state |= listed | ({"compared": today.date().isoformat()} if listed["digest"] else {})
    else:
        for window, pages in _by_window(run, ask.table, again):
            digests[_name(window)] = _digest(pages)
            if digests[_name(window)] != known.get(_name(window)):
                state |= TOLD_SINCE
                yield from (Page(page.records, page.answer.at) for page in pages)
    yield Checkpoint({**state, "digests": digests})


def change_feed(run: ContaAzulRun, ask: Ask) -> Iterator[Item]:
    """Ids of financial events saved in a window, which the next window begins where it ended."""
    table = ask.table
    if ask.window:
        low, high = ask.window.since.astimezone(ZONE), min(ask.window.until.astimezone(ZONE), run.now)
    else:
        through = ask.cursor.get("through")
        low = dt.datetime.fromisoformat(through).astimezone(ZONE) if through else run.since
        high = run.now - FEED_LAG
    if low >= high:
        return
    _prove(run, table)
    for piece in Stretch(FEED, low, high).pieces():
        for page in cut(run.get, table, piece):
            assert page.stretch is not None
            window = {"janela_inicio": utc(page.stretch.low), "janela_fim": utc(page.stretch.high)}
            yield Page(page.records, page.answer.at, window)
        yield Checkpoint({"through": utc(piece.high)})


# Lists


class _Short(Exception):
    """A list brought fewer rows than it says it has."""


Watch = Callable[[Stretch | None, Sequence[Listed]], object]
"""Is shown all pages of each window of a list (or each page of a list without windows) while it is read whole."""


def _listing(
    run: ContaAzulRun, ask: Ask, windows: Sequence[Stretch], watch: Watch = lambda _window, _pages: None
) -> Generator[Item, None, dict[str, Any]]:
    """The whole list, told if it changed; returns what the cursor keeps of it: `digest` is empty where it is not whole.

    A list that changes while it is walked can lose a row between two pages. One that is shorter than its own total is
    walked again, and if that does not help it is told, but nothing is taken for gone.
    """
    known = ask.cursor.get("digest")
    for _ in range(2):
        at = utc_now()
        try:
            found = yield from told_if_changed(_whole(run, ask.table, windows, watch, strict=True), known, {}, at)
        except _Short as short:
            ask.note(str(short))
        else:
            return {"digest": found, "listed": ask.cursor["listed"] if found == known else at}
    ask.note("the list was shorter than its total twice: no row is taken for gone this time")
    yield from _whole(run, ask.table, windows, watch, strict=False)
    return {"digest": ""}


def _whole(run: ContaAzulRun, table: Table, windows: Sequence[Stretch], watch: Watch, *, strict: bool) -> Iterator[Page]:
    """All pages of a list. With `strict`, raises _Short at its end where it has fewer rows than its totals say."""
    keys: set[Any] = set()
    totals: dict[Stretch | None, int] = {}
    parts = _by_window(run, table, windows) if windows else ((None, [page]) for page in walk(run.get, table))
    for window, pages in parts:
        watch(window, pages)
        for page in pages:
            keys.update(identity(table, record) for record in page.records)
            totals[page.stretch] = page.total or 0
            yield Page(page.records, page.answer.at)
    total = sum(totals.values())
    if strict and len(keys) < total and table.name not in INVENTED_TOTALS:
        raise _Short(f"{len(keys)} rows came of a list that says it has {total}")


def _by_window(run: ContaAzulRun, table: Table, windows: Sequence[Stretch]) -> Iterator[tuple[Stretch | None, list[Listed]]]:
    """All pages of each window, several windows at once."""
    yield from zip(windows, run.workers.each(windows, lambda window: list(cut(run.get, table, window))), strict=True)


def _windows(filter_: Filter, low: dt.datetime, high: dt.datetime) -> list[Stretch]:
    """Windows of the longest length allowed, on a fixed grid, that cover the days from `low` to `high`."""
    length = filter_.longest.days
    first, last = ((day_of(moment) - BEGINNING).days // length for moment in (low, high))
    starts = (BEGINNING + number * length * DAY for number in range(first, last + 1))
    return [Stretch(filter_, start, start + (length - 1) * DAY) for start in starts]


def _name(window: Stretch | None) -> str:
    return window.low.date().isoformat() if window else ""


def _digest(pages: Iterable[Listed]) -> str:
    return digest(record for page in pages for record in page.records)


def _all_due(table: Table) -> Stretch:
    """The window of due dates that the contract names, which leaves nothing out."""
    params = dict(table.params)
    low, high = (dt.datetime.fromisoformat(params[name]).replace(tzinfo=ZONE) for name in (DUE.low, DUE.high))
    return Stretch(DUE, low, high)


def _changed(run: ContaAzulRun, table: Table, low: dt.datetime, high: dt.datetime) -> Iterator[Listed]:
    whole = Stretch(CHANGED, low.astimezone(ZONE).replace(microsecond=0), high.astimezone(ZONE))
    for piece in whole.pieces():
        yield from cut(run.get, table, piece)


def _times(run: ContaAzulRun, ask: Ask, records: Iterable[Record]) -> list[str]:
    """When the rows changed, UTC. Documents show a `Z` where times are said to be GMT-3: should one come, people are told."""
    values = [pick(record, "data_alteracao")[0] for record in records]
    if any(str(value).endswith("Z") for value in values):
        run.tell_once(ask, "times come with a Z and are taken as UTC; compare one with the app, it may be GMT-3 all the same")
    return [moment_of(value) for value in values]


def _moments(run: ContaAzulRun, ask: Ask) -> Iterator[Item]:
    """A list by moments of which the rows say nothing: every window on every run."""
    _prove(run, ask.table)
    windows = list(Stretch(FEED, run.since, run.now + DAY).pieces())
    state = yield from _listing(run, ask, windows)
    yield Checkpoint(state)


def _prove(run: ContaAzulRun, table: Table) -> None:
    """Raise where the filter by moments is not heard: a day that can hold nothing must be empty."""
    page = next(walk(run.get, table, NOTHING))
    if page.records:
        raise page.answer.fault(
            f"rows came for a day in 2000: Conta Azul ignored {FEED.low} and {FEED.high}, which may have got other names"
        )


def _inside(record: Record, field: str) -> list[Record]:
    array = inner(record, field)
    return elements(array) if array is not None else []


FUNCTIONS: dict[str, Callable[[Any, Ask], Iterator[Item]]] = {
    "change_feed": change_feed,
    "changed_events": changed_events,
    "children_of_changed": children_of_changed,
    "daily_snapshot": daily_snapshot,
    "date_window": date_window,
    "from_parent": from_parent,
    "full_list": full_list,
    "modified_window": modified_window,
    "single_object": single_object,
    "tree": tree,
}
"""The functions that the contracts name in `rows:`."""
