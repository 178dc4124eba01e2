"""What /openapi.json promises is kept: schemathesis makes requests from it, good and bad, and looks at each reply."""

import os
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serving.model.served import Served
from tests.serving.bridged import bridged

# A schema cannot say which bytes are a picture, so none is asked of what is accepted.
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = max(1, int(os.environ.get("FUZZ", "500")) // 20)


@pytest.fixture
def operations(predictor: Any) -> list[Any]:
    schema = schemathesis.openapi.from_wsgi("/openapi.json", bridged(Served(predictor)).application)
    return [found.ok() for found in schema.get_all_operations()]


def test_replies_are_what_the_description_says(operations: list[Any]) -> None:
    assert len(operations) > 15
    for operation in operations:

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
        @given(case=operation.as_strategy())
        def reply_conforms(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=CHECKS)

        reply_conforms()
