"""The middlewares, from the outermost to the innermost."""

from service.web.middlewares.authenticate import authenticate
from service.web.middlewares.conditional import conditional
from service.web.middlewares.errors import errors
from service.web.middlewares.negotiate import negotiate
from service.web.middlewares.observe import observe
from service.web.middlewares.overload import overload
from service.web.middlewares.rate_limit import rate_limit
from service.web.middlewares.request_id import request_id
from service.web.middlewares.route import route
from service.web.middlewares.static import static

MIDDLEWARES = (request_id, observe, errors, static, route, authenticate, rate_limit, overload, negotiate, conditional)
