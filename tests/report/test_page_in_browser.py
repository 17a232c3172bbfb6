"""The page in a real browser: Debian's chromium, without a window."""

import json
import re
import shutil

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from page_stores import HOSTILE, PAPER, write_fashion, write_page, write_papers_page, write_search, write_store
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

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
    """The page of one store in each language, and that on all papers."""
    folder = tmp_path_factory.mktemp("page")
    labels = write_fashion(folder / "fashion")
    write_store(folder / "runs", labels)
    write_search(folder / "runs")
    write_search(folder / "runs", name="front", objectives=("val_loss", "train_loss"))
    written = {}
    for language in LANGUAGES:
        written[language] = write_page(folder / "runs", folder / "fashion", folder / language, language)
        written[f"papers {language}"] = write_papers_page(folder / "runs", folder / f"papers-{language}", language)
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
            return [...document.querySelectorAll('table.sortable')].every(e => e.closest('.dt-container'))
                && [...document.querySelectorAll('.plot')].every(e => e.querySelector('.xtick'))
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
    assert set(page.js("return [...document.querySelectorAll('#claims-table tbody tr')].map(e => e.id)")) == {
        f"claim-{claim.id}" for claim in PAPER.claims
    }
    sizes = page.js("return [...document.images].map(e => e.naturalWidth)")
    assert len(sizes) == 2 and all(size > 1000 for size in sizes)
    assert len(page.texts("#figures figcaption")) == 5
    assert page.js("return document.getElementById('curves-plot').data.length") >= 14
    assert len(page.all(".nearest tbody tr")) > 1
    assert len(page.all(".plot .plotly .xtick")) > 6 == len(page.all(".plot"))
    assert len(page.all(".sheet")) == 2
    assert len(page.all("#runs-table tbody tr")) == 18 + len(HOSTILE)
    assert page.js("return document.documentElement.lang") == language


