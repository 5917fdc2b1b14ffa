import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from include.reports import basemap, findings, page
from include.reports.findings import Tables
from include.reports.page import Page, Section
from tests.include.reports import world

VENDORED = Path(page.__file__).parent / "maplibre"
PUBLIC = ("campaign_ctr", "establishment_visits", "attribution", "visit_lift", "category_hours", "establishments")
SECTIONS = tuple(
    Section(key, key, "nothing") for key in ("ctr", "visits", "attribution", "lift", "hours", "a section of nothing")
)


class Read(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.styles, self.text = [], [], [], []
        self._inside = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside == "style":
            self.styles.append(data)
        else:
            self.text.append(data)

    def attributes(self, name):
        return [attributes[name] for _, attributes in self.tags if name in attributes]


@pytest.fixture(scope="module")
def found():
    tables = Tables(**{name: world.TABLES[name] for name in PUBLIC})
    return [one for month in tables.months for one in findings.of_month(tables, month)]


@pytest.fixture(scope="module")
def about():
    return Page(
        title="Ads & visits",
        lead="Lead.",
        facts=(("Run", world.NASTY),),
        sections=SECTIONS,
        months=("all", "2026-07"),
        definitions="Definitions.",
        links=(("people.html", "People"),),
    )


@pytest.fixture(scope="module")
def text(found, about):
    return page.render(about, found, basemap.NONE)


@pytest.fixture(scope="module")
def read(text):
    return Read(text)


@pytest.fixture(scope="module")
def data(read):
    return json.loads(read.scripts[0])


def test_the_page_asks_nobody_for_anything(read):
    assert read.attributes("src") == []
    assert [tag for tag, _ in read.tags if tag in ("link", "iframe", "img", "object", "embed", "base")] == []
    assert not [link for link in read.attributes("href") if not re.fullmatch(r"#\w[\w ]*|[\w-]+\.(html|png)", link)]
    (policy,) = (
        attributes["content"]
        for _, attributes in read.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    links = re.findall(r"url\(\s*['\"]?(.{5})|@import", "".join(read.styles))
    assert set(links) == {"data:"}


def test_the_data_are_the_findings(data, found):
    assert data["charts"] == {one.name: json.loads(json.dumps(one.chart)) for one in found if one.chart}
    assert data["maps"] == {one.name: json.loads(json.dumps(one.map)) for one in found if one.map}
    figures = [row["visits"] for row in data["charts"]["visits-all"]["datasets"]["rows"]]
    assert figures == [120, 90]


def test_what_is_suppressed_is_null(data):
    rows = data["charts"]["hours-all"]["datasets"]["rows"]
    assert [row["interactions"] for row in rows if row["suppressed"]] == [None]
    assert not [row for row in rows if row["interactions"] == 0]


def test_a_name_cannot_end_the_script_or_add_to_the_page(read, data):
    assert len(read.scripts) == 4
    assert ("b", {}) in read.tags  # The names of the facts are bold,
    assert read.text.count("Café & Söhne") == 0  # and nothing of an establishment's name is an element.
    assert [text for text in read.text if text.strip().endswith(world.NASTY)]
    labels = [row["label"] for row in data["charts"]["visits-all"]["datasets"]["rows"]]
    assert labels == ["Farol", world.NASTY]


def test_every_month_has_every_section(read, found):
    articles = [attributes.get("data-month") for tag, attributes in read.tags if tag == "article"]
    assert articles.count("all") == articles.count("2026-07") == 5
    assert [value for tag, value in read.tags if tag == "option"] == [{"value": "all"}, {"value": "2026-07"}]
    drawn = read.attributes("data-chart")
    assert sorted(drawn) == sorted(one.name for one in found if one.chart)
    said = " ".join(read.text)
    assert "No campaign has 100 views in July 2026." in said
    assert "nothing" in said


def test_equal_findings_make_equal_bytes(text, found, about):
    assert page.render(about, found, basemap.NONE) == text


@pytest.mark.parametrize("value", ["</script>", "<!--", "]]>", "&lt;", "\u2028"])
def test_json_in_a_script_is_json_and_no_html(value):
    written = page.embedded({"name": value})
    assert not re.search(r"[<>&]", written)
    assert json.loads(written) == {"name": value}


def test_no_number_is_no_number():
    with pytest.raises(ValueError, match="not JSON compliant"):
        page.embedded(float("nan"))


def test_the_vendored_library_is_unchanged():
    listed = re.findall(r"^([0-9a-f]{64})  (\S+)$", (VENDORED / "VERSION.txt").read_text(), re.MULTILINE)
    assert {name for _, name in listed} == {file.name for file in VENDORED.iterdir()} - {"VERSION.txt"}
    for digest, name in listed:
        assert hashlib.sha256((VENDORED / name).read_bytes()).hexdigest() == digest
    version = (VENDORED / "VERSION.txt").read_text().split(",")[0]
    assert version.removeprefix("MapLibre GL JS ") in (VENDORED / "maplibre-gl.js").read_text()[:400]
