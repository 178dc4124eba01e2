"""The tab Model and the API's try-it page in a real browser."""

import re
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # starts several servers or a browser


def test_the_card_the_charts_and_the_versions_are_shown(site: Any, visit: Callable[..., Any]) -> None:
    page = visit(f"{site.url}/#model")
    page.wait_for_selector("#confusion button")
    card = page.text_content("#card")
    assert "fashion_mnist_sample version 1" in card
    assert "inverted contrast" in card
    assert page.locator("#curves svg").count() == 2
    assert "Accuracy against confidence" in page.get_attribute("#calibration svg", "aria-label")
    assert page.locator("#classes tbody tr").count() == 10
    page.click("#versions summary")
    assert "Passed: Accuracy on 200 test images" in page.text_content("#versions details")


def test_titles_and_legends_are_outside_the_plots(site: Any, visit: Callable[..., Any]) -> None:
    page = visit(f"{site.url}/#model")
    page.wait_for_selector("#calibration svg")
    # Of each chart, how far below its texts above the plot the highest curve, line or dot begins.
    distances = page.eval_on_selector_all(
        "#curves svg, #calibration svg",
        """svgs => svgs.map(svg => {
            const boxes = (selector) => Array.from(svg.querySelectorAll(selector), (each) => each.getBBox());
            const texts = boxes("text.title, text.training, text.validation").map((box) => box.y + box.height);
            return Math.min(...boxes("polyline, line, circle").map((box) => box.y)) - Math.max(...texts);
        })""",
    )
    assert len(distances) == 3
    assert min(distances) > 0


def test_a_cell_of_the_confusion_matrix_shows_its_test_images(site: Any, visit: Callable[..., Any]) -> None:
    page = visit(f"{site.url}/#model")
    page.click("#confusion button[aria-label$='of class Trouser predicted as Trouser']")
    page.wait_for_selector("#examples canvas")
    assert page.locator("#examples canvas").count() == 8
    assert page.text_content("#examples").startswith("Trouser predicted as Trouser: ")
    painted = (
        "canvas => canvas.getContext('2d').getImageData(0, 0, 28, 28).data.some((each, i) => i % 4 !== 3 && each > 50)"
    )
    page.wait_for_function(f"({painted})(document.querySelector('#examples canvas'))")


def test_of_many_classes_the_confusion_matrix_has_those_with_the_most_mistakes(
    site: Any, visit: Callable[..., Any]
) -> None:
    counts = [[5 * (truth == guess) for guess in range(200)] for truth in range(200)]
    counts[150][160] = 3

    def described(route: Any) -> None:
        body = route.fetch().json()
        body["card"]["classes"] = [f"class {number}" for number in range(200)]
        route.fulfill(json=body)

    page = visit(site.url)
    page.route(re.compile(r"/model(\?.*)?$"), described)
    page.route("**/evaluation.json*", lambda route: route.fulfill(json={**route.fetch().json(), "confusion": counts}))
    page.reload()
    page.click("#tab-model")
    page.wait_for_selector("#confusion button[aria-label='3 of class class 150 predicted as class 160']")
    assert page.text_content("#confusion caption") == "The 50 classes of 200 with the most mistakes."
    assert page.locator("#confusion tbody tr").count() == 50


def test_an_imported_model_that_was_not_calibrated_promises_no_frequencies(
    site: Any, visit: Callable[..., Any]
) -> None:
    def imported(route: Any) -> None:
        body = route.fetch().json()
        body["card"]["config"] = {"imported": "model.keras", "temperature": 1.0}
        route.fulfill(json=body)

    page = visit(site.url)
    page.route(re.compile(r"/model(\?.*)?$"), imported)
    page.reload()
    page.click("#samples button[title='Ankle boot']")
    page.wait_for_selector("#answer:not([hidden])")
    assert page.text_content("#words").endswith(", which was not calibrated.")


def test_a_version_of_an_older_trainer_is_shown_as_far_as_it_goes(server: Any, visit: Callable[..., Any]) -> None:
    page = visit(f"{server.url}/#model")
    page.wait_for_selector("#confusion p")
    assert page.text_content("#confusion") == "This version has no confusion matrix: an older trainer pushed it."
    assert "fashion_mnist version 1" in page.text_content("#card")
    page.click("#tab-predict")
    page.click("#samples button[title='Bag']")
    page.wait_for_selector("#answer:not([hidden])")
    assert page.text_content("#words").endswith(" %, which was not calibrated.")


def test_the_api_can_be_tried_out(site: Any, visit: Callable[..., Any]) -> None:
    page = visit(f"{site.url}/docs")
    page.click("#operations-Predict_and_health-get_readyz button.opblock-summary-control")
    page.click("text=Try it out")
    page.click("text=Execute")
    page.wait_for_selector(".responses-table.live-responses-table")
    assert "fashion_mnist_sample" in page.text_content(".live-responses-table")
