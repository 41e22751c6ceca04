"""The frontier of a list: what is new in a second reading, and what the state keeps."""

import datetime as dt

from datalake.sources.frontier import MOST_SEEN, Frontier

HOUR = dt.timedelta(hours=1)


def read(state: dict[str, object], *rows: tuple[bytes, str]) -> tuple[list[bytes], dict[str, object]]:
    frontier = Frontier(state, HOUR)
    fresh = frontier.fresh([row for row, _ in rows], [time for _, time in rows])
    return [bytes(record) for record, _ in fresh], frontier.state()


def test_rows_read_again_are_told_only_if_they_changed() -> None:
    first = (b'{"id":1,"v":1}', "2026-11-22T12:30:00Z"), (b'{"id":2,"v":1}', "2026-11-22T13:00:00Z")
    told, state = read({}, *first)
    assert len(told) == 2
    assert Frontier(state, HOUR).start == "2026-11-22T12:00:00Z"
    changed = b'{"id":1,"v":2}', "2026-11-22T13:05:00Z"
    told, later = read(state, first[1], changed)
    assert told == [changed[0]]
    assert later["newest"] == "2026-11-22T13:05:00Z"


def test_a_row_that_goes_back_to_an_earlier_form_is_told() -> None:
    one, two = (b'{"id":1,"v":1}', "2026-11-22T13:00:00Z"), (b'{"id":1,"v":2}', "2026-11-22T13:00:00Z")
    _, state = read({}, one)
    _, state = read(state, two)
    told, _ = read(state, one)
    assert told == [one[0]]


def test_the_state_stays_as_it_was_where_nothing_new_came() -> None:
    _, state = read({}, (b"1", "2026-11-22T13:00:00Z"), (b"2", "2026-11-22T12:59:00Z"))
    assert read(state, (b"1", "2026-11-22T13:00:00Z")) == ([], state)
    assert read({}) == ([], {})


def test_the_state_is_bounded_and_keeps_the_newest() -> None:
    rows = [(b"%d" % n, f"2026-11-22T13:{n // 60 % 60:02d}:{n % 60:02d}Z") for n in range(3_000)]
    frontier = Frontier({}, HOUR)
    for start in range(0, len(rows), 100):
        page = rows[start : start + 100]
        frontier.fresh([row for row, _ in page], [time for _, time in page])
    state = frontier.state()
    assert len(state["seen"]) == MOST_SEEN
    told, _ = read(state, *rows[-MOST_SEEN:])
    assert told == []