def test_spanish_is_spanish(page, pages):
    page.open(pages["es"])
    assert page.texts("h2") == [
        "Las figuras del artículo, con estas corridas",
        "Las afirmaciones del artículo",
        "Configuraciones más cercanas a los números que no se reproducen",
        "Curvas interactivas",
        "Búsquedas",
        "Comparaciones",
        "Qué clases se confunden",
        "Todas las corridas",
        "Corridas que faltan y problemas",
        "Cómo leer esta página",
    ]
    said = page.js("return document.body.innerText")
    for name in sorted(PAPER.configurations, key=len, reverse=True):  # the paper's file gives them
        said = said.replace(name, "")
    for english in ("open", "Search", "Verdict", "Seeds", "epochs", "validation", "shown", "running"):
        assert english not in said
    titles = page.js("return [...document.querySelectorAll('#curves-plot .modebar-btn')].map(e => e.dataset.title)")
    assert titles == ["Acercar", "Alejar", "Restablecer ejes", "Descargar como PNG"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", ["", "papers "])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_no_wider_than_the_window(page, pages, language, kind, width):
    page.open(pages[kind + language], width)
    page.js("for (const e of document.querySelectorAll('details')) e.open = true")
    assert page.js("return [document.documentElement.scrollWidth, innerWidth]") == [width, width]
    beyond = """
        return [...document.querySelectorAll('main *')].filter(e => {
            const box = e.getBoundingClientRect();
            const beyond = box.width && (box.right > innerWidth + 1 || box.left < -1);
            return beyond && !e.closest(innerWidth < 900 ? '.scroll, nav, svg' : '.scroll, .dt-layout-table, svg');
        }).map(e => e.outerHTML.slice(0, 80));
    """
    assert page.js(beyond) == []


def test_claims_are_filtered_by_verdict_and_by_text(page, pages):
    page.open(pages["en"])
    whole = len(page.texts("#claims-table .badge"))
    for chip in page.all("#claims .chip")[1:]:
        page.click(chip)
        name, count = " ".join(chip.text.split()).rsplit(" ", 1)
        left = page.texts("#claims-table .badge")
        assert len(left) == int(count)
        assert {text.partition(" ")[2].strip() for text in left} <= {name}
    page.click(page.all("#claims .chip")[0])
    assert len(page.texts("#claims-table .badge")) == whole
    page.one("#claims .dt-search input").send_keys("volatilidad")
    page.until(lambda: 0 < len(page.texts("#claims-table .badge")) < whole)
    assert all("volatilidad" in text.lower() for text in page.texts("#claims-table tbody tr"))
    assert page.texts("#claims .dt-info") == [f"{len(page.texts('#claims-table .badge'))} shown"]


def test_claims_are_sorted_by_their_numbers(page, pages):
    page.open(pages["en"])
    heading = next(one for one in page.all("#claims-table thead th") if "Measured" in one.text)
    cells = "return [...document.querySelectorAll('#claims-table td[data-label=Measured]')].map(e => e.dataset.order)"
    for sign in (1, -1):
        page.click(heading)
        page.until(lambda sign=sign: _in_order([sign * float(order) for order in page.js(cells) if order]))
    assert len(list(filter(None, page.js(cells)))) > 10


def _in_order(values):
    return values == sorted(values)


def test_runs_are_sorted_and_filtered(page, pages):
    page.open(pages["en"], 360)
    heading = next(one for one in page.all("#runs-table thead th") if "Accuracy, validation" in one.text)
    page.click(heading)

    def accuracies():
        return [float(text) for text in page.column("runs-table", "Accuracy, validation") if text[0] == "0"]

    page.until(lambda: accuracies() == sorted(accuracies()))
    assert len(accuracies()) > 15
    page.one("#runs .dt-search input").send_keys("bs500")
    page.until(lambda: len(page.all("#runs-table tbody tr")) == 2)
    page.one("#runs .dt-search input").send_keys(" nothing like it")
    page.until(lambda: page.texts("#runs-table tbody") == ["nothing matches"])


def test_reasons_open_on_demand(page, pages):
    page.open(pages["en"], 360)
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


def test_claims_are_filtered_sorted_and_explained_by_keyboard_alone(page, pages):
    page.open(pages["en"])
    whole = len(page.texts("#claims-table .badge"))
    page.press(page.one("#claims .chip input"), Keys.RIGHT)
    page.until(lambda: set(page.texts("#claims-table .badge")) == {"✓ reproduced"})
    page.press(page.one("#claims .chip input:checked"), Keys.LEFT)
    page.until(lambda: len(page.texts("#claims-table .badge")) == whole)
    orders = "return [...document.querySelectorAll('#claims-table td[data-label=Measured]')].map(e => e.dataset.order)"
    headings = page.all("#claims-table thead th")
    heading = next(one for one in headings if "Measured" in one.text)
    page.press(heading.find_element(By.CSS_SELECTOR, "[tabindex='0']"), Keys.ENTER)
    page.until(lambda: _in_order([float(order) for order in page.js(orders) if order]))
    details = page.one("#claims-table details")
    page.press(details.find_element(By.TAG_NAME, "summary"), Keys.ENTER)
    assert "Reason" in details.text


def test_whatever_can_be_used_is_reached_by_the_tab_key_and_shows_where_one_is(page, pages):
    page.open(pages["en"])
    usable = """
        return [...document.querySelectorAll('a[href], input, select, summary, .scroll, th [tabindex="0"]')]
            .filter(e => e.checkVisibility() && !(e.type == 'radio' && !e.checked)).length
    """
    wanted = page.js(usable)
    reached = 0
    page.js("document.body.tabIndex = -1; document.body.focus()")
    for _ in range(wanted + 40):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        if page.js("return document.activeElement == document.body"):
            break
        if page.js("return document.activeElement.matches('a[href], input, select, summary, .scroll, th [tabindex]')"):
            reached += 1
            assert page.js("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert reached == wanted


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing_to_mend(page, pages, language, scheme, width):
    for path in (pages[language], pages[f"papers {language}"]):
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
        for selector in ("nav", ".filter", ".dt-search", "#curves", "#sheet"):
            assert not page.one(selector).is_displayed()
        assert page.js("return [document.documentElement.scrollWidth, innerWidth]") == [800, 800]
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
