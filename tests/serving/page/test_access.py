"""The page is for everybody: by keyboard alone, on a phone, and without a violation that axe-core knows of."""

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.serving.page.conftest import answered

pytestmark = pytest.mark.slow  # starts several servers or a browser


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


@pytest.mark.slow
def test_everything_can_be_done_with_the_keyboard(site: Any, visit: Callable[..., Any]) -> None:
    page = visit(site.url)
    page.wait_for_selector("#samples button")
    for _ in range(20):
        press(page, "Tab")
        if page.evaluate("document.activeElement.title") == "Ankle boot":
            break
    press(page, "Enter")
    answered(page)
    page.focus("#paper")
    press(page, *["Space", "ArrowUp"] * 12, "Enter")
    page.wait_for_selector("#seen-caption")
    assert page.is_visible("#pen")
    page.focus("#tab-predict")
    press(page, "ArrowRight")
    page.wait_for_selector("#confusion button")
    assert page.evaluate("document.activeElement.id") == "tab-model"
    page.focus("#confusion button[tabindex='0']")
    before = page.evaluate("document.activeElement.getAttribute('aria-label')")
    press(page, "ArrowDown", "ArrowRight", "Enter")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") != before
    page.wait_for_selector("#examples canvas")


@pytest.mark.parametrize("place", ["/", "/#model"])
def test_nothing_sticks_out_on_a_narrow_phone(site: Any, visit: Callable[..., Any], place: str) -> None:
    page = visit(site.url + place, width=320)
    if place == "/":
        page.click("#samples button[title='Ankle boot']")
        answered(page)
        assert page.locator("#label").evaluate("element => element.getBoundingClientRect().bottom < innerHeight")
    else:
        page.wait_for_selector("#versions > *")
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_long_names_of_classes_do_not_stick_out_on_a_phone(site: Any, visit: Callable[..., Any]) -> None:
    def renamed(route: Any) -> None:
        body = route.fetch().json()
        of = body["predictions"][0]
        names = {label: f"black_and_gold_{label}_of_the_garden, Argiope aurantia" for label in of["probabilities"]}
        of["probabilities"] = {names[label]: share for label, share in of["probabilities"].items()}
        of["label"], of["top"] = names[of["label"]], [{**each, "label": names[each["label"]]} for each in of["top"]]
        route.fulfill(json=body)

    page = visit(site.url, width=390)
    page.route("**/predict*", renamed)
    page.click("#samples button[title='Ankle boot']")
    assert answered(page).startswith("black_and_gold")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_the_confusion_matrix_of_ten_classes_fits_a_phone(site: Any, visit: Callable[..., Any]) -> None:
    page = visit(f"{site.url}/#model", width=390)
    page.wait_for_selector("#confusion button")
    assert page.eval_on_selector("#confusion", "element => element.scrollWidth - element.clientWidth") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(site: Any, visit: Callable[..., Any], scheme: str) -> None:
    page = visit(site.url, color_scheme=scheme)
    page.click("#samples button[title='Ankle boot']")
    answered(page)
    page.click("#code summary")
    page.click("#classify")
    page.wait_for_selector("#problem:not(:empty)")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.click("#tab-model")
    page.click("#confusion button[tabindex='0']")
    page.wait_for_selector("#versions > *")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
