"""How the stand-in for GitHub shapes its REST answers: pages, cursors, refusals. What it tells lives in its other files."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from datalake.sandbox.base import answer
from datalake.sandbox.github_records import Thing, Told

DOCS = "https://docs.github.com/rest"


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.body = {"message": message, "documentation_url": DOCS, "status": str(status), **more}


def paged(request: Request, items: Sequence[Any], wrap: str = "", path: str = "", most: int | None = None) -> Response:
    """One page with its Link header; `path` replaces the one asked for in the links, as GitHub does."""
    reachable = items[:most] if most is not None else items
    start, links = page_of(request, len(reachable), path)
    body = shown(reachable[start : start + whole(request, "per_page", 30, 100)])
    return answer({"total_count": len(items), wrap: body} if wrap else body, headers=links)


def page_of(request: Request, count: int, path: str = "") -> tuple[int, dict[str, str] | None]:
    """Where the page that is asked for starts, and its Link header."""
    size = whole(request, "per_page", 30, 100)
    page = whole(request, "page", 1, 10**9)
    last = max(1, math.ceil(count / size))
    links = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
    if page == 1:
        del links["prev"], links["first"]
    if page >= last:
        del links["next"], links["last"]
    base = f"{request.url.scheme}://{request.url.netloc}{path or request.url.path}"
    asked = {k: v for k, v in request.query_params.items() if k != "page"}
    link = ", ".join(f'<{base}?{urlencode({**asked, "page": number})}>; rel="{rel}"' for rel, number in links.items())
    return (page - 1) * size, {"link": link} if link else None


def cursored(request: Request, items: Sequence[Any], path: str = "") -> Response:
    """A page of a list that knows no page numbers: `after` says where it goes on, and `page` is not looked at."""
    size = whole(request, "per_page", 30, 100)
    start = 0
    if after := request.query_params.get("after"):
        try:
            start = int(base64.urlsafe_b64decode(after).decode())
        except ValueError:
            raise Refused(422, f"'{after}' is no cursor") from None
    headers = None
    if start + size < len(items):
        base = f"{request.url.scheme}://{request.url.netloc}{path or request.url.path}"
        asked = {k: v for k, v in request.query_params.items() if k not in ("after", "page")}
        cursor = base64.urlsafe_b64encode(str(start + size).encode()).decode()
        headers = {"link": f'<{base}?{urlencode({**asked, "after": cursor})}>; rel="next"'}
    return answer(shown(items[start : start + size]), headers=headers)


def shown(items: Sequence[Any]) -> list[Any]:
    """The records of items, which take note that somebody saw them."""
    return [item.show() if isinstance(item, Thing | Told) else item for item in items]


def whole(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, "")
    return min(int(text), most) if text.isdigit() and int(text) else default
