"""Settings come from the environment, and invalid values are reported."""

from dataclasses import fields
from pathlib import Path

import pytest

from serving.settings import Settings, SettingsError, describe


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = Settings.from_environ({})
    assert settings == Settings()
    assert settings.model_root == Path("artifacts/models")


def test_an_empty_variable_counts_as_absent() -> None:
    assert Settings.from_environ({"HOST": "", "PORT": "", "MODEL_NAME": ""}) == Settings()


def test_variables_are_read_by_their_upper_case_names() -> None:
    settings = Settings.from_environ({"HOST": "::1", "PORT": "9000", "ARTIFACTS": "/data", "MODEL_NAME": "shoes"})
    assert (settings.host, settings.port) == ("::1", 9000)
    assert settings.model_root == Path("/data/models")
    assert settings.model_name == "shoes"


def test_models_overrides_where_artifacts_would_have_them() -> None:
    settings = Settings.from_environ({"ARTIFACTS": "/data", "MODELS": "/pushed"})
    assert settings.model_root == Path("/pushed")


@pytest.mark.parametrize("text", ["abc", "80.5", "1e3", " 80", "1_0", "٣", "-1", "65536", "9" * 5000, "--1"])
def test_a_port_that_is_none_is_refused_with_its_name_range_and_what_came(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^PORT must be a whole number from 0 to 65535\. Received: ") as caught:
        Settings.from_environ({"PORT": text})
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("name", ["WORKERS", "THREADS", "MAX_IMAGES", "MAX_BODY_BYTES", "MAX_IMAGE_PIXELS"])
def test_none_of_something_needed_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} must be a whole number from 1 to .* Received: 0"):
        Settings.from_environ({name: "0"})


@pytest.mark.parametrize("host", ["http://localhost", "local host", "[::1]", "a@b"])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(SettingsError, match=r"^HOST must be an address or a host name"):
        Settings.from_environ({"HOST": host})


@pytest.mark.parametrize("status", ["430", "502"])
def test_an_overload_is_answered_with_503_or_429_and_nothing_else(status: str) -> None:
    with pytest.raises(SettingsError, match=r"^OVERLOAD_STATUS must be 503 or 429\. Received: "):
        Settings.from_environ({"OVERLOAD_STATUS": status})


@pytest.mark.parametrize("name", ["RUNTIME", "LOG_FORMAT"])
def test_a_word_that_is_no_choice_is_refused_with_the_choices(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name} must be \w+ or \w+\. Received: 'onnx'\.$"):
        Settings.from_environ({name: "onnx"})


def test_settings_made_in_code_are_checked_too() -> None:
    with pytest.raises(SettingsError, match=r"^PORT"):
        Settings(port=-1)


def test_the_help_lists_every_variable_with_its_default() -> None:
    lines = describe().splitlines()
    assert {line.split()[0] for line in lines} == {each.name.upper() for each in fields(Settings)}
    assert all("[" in line for line in lines)
    assert any(line.startswith("  PORT ") and line.endswith("[8080]") for line in lines)
