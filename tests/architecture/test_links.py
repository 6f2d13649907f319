"""The pages that people read: links lead somewhere, README is short, and tree and map are those of the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES += [
    page for part in ("components", "images", "manifests", "src", "tests") for page in (ROOT / part).rglob("README.md")
]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the names that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path) -> list[str]:
    """Return the relative links of a page that lead to no file, or to no heading of one."""
    wrong = []
    for link in LINK.findall(prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    assert broken(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(
        "# Here it is\n[a](#here-it-is) [b](#gone) [c](gone.md) [d](README.md#here-it-is) [e](https://x.y)\n"
    )
    assert broken(page) == ["#gone", "gone.md"]


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        seen.add(page)
        targets = [(page.parent / link.partition("#")[0]).resolve() for link in LINK.findall(prose(page))]
        found = [target / "README.md" if target.is_dir() else target for target in targets]
        waiting += [target for target in found if target in PAGES and target not in seen]
    assert seen == set(PAGES)


def test_readme_is_short_and_its_tree_has_every_room_and_nothing_else() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    tree = text.partition("## The tree\n")[2].partition("\n## ")[0].partition("    src/sightline/\n")[2]
    source, _, rest = tree.partition("    components/")
    rows = [re.split(r" {3,}", line.strip())[0].split() for line in source.splitlines()]
    named = {name.rstrip("/") for row in rows for name in row} - {"formats"}
    package = ROOT / "src" / "sightline"
    there = {path.name for path in package.iterdir() if path.is_dir() and path.name != "__pycache__"}
    there |= {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    assert named == there
    tops = {
        name.rstrip("/") for name in re.findall(r"^    (\S+/)(?: (\S+/))?", rest, re.MULTILINE) for name in name if name
    }
    assert {"pipelines", "images", "manifests", "tests"} == tops


def test_architecture_map_has_the_layers_of_the_import_contract_in_their_order() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = [set(re.findall(r"sightline\.(\w+)", layer)) for layer in contracts[0]["layers"]]
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("The layers, from top to bottom")[2]
    rows = re.findall(r"^    (\S.*?) {3,}", text, re.MULTILINE)
    assert [set(row.split()) for row in rows[: len(layers) - 1]] == layers[1:]  # `__main__` only calls cli


def test_contributing_names_code_that_exists() -> None:
    named = set(re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", prose(ROOT / "CONTRIBUTING.md")))
    homes = [ROOT, ROOT / "src", ROOT / "src" / "sightline", ROOT / "src" / "sightline" / "datasets"]
    assert len(named) > 20
    assert {path for path in named if not any((home / path).exists() for home in homes)} == set()
