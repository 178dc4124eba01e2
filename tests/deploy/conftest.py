"""The real server and the small model of the service's tests, for the tests of what is built around it."""

from tests.serving.conftest import (  # noqa: F401  # fixtures
    expected,
    models,
    no_settings_of_the_caller,
    server,
    weights,
)
