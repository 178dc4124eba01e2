"""How the APIs reply to predictions: JSON by orjson, in a response that Flask need not complete."""

from typing import Any

import orjson
from flask import Response


class Reply(Response):
    """A reply of one piece whose headers are complete, so that nothing is looked up, computed or closed for it."""

    def get_wsgi_headers(self, environ: Any) -> Any:
        """As they are."""
        return self.headers

    def get_app_iter(self, environ: Any) -> Any:
        """As it is."""
        return self.response


def reply(content: Any) -> Response:
    """`content` as JSON; keys keep their order, and numpy arrays are lists."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Reply([body], headers=[("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
