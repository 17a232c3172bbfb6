"""The page in a real browser: Debian's chromium, without a window."""

import json
import re
import shutil

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from page_stores import HOSTILE, PAPER, write_fashion, write_page, write_search, write_site, write_store
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from fmnist_sweep.report.__main__ import main as report_main
from fmnist_sweep.report.texts import LANGUAGES

BACKGROUND = {"light": "rgb(255, 255, 255)", "dark": "rgb(23, 25, 28)"}

pytestmark = pytest.mark.browser

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """In each language: a store's page on a paper, on the sweep itself, and the front page and a page of a site."""
    folder = tmp_path_factory.mktemp("page")
    labels = write_fashion(folder / "fashion")
    write_store(folder / "runs", labels)
    write_search(folder / "runs")
    write_search(folder / "runs", name="front", objectives=("val_loss", "train_loss"))
    written = {}
    for language in LANGUAGES:
        written[language] = write_page(folder / "runs", folder / "fashion", folder / language, language)
        written[f"front {language}"], written[f"paper {language}"] = write_site(
            folder / "runs", folder / f"site-{language}", language
        )
        output = folder / f"sweep-{language}"
        options = ["--paper", "none", "--lang", language, "--data", folder / "fashion", "--output", output]
        assert report_main([*map(str, (folder / "runs", *options))]) == 0
        written[f"sweep {language}"] = output / "index.html"
    return written


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """One browser for all tests, with its console and its requests on record."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(programs):
        pytest.fail("no Chromium to open the page in: apt-get install chromium chromium-driver", pytrace=False)
    options = webdriver.ChromeOptions()
    options.binary_location = str(programs[0])
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(programs[1])))
    yield driver
    driver.quit()


class Page:
    """The page, open in the browser."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, path, width=1280):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        for log in ("browser", "performance"):
            self.driver.get_log(log)
        self.driver.get(path.as_uri())
        ready = """
            return [...document.querySelectorAll('.plot')].every(e => e.querySelector('.xtick'))
        """
        self.until(lambda: self.js(ready))
        return self

    def prefer(self, scheme):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def press(self, element, key):
        self.js("arguments[0].focus()", element)
        ActionChains(self.driver).send_keys(key).perform()

    def violations(self):
        """Return axe-core's objections: rule, and the elements."""
        # As a developer's console would, which the page's policy does not bind.
        self.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE_SCRIPT})
        found = self.driver.execute_async_script("axe.run().then(arguments[0])")
        assert len(found["passes"]) > 30
        return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]]

    def js(self, script, *values):
        return self.driver.execute_script(script, *values)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def texts(self, selector):
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent.trim())"
        return self.js(script, selector)

    def until(self, condition):
        WebDriverWait(self.driver, 20, poll_frequency=0.05).until(lambda _: condition())

    def column(self, table, label):
        return self.texts(f"#{table} tbody td[data-label='{label}']")

    def click(self, element):
        self.js("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def requests(self):
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]


@pytest.fixture
def page(chromium):
    """The browser; after the test its console must be empty and no hostile text may have run."""
    yield Page(chromium)
    assert chromium.get_log("browser") == []
    assert chromium.execute_script("return typeof window.pwned") == "undefined"


@pytest.mark.parametrize("language", LANGUAGES)
def test_everything_is_there_and_nothing_is_fetched(page, pages, language):
    page.open(pages[language])
    requests = page.requests()
    assert [url for url in requests if not url.startswith(("data:", "blob:"))] == [pages[language].as_uri()]
    assert set(page.js("return [...document.querySelectorAll('.claims tbody tr')].map(e => e.id)")) == {
        f"claim-{claim.id}" for claim in PAPER.claims
    }
    sizes = page.js("return [...document.images].map(e => e.naturalWidth)")
    assert len(sizes) == 2 and all(size > 1000 for size in sizes)
    assert len(page.texts("#figures article")) == 6  # with that of the statements of no figure
    assert page.js("return document.getElementById('curves-plot').data.length") >= 14
    assert len(page.all(".nearest tbody tr")) > 1
    assert len(page.all(".plot .plotly .xtick")) > 6 == len(page.all(".plot"))
    assert len(page.all(".sheet")) == 2
    assert len(page.all("#runs-table tbody tr")) == 18 + len(HOSTILE)
    assert page.js("return document.documentElement.lang") == language


