"""What each request leaves behind: ids, headers, figures, log lines, traces. And who may ask at all."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving import metrics, tracing
from serving.keys import Keys
from serving.logs import JsonFormatter, request_id
from serving.model.served import Served
from serving.settings import Settings, SettingsError
from tests.serving.bridged import BridgeClient, bridged

PIXELS = bytes([5]) * 784
OCTETS = "application/octet-stream"
KEY = "correct-horse"
HASH = hashlib.sha256(KEY.encode()).hexdigest()


PROTOCOLS = ("other", "native", "tensorflow_serving", "open_inference")


def value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(f"serving_{name}", labels) or 0.0


def test_a_prediction_is_counted_timed_and_looked_at(client: BridgeClient) -> None:
    names: list[tuple[str, dict[str, str]]] = [
        ("requests_total", {"protocol": "native", "code": "200", "model": "fashion_mnist", "version": "7"}),
        ("request_seconds_count", {"protocol": "native"}),
        ("phase_seconds_count", {"phase": "parse"}),
        ("phase_seconds_count", {"phase": "queue"}),
        ("phase_seconds_count", {"phase": "compute"}),
        ("batch_images_count", {}),
        ("predicted_classes_total", {"model": "fashion_mnist", "label": "Sandal"}),
        ("confidence_count", {"model": "fashion_mnist"}),
    ]
    before = [value(name, **labels) for name, labels in names]
    client.post("/predict", data=PIXELS, content_type=OCTETS)
    after = [value(name, **labels) for name, labels in names]
    assert [new - old for new, old in zip(after, before, strict=True)] == [1] * len(names)


@pytest.mark.parametrize("count", [1, metrics.MAX_PENDING + 1])
def test_a_scrape_counts_every_request_before_it(client: BridgeClient, count: int) -> None:
    names = ["requests_total", "request_seconds_count", "confidence_count"]
    labels = [
        {"protocol": "native", "code": "200", "model": "fashion_mnist", "version": "7"},
        {"protocol": "native"},
        {"model": "fashion_mnist"},
    ]
    before = [value(name, **each) for name, each in zip(names, labels, strict=True)]
    for _ in range(count):
        client.post("/predict", data=PIXELS, content_type=OCTETS)
    text = client.get("/metrics").text.splitlines()
    counted, timed, sure = (float(each + count) for each in before)
    series = 'code="200",model="fashion_mnist",protocol="native",version="7"'
    assert f"serving_requests_total{{{series}}} {counted}" in text
    assert f'serving_request_seconds_count{{protocol="native"}} {timed}' in text
    assert f'serving_confidence_count{{model="fashion_mnist"}} {sure}' in text


@pytest.mark.parametrize("path", ["/healthz", "/v1/models/fashion_mnist", "/v2/health/ready", "/model", "/metrics"])
def test_probes_and_descriptions_do_not_count_as_predictions(client: BridgeClient, path: str) -> None:
    names: list[tuple[str, dict[str, str]]] = [
        *(
            ("requests_total", {"protocol": protocol, "code": "200", "model": "", "version": ""})
            for protocol in PROTOCOLS
        ),
        *(("request_seconds_count", {"protocol": protocol}) for protocol in PROTOCOLS),
    ]
    before = [value(name, **labels) for name, labels in names]
    assert client.get(path).status_code == 200
    after = [value(name, **labels) for name, labels in names]
    assert [new - old for new, old in zip(after, before, strict=True)] == [1, 0, 0, 0, 1, 0, 0, 0]


def test_metrics_are_in_prometheus_format(client: BridgeClient) -> None:
    client.post("/v1/models/fashion_mnist:predict", data="{")
    reply = client.get("/metrics")
    assert reply.content_type.startswith("text/plain; version=")
    assert 'serving_requests_total{code="400",model="",protocol="tensorflow_serving",version=""}' in reply.text


def test_a_request_id_is_kept_or_given_and_a_forged_one_is_not_printed(client: BridgeClient) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": "abc-1"}).headers["X-Request-ID"] == "abc-1"
    for bad in ("", "a b", "x" * 129, '"}'):
        given = client.get("/healthz", headers={"X-Request-ID": bad}).headers["X-Request-ID"]
        assert len(given) == 32
    assert request_id.get() is None


def test_replies_are_neither_sniffed_nor_cached(client: BridgeClient) -> None:
    for reply in (client.get("/healthz"), client.get("/nowhere"), client.post("/predict", data="x")):
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Cache-Control"] == "no-store"


def test_a_log_line_is_one_json_object_with_the_request_s_id(predictor: Any, caplog: pytest.LogCaptureFixture) -> None:
    client = bridged(Served(predictor), Settings(access_log=1))
    formatter, lines = JsonFormatter(), []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(formatter.format(record))  # type: ignore[method-assign]
    logging.getLogger("serving").addHandler(handler)
    try:
        with caplog.at_level(logging.INFO, "serving"):
            client.post("/predict", data=PIXELS, content_type=OCTETS, headers={"X-Request-ID": "abc"})
    finally:
        logging.getLogger("serving").removeHandler(handler)
    (line,) = map(json.loads, lines)
    assert (line["message"], line["request_id"], line["code"]) == ("POST /predict", "abc", 200)
    assert (line["model"], line["version"]) == ("fashion_mnist", "7")
    assert line["time"].endswith("+00:00")


def test_a_log_line_stays_one_line_whatever_it_holds() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, "", 0, "bad\nname %s", ("x",), __import__("sys").exc_info())
    text = JsonFormatter().format(record)
    assert "\n" not in text
    assert json.loads(text)["message"] == "bad\nname x"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-API-Key": KEY}, 200),
        ({"X-API-Key": "wrong"}, 401),
        ({"X-API-Key": HASH}, 401),
        ({"Authorization": f"Bearer {KEY}"}, 200),
        ({"Authorization": f"bearer  {KEY} "}, 200),
        ({"Authorization": f"Basic {KEY}"}, 401),
        ({"Authorization": "Bearer"}, 401),
    ],
)
def test_with_keys_only_who_has_one_may_predict(predictor: Any, headers: dict[str, str], status: int) -> None:
    client = bridged(Served(predictor), Settings(api_keys=HASH))
    reply = client.post("/predict", data=PIXELS, content_type=OCTETS, headers=headers)
    assert reply.status_code == status
    assert (predictor.seen is None) == (status == 401)
    assert client.get("/healthz").status_code == client.get("/v2/health/ready").status_code == 200
    for path in ("/v1/models/fashion_mnist:predict", "/v2/models/fashion_mnist/infer"):
        refused = client.post(path, data="{}")
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert "error" in refused.json


def test_keys_come_from_a_file_with_remarks(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# who may ask\n\n{HASH}  a client\n")
    keys = Keys(Settings(api_keys_file=path))
    assert keys.needed
    assert keys.accept(KEY)
    assert not keys.accept("")


def test_each_of_several_keys_opens_and_a_line_may_have_a_remark_behind_its_hash(tmp_path: Path) -> None:
    names = ("first", "second", "third", "fourth")
    first, second, third, fourth = (hashlib.sha256(name.encode()).hexdigest() for name in names)
    path = tmp_path / "keys"
    path.write_text(f"{third} # a client\n{fourth.upper()}\t# another, with no key any more: {HASH}\n")
    keys = Keys(Settings(api_keys=f"{first},{second}", api_keys_file=path))
    assert [keys.accept(name) for name in names] == [True] * 4
    assert not keys.accept(KEY)


def test_a_key_that_is_no_hash_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^API_KEYS must be SHA-256 hashes") as caught:
        Keys(Settings(api_keys=f"{HASH},{KEY}"))
    assert KEY not in str(caught.value)
    with pytest.raises(SettingsError, match=r"^API_KEYS_FILE must be a file of hashes"):
        Keys(Settings(api_keys_file=tmp_path / "none"))


@pytest.mark.parametrize("text", ["", "# nobody yet\n"])
def test_where_keys_were_meant_to_be_none_is_no_open_door(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    for settings in (Settings(api_keys_file=path), Settings(api_keys=" , ")):
        with pytest.raises(SettingsError, match="must hold at least one hash"):
            Keys(settings)


def test_a_model_that_answers_nan_does_not_break_the_metrics(
    client: BridgeClient, predictor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = value("confidence_count", model="fashion_mnist")
    nothing = np.full((1, 10), np.nan, np.float32)
    monkeypatch.setattr(type(predictor), "predict", lambda _self, _images: nothing)
    client.post("/predict", data=PIXELS, content_type=OCTETS)
    assert value("confidence_count", model="fashion_mnist") == before
    assert client.get("/metrics").status_code == 200


def test_only_what_was_shed_counts_as_rejected() -> None:
    before = value("rejected_total", reason="overload")
    reply = bridged(Served(), Settings(ready_timeout=0)).post("/predict", data=PIXELS)
    assert reply.status_code == 503
    assert value("rejected_total", reason="overload") == before


def test_a_path_cannot_forge_a_line_of_the_log(predictor: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "serving"):
        bridged(Served(predictor), Settings(access_log=1)).get("/%0a[ERROR] forged")
    assert "\n" not in caplog.messages[-1]


def test_a_traced_prediction_has_its_phases_under_the_caller_s_trace(predictor: Any) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="the extra `traces` is not installed")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    client = bridged(Served(predictor))
    tracing.follow(client.flask, provider)
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    client.post("/predict", data=PIXELS, content_type=OCTETS, headers={"traceparent": caller})
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert list(spans) == ["parse", "queue", "compute", "POST /predict"]
    whole = spans["POST /predict"]
    assert f"{whole.context.trace_id:x}" == "af7651916cd43dd8448eb211c80319c"
    assert whole.attributes["model.version"] == "7"
    assert all(spans[name].parent.span_id == whole.context.span_id for name in ("parse", "queue", "compute"))
    provider.shutdown()
