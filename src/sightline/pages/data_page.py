"""The data report as a page: what is wrong with a source and what it looks like, in one self-contained HTML file.

It shows no more than fits on a page, however large the data is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from sightline import __version__
from sightline.datasets.split_comparison import LEAST, percent, short, summary
from sightline.documents import SPLITS, DataDocument, Distributions, Example, RuleResult, Split, SplitComparison
from sightline.pages.environment import environment
from sightline.pages.formatting import Headline, counted
from sightline.pages.svg import TONES, Figure, heat_map, histogram
from sightline.pages.thumbnails import Outline, Picture, Thumbnail, thumbnail
from sightline.rules import RULES, Rule

__all__ = ["Outline", "Picture", "Pictures", "render"]

PICTURED = 8  # thumbnails of a rule, at most
ALL_PICTURED = 200  # thumbnails of the page, about; as the bytes of one are limited, this limits the page
LISTED = 10  # issues of a rule that are written out without a picture
NAMED = 40  # classes in a table; the rest is summed
WORDS = ("differs", "too few images", "alike")  # of comparisons, in the order they are listed

Pictures = Callable[[str], Picture | None]


class Section(NamedTuple):
    """One rule that found something: `pictured` and `listed` are examples, `left` counts what is not shown."""

    result: RuleResult
    rule: Rule
    share: str
    limit: str
    pictured: list[tuple[Example, Thumbnail]]
    listed: list[Example]
    left: int


class Row(NamedTuple):
    """A class, or all rarer ones together: by split the boxes, their share, and the length of the bar (0..100)."""

    name: str
    rest: bool
    cells: list[tuple[int, str, float]]


class Partners(NamedTuple):
    """A class: the images that hold it, and the percentage of them that hold each of the other classes."""

    name: str
    images: int
    shares: list[int | None]


class Comparison(NamedTuple):
    """A comparison with its result in a word or two."""

    of: SplitComparison
    word: str
    tone: str


def render(document: DataDocument, pictures: Pictures) -> str:
    """Return the page. `pictures` finds an image by its name in the source (`Example.image`), None if it is gone."""
    return environment().get_template("data.html.j2").render(context(document, pictures))


def context(document: DataDocument, pictures: Pictures) -> dict[str, Any]:
    """Return everything the template shows."""
    distributions = document.distributions
    splits = [split for split in SPLITS if split in document.splits]
    return {
        "document": document,
        "version": __version__,
        "headline": headline(document),
        "changed": len(document.policy.rules),
        "splits": splits,
        "tones": TONES,
        "sections": sections(document.findings, pictures),
        "classes": classes(document, splits),
        "histograms": histograms(distributions) if distributions else [],
        "heat_maps": heat_maps(distributions) if distributions else [],
        "partners": partners(distributions) if distributions else [],
        "splits_summary": summary(document.split_comparisons),
        "comparisons": sorted(map(compared, document.split_comparisons), key=lambda item: WORDS.index(item.word)),
    }


def headline(document: DataDocument) -> Headline:
    """Say how the data was judged, and which rules reject it."""
    rejecting = [result for result in document.findings if result.rejected]
    if document.verdict == "rejected":
        sentence = f"{counted(len(rejecting), 'rule')} {'rejects' if len(rejecting) == 1 else 'reject'} this data."
        if document.unusable:
            sentence = "Nothing can be trained on this data."
        reasons = [_reason(result) for result in rejecting]
        return Headline("Rejected", sentence, "bad", [*([document.unusable] if document.unusable else []), *reasons])
    found = [
        counted(number, noun) for number, noun in ((document.errors, "error"), (document.warnings, "warning")) if number
    ]
    sentence = f"No rule rejects this data; {' and '.join(found)} to look at." if found else "No rule found anything."
    left_out = [
        counted(number, noun, plural)
        for number, noun, plural in (
            (document.dropped_images, "image", "images"),
            (document.dropped_boxes, "box", "boxes"),
        )
        if number
    ]
    reasons = [f"{' and '.join(left_out)} left out, which the policy allows."] if left_out else []
    return Headline("Accepted", sentence, "good", reasons)


def sections(results: list[RuleResult], pictures: Pictures) -> list[Section]:
    """Return a section for each rule that found something, those that reject the data first.

    The more rules have pictures, the fewer each shows.
    """
    drawn = sum(any(example.image for example in result.examples) for result in results)
    most = min(PICTURED, ALL_PICTURED // max(1, drawn))
    return [_section(result, pictures, most) for result in sorted(results, key=lambda result: not result.rejected)]


def classes(document: DataDocument, splits: list[Split]) -> list[Row]:
    """Return the commonest classes and the sum of the others, the most boxes first."""
    boxes = {split: Counter(document.splits[split].boxes_per_class) for split in splits}
    total = sum(boxes.values(), Counter[str]())
    ordered = sorted(document.classes, key=lambda name: -total[name])
    named = [(name, False, [name]) for name in ordered[:NAMED]]
    if len(ordered) > NAMED:
        named.append((counted(len(ordered) - NAMED, "rarer class", "rarer classes"), True, ordered[NAMED:]))
    counts = [[sum(boxes[split][name] for name in names) for split in splits] for _, _, names in named]
    sums = [document.splits[split].boxes for split in splits]
    shares = [[n / s if s else 0.0 for n, s in zip(row, sums, strict=True)] for row in counts]
    longest = max((max(row, default=0.0) for row in shares[:NAMED]), default=0.0) or 1.0
    return [
        Row(
            name,
            rest,
            [
                (n, percent(share) if total else "–", 0.0 if rest else 100 * share / longest)
                for n, share, total in zip(row, part, sums, strict=True)
            ],
        )
        for (name, rest, _), row, part in zip(named, counts, shares, strict=True)
    ]


def histograms(distributions: Distributions) -> list[Figure]:
    """Draw the four properties that have an order, except those without any data."""
    sizes, aspects = distributions.sizes, distributions.aspects
    boxes, images = distributions.boxes_per_image, distributions.image_sizes
    side, area = "side of the box in % of the image’s", "square root of the area, pixels"
    return [
        histogram(title, f"Share of {of}.", axis, data, label, whole=data is boxes)
        for title, of, axis, data, label in (
            ("Box size", "boxes", side, sizes, lambda value: short(100 * value)),
            ("Box shape", "boxes", "width over height", aspects, short),
            ("Boxes per image", "images", "boxes", boxes, "{:.0f}".format),
            ("Image size", "images", area, images, "{:.0f}".format),
        )
        if data.counts
    ]


def heat_maps(distributions: Distributions) -> list[Figure]:
    """Draw where the centres of boxes lie, one map per split."""
    return [heat_map(split, cells) for split, cells in distributions.positions.items()]


def partners(distributions: Distributions) -> list[Partners]:
    """Return the pairs of classes as percentages of each row's images; empty where there is only one class."""
    names = distributions.cooccurrence_classes
    if len(names) < 2:
        return []
    return [
        Partners(name, row[i], [None if i == j else round(100 * images / row[i]) for j, images in enumerate(row)])
        for i, (name, row) in enumerate(zip(names, distributions.cooccurrence, strict=True))
    ]