def test_spanish_is_spanish(page, pages):
    page.open(pages["es"])
    assert page.texts("h2")[1:] == [
        "Figura por figura",
        "Configuraciones más cercanas",
        "Curvas interactivas",
        "Búsquedas",
        "Comparaciones",
        "Qué clases se confunden",
        "Corridas que faltan",
        "Todas las corridas",
        "Problemas",
        "Cómo leer esta página",
    ]
    page.js("for (const e of document.querySelectorAll('details')) e.open = true")
    said = page.js("return document.body.innerText")
    for name in sorted(PAPER.configurations, key=len, reverse=True):  # the paper's file gives them
        said = said.replace(name, "")
    for english in ("reproduced", "Search", "Verdict", "Seeds", "epochs", "validation", "shown", "running"):
        assert english not in said
    titles = page.js("return [...document.querySelectorAll('#curves-plot .modebar-btn')].map(e => e.dataset.title)")
    assert titles == ["Acercar", "Alejar", "Restablecer ejes", "Descargar como PNG"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", ["", "sweep ", "front ", "paper "])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_no_wider_than_the_window(page, pages, language, kind, width):
    page.open(pages[kind + language], width)
    page.js("for (const e of document.querySelectorAll('details')) e.open = true")
    assert page.js("return [document.documentElement.scrollWidth, innerWidth]") == [width, width]
    beyond = """
        return [...document.querySelectorAll('main *')].filter(e => {
            const box = e.getBoundingClientRect();
            const beyond = box.width && (box.right > innerWidth + 1 || box.left < -1);
            return beyond && !e.closest('.scroll, nav, svg');
        }).map(e => e.outerHTML.slice(0, 80));
    """
    assert page.js(beyond) == []


def visible_verdicts(page):
    rows = "[...document.querySelectorAll('.claims tbody tr')].filter(e => e.checkVisibility())"
    return page.js(f"return {rows}.map(e => e.dataset.verdict)")


def test_a_sweeps_page_says_which_configuration_is_best(page, pages):
    page.open(pages["sweep en"])
    assert page.one("#sweep h2").text.startswith("Best: ")
    assert page.one("#sweep tbody tr td").text == "1"
    fetched = [url for url in page.requests() if not url.startswith(("data:", "blob:"))]
    assert fetched == [pages["sweep en"].as_uri()]
    assert not page.js("return window.pwned")


def test_statements_fold_by_figure_with_those_not_reproduced_first(page, pages):
    page.open(pages["en"], 360)
    assert visible_verdicts(page) == []
    page.js("document.body.scrollTo(0, 0)")
    folds = page.all("details.statements")
    page.click(folds[3].find_element(By.TAG_NAME, "summary"))
    order = ["not-reproduced", "open", "reproduced", "not-run"]
    ranks = [order.index(verdict) for verdict in visible_verdicts(page)]
    assert ranks == sorted(ranks) and len(set(ranks)) > 1


def test_statements_are_filtered_by_verdict(page, pages):
    page.open(pages["en"])
    for chip in page.all("#verdicts .chip")[1:]:
        page.click(chip)
        name, count = " ".join(chip.text.split()).rsplit(" ", 1)
        assert visible_verdicts(page) == [name.replace(" ", "-")] * int(count)
    page.click(page.all("#verdicts .chip")[0])
    assert visible_verdicts(page) == []
    assert len([one for one in page.all("article") if one.is_displayed()]) == 6


def test_a_finding_leads_to_its_statement(page, pages):
    page.open(pages["front en"])
    link = page.one(".findings a")
    identifier = link.get_attribute("href").partition("#")[2]
    page.click(link)
    page.until(lambda: page.driver.current_url.endswith(f"{PAPER.name}.html#{identifier}"))
    page.until(lambda: page.one(f"#{identifier}").is_displayed())
    top = page.js("return arguments[0].getBoundingClientRect().top", page.one(f"#{identifier}"))
    assert 0 <= top < 900


def test_the_contents_stay_in_sight(page, pages):
    for width in (360, 1280):
        page.open(pages["en"], width)
        page.js("scrollTo(0, 2500)")
        box = page.js("return document.querySelector('.contents').getBoundingClientRect().toJSON()")
        assert 0 <= box["top"] < 1 and box["height"] < 900
        if width < 500:
            assert box["height"] < 60


def test_panels_stack_in_a_narrow_window(page, pages):
    shapes = {}
    for width in (360, 1280):
        page.open(pages["paper en"], width)
        page.until(lambda: page.js("return [...document.images].every(e => e.complete)"))
        shapes[width] = page.js("return [...document.images].map(e => [e.clientWidth, e.clientHeight])")[0]
    assert shapes[360][0] <= 360 and shapes[360][1] > shapes[360][0]
    assert shapes[1280][1] < shapes[1280][0]


def _in_order(values):
    return values == sorted(values)


def test_runs_are_sorted_and_filtered(page, pages):
    page.open(pages["en"], 360)
    page.click(page.one("#runs summary"))
    heading = next(one for one in page.all("#runs-table thead button") if "Accuracy, validation" in one.text)

    def accuracies():
        return [float(text) for text in page.column("runs-table", "Accuracy, validation") if text[0] == "0"]

    for sign in (1, -1):
        page.click(heading)
        page.until(lambda sign=sign: _in_order([sign * accuracy for accuracy in accuracies()]))
    assert len(accuracies()) > 15
    page.one("#runs input").send_keys("bs500")
    page.until(lambda: len([row for row in page.all("#runs-table tbody tr") if row.is_displayed()]) == 2)


def test_reasons_open_on_demand(page, pages):
    page.open(pages["en"], 360)
    page.js("document.getElementById('figure-fig1').querySelector('details.statements').open = true")
    details = page.one("#claim-adam-val-accuracy-final details")
    assert "Reason" not in details.text
    page.click(details.find_element(By.TAG_NAME, "summary"))
    assert "Reason" in details.text
    assert "seeds" in details.text


def test_hovering_shows_the_values_of_a_curve(page, pages):
    page.open(pages["en"])
    plot = page.one("#curves-plot")
    page.js("arguments[0].scrollIntoView({block: 'center'})", plot)
    spot = page.js(
        """
        const plot = document.getElementById('curves-plot'), box = plot.getBoundingClientRect();
        const line = plot.data.find(one => one.name && one.visible === true), {xaxis, yaxis} = plot._fullLayout;
        return [xaxis._offset + xaxis.l2p(line.x[9]) - box.width / 2,
                yaxis._offset + yaxis.l2p(line.y[9]) - box.height / 2, line.name, line.y[9]];
        """
    )
    ActionChains(page.driver).move_to_element_with_offset(plot, round(spot[0]), round(spot[1])).perform()
    page.until(lambda: page.texts(".hoverlayer .hovertext"))
    said = " ".join(page.texts(".hoverlayer .hovertext"))
    assert spot[2] in said
    assert "Epoch 10" in said
    assert f"{spot[3]:g}" in said


def test_metric_and_configurations_are_chosen_by_keyboard_alone(page, pages):
    page.open(pages["en"])
    shown = "return document.getElementById('curves-plot').data.map(one => one.visible)"
    before = page.js(shown)
    first = before[1::2].index(False)
    page.press(page.one("#curves summary"), Keys.ENTER)
    box = page.one(f"#curves input[value='{first}']")
    page.press(box, Keys.SPACE)
    name = box.find_element(By.XPATH, "..").text
    page.until(lambda: page.js(shown).count(True) == before.count(True) + 2)
    told = [re.sub(r"\W", "", text) for text in page.texts("#curves-plot .legendtext")]
    assert re.sub(r"\W", "", name) in told
    after = page.js(shown)
    page.press(page.one("#metric"), Keys.DOWN)
    page.until(lambda: page.texts("#curves-plot .ytitle") == ["Validation loss (nats)"])
    assert page.js(shown) == after
    lines = page.js("return document.getElementById('curves-plot').data.filter(one => one.name).map(one => one.y[0])")
    assert all(0.3 < value < 1.5 for value in lines if value is not None)


def test_statements_are_filtered_and_explained_by_keyboard_alone(page, pages):
    page.open(pages["en"])
    page.press(page.one("#verdicts input"), Keys.RIGHT)
    page.until(lambda: set(visible_verdicts(page)) == {"reproduced"})
    page.press(page.one("#verdicts input:checked"), Keys.LEFT)
    page.until(lambda: not visible_verdicts(page))
    page.press(page.one("details.statements summary"), Keys.ENTER)
    page.until(lambda: visible_verdicts(page))
    details = page.one(".claims details")
    page.press(details.find_element(By.TAG_NAME, "summary"), Keys.ENTER)
    assert "Reason" in details.text
    page.press(page.one("#runs summary"), Keys.ENTER)
    heading = next(one for one in page.all("#runs-table thead button") if "Seconds" in one.text)
    page.press(heading, Keys.ENTER)
    page.until(lambda: heading.find_element(By.XPATH, "..").get_attribute("aria-sort") == "ascending")


def test_whatever_can_be_used_is_reached_by_the_tab_key_and_shows_where_one_is(page, pages):
    page.open(pages["en"])
    usable = """
        return [...document.querySelectorAll('a[href], input, select, summary, button, .scroll')]
            .filter(e => e.checkVisibility() && !(e.type == 'radio' && !e.checked)).length
    """
    wanted = page.js(usable)
    reached = 0
    page.js("document.body.tabIndex = -1; document.body.focus()")
    for _ in range(wanted + 40):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        if page.js("return document.activeElement == document.body"):
            break
        if page.js("return document.activeElement.matches('a[href], input, select, summary, button, .scroll')"):
            reached += 1
            assert page.js("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert reached == wanted


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing_to_mend(page, pages, language, scheme, width):
    for path in (pages[kind + language] for kind in ("", "sweep ", "front ", "paper ")):
        page.prefer(scheme)
        page.open(path, width)
        page.js("for (const e of document.querySelectorAll('details')) e.open = true")
        assert page.js("return getComputedStyle(document.body).backgroundColor") == BACKGROUND[scheme]
        assert page.violations() == []


def test_the_confusions_of_any_configuration_can_be_seen(page, pages):
    page.open(pages["en"], 360)
    select = Select(page.one("#sheet"))
    for number, option in enumerate(option.text for option in select.options):
        select.select_by_visible_text(option)
        visible = [sheet for sheet in page.all(".sheet") if sheet.is_displayed()]
        assert [sheet.find_element(By.TAG_NAME, "h3").text for sheet in visible] == [option]
        samples = visible[0].find_elements(By.CSS_SELECTOR, ".sample")
        assert len(samples) == 48
        boxes = [sample.rect for sample in samples]
        assert all(box["x"] + box["width"] <= 360 for box in boxes), number
    assert page.texts(".sheet:first-of-type .recognised")[0].startswith("0.9")


def test_hostile_texts_are_shown_as_they_are(page, pages):
    page.open(pages["en"])
    page.js("document.getElementById('curves').scrollIntoView()")
    said = page.js("return document.body.textContent")
    for text in HOSTILE:
        assert text in said
    assert "<img src=x onerror=window.pwned=1>" in page.texts("#problems-table td.name")
    assert page.js('return document.querySelectorAll(\'body img:not([src^="data:"]), a:not([href^="#"])\').length') == 0
    page.js("Plotly.restyle('curves-plot', {visible: true}); document.querySelector('.chip.reproduced input').click()")
    legend = " ".join(page.texts(".legendtext"))
    assert HOSTILE[2] in legend and "<a href=" in legend
    assert page.all("svg a") == []
    # The policy stands behind the escaping: even a script that got in would not run.
    page.js(
        "const s = document.createElement('div'); s.innerHTML = '<img src=data:, onerror=window.pwned=1>';"
        "document.body.append(s)"
    )
    page.until(lambda: page.js("return document.body.lastChild.firstChild.complete"))
    refused = [entry["message"] for entry in page.driver.get_log("browser")]
    assert refused and all("Content Security Policy" in message for message in refused)


def test_on_paper_reasons_are_open_and_controls_are_gone(page, pages):
    page.open(pages["en"], 800)
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        reason = page.one("#claim-adam-val-accuracy-final details dd")
        assert page.js("return arguments[0].checkVisibility()", reason) and reason.size["height"] > 5
        for selector in ("nav", ".filter", "#runs input", "#curves", "#sheet"):
            assert not page.one(selector).is_displayed()
        assert page.js("return [document.documentElement.scrollWidth, innerWidth]") == [800, 800]
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
