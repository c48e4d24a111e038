"""The handler of the four statistics of calls (contract 21)."""

from datetime import UTC, datetime

import orjson
from aiohttp import web

from service import errors
from service.errors import QueryTimeoutError
from service.query import Filter, Query
from service.statistics import buckets, parameters, report
from service.statistics.buckets import TooManyBucketsError
from service.statistics.parameters import StatisticsError
from service.statistics.question import STATISTICS, Question
from service.statistics.service import Measures
from service.web import parameters as query_parameters
from service.web import responses
from service.web.keys import CALLER, ENDPOINT, STATE

TOO_MANY_BUCKETS = "too many buckets, choose a shorter range or a larger sampling"


async def show(request: web.Request) -> web.Response:
    """Columns by bucket and totals, or a 400 in the statistics' format. Raises ApiError."""
    try:
        return responses.plain_json(await _answer(request))
    except TooManyBucketsError:
        return _refused(TOO_MANY_BUCKETS)
    except StatisticsError as error:
        return _refused(str(error))
    except QueryTimeoutError as error:
        raise errors.statistics_timed_out() from error


async def _answer(request: web.Request) -> bytes:
    services, asked = request.app[STATE].services, query_parameters.of(request)
    statistic = STATISTICS[request[ENDPOINT].template.rpartition("/")[2]]
    calls = services.resources[statistic.resource]
    account = await _account(request, parameters.account(asked, calls.accounts))
    question = parameters.question(statistic, asked, calls, datetime.now(UTC))
    if question is None:
        return b"[]"
    starts = buckets.starts(question.sampling, calls.schema.time_zone, question.first, question.until)
    filters = (Filter("account_id", "eq", (account,)), *question.filters)
    query = Query(calls, (), request[CALLER], filters)
    sums = await services.statistics[calls.table].sums(query, _measures(request, question), question, starts)
    return report.report(question, starts, sums)


async def _account(request: web.Request, uuid: str) -> int:
    """The internal id of an account in the caller's scope. Raises StatisticsError, ApiError."""
    services = request.app[STATE].services
    row = await services.lookup.nearby(Query(services.resources["accounts"], ("number",), request[CALLER]), uuid)
    if row is None:
        raise StatisticsError("invalid value account-id")
    return int(row[0])


def _measures(request: web.Request, question: Question) -> Measures:
    settings, statistic = request.app[STATE].settings.statistics, question.statistic
    billed = settings.customer_duration if statistic.has_auth_ip else settings.vendor_duration
    return Measures(statistic.billed if billed else "duration", statistic.price)


def _refused(text: str) -> web.Response:
    return responses.plain_json(
        orjson.dumps({"error": text}), status=400, cache_control=responses.NO_CACHE["cache-control"]
    )