def compared(item: SplitComparison) -> Comparison:
    """Return a comparison with its result in a word or two."""
    if item.differs:
        return Comparison(item, WORDS[0], "warning")
    if item.distance > LEAST:
        return Comparison(item, WORDS[1], "none")
    return Comparison(item, WORDS[2], "fine")


def _section(result: RuleResult, pictures: Pictures, most: int) -> Section:
    pictured: list[tuple[Example, Thumbnail]] = []
    listed = []
    for example in result.examples:
        if example.image is None:
            listed.append(example)
        elif len(pictured) < most:
            picture = pictures(example.image)
            if picture:
                pictured.append((example, thumbnail(picture, example.box)))
            else:
                listed.append(example)
    listed = listed[:LISTED]
    left = result.count - len(pictured) - len(listed)
    return Section(result, RULES[result.rule], _share(result), _limit(result), pictured, listed, max(0, left))


def _share(result: RuleResult) -> str:
    """Say what part of the images or boxes this is, for rules that are about images or boxes."""
    rule = RULES[result.rule]
    return f"{percent(result.count / result.of)} of {rule.budget_unit}" if rule.drops and result.of else "–"


def _limit(result: RuleResult) -> str:
    """Say what the policy tolerates; warnings have no limit."""
    if result.severity == "warning":
        return "–"
    limits = [f"{result.max_count:,}"] if result.max_count is not None else []
    if result.max_fraction is not None:
        limits.append(f"{100 * result.max_fraction:g} % of {RULES[result.rule].budget_unit}")
    return " and ".join(limits) or "none"


def _reason(result: RuleResult) -> str:
    share = _share(result)
    found = f"{result.count:,} found" + (f" ({share})" if share != "–" else "")
    limit = _limit(result)
    return f"{result.rule}: {found}, {'none allowed' if limit == 'none' else f'at most {limit} allowed'}"
