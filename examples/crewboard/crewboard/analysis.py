"""The endpoints of site analysis: anybody may ask for one, members may keep it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crewboard.analyzer import PAGES_DEFAULT, PAGES_LIMIT
from crewboard.database import Connection
from crewboard.feed import News
from crewboard.replies import Problem, number, parse, read_body, reply
from crewboard.services import services, signed_in
from crewboard.writes import Written, write_once

Url = Annotated[str, msgspec.Meta(max_length=500, pattern=r"^https?://[^\s\x00]+$")]
# The same site has the same analysis for everybody: the one answer of this API that may be shared.
SHARED_S = 60


class Site(msgspec.Struct, forbid_unknown_fields=True):
    """A site to analyse; `work` is the number of pages to look at."""

    url: Url
    work: Annotated[int, msgspec.Meta(ge=1, le=PAGES_LIMIT)] = PAGES_DEFAULT


async def look_at(request: Request) -> Response:
    """GET /api/analysis?url=&work=: analyse a site for anybody, without keeping the result."""
    pages = number(request, "work", PAGES_DEFAULT, 1, PAGES_LIMIT)
    try:
        site = msgspec.convert({"url": request.query_params.get("url"), "work": pages}, Site)
    except msgspec.ValidationError as error:
        raise Problem(422, "`url` must be an address that begins with http:// or https://.") from error
    analysis = await services(request).analyzer.analyze(site.url, site.work)
    return reply(analysis, headers={"cache-control": f"public, max-age={SHARED_S}"})


async def keep(request: Request) -> Response:
    """POST /api/analysis {"url", "work"}: analyse a site and keep the result for the company."""
    session = await signed_in(request)
    body = await read_body(request)
    site = parse(body, Site)
    analysis = await services(request).analyzer.analyze(site.url, site.work)

    async def write(connection: Connection) -> Written:
        analysis_id = await connection.fetchval(
            "INSERT INTO analyses (company_id, url, result) VALUES ($1, $2, $3) RETURNING analysis_id",
            session.company_id,
            site.url,
            msgspec.json.encode(analysis).decode(),
        )
        kept = {"analysis_id": analysis_id, **msgspec.structs.asdict(analysis)}
        return Written(kept, news=News("site.analysed", {"url": site.url, "score": analysis.score}))

    return await write_once(request, session, body, write)


routes = [
    Route("/api/analysis", look_at),
    Route("/api/analysis", keep, methods=["POST"]),
]
