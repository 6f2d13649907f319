"""Statistics count every image once in flat memory, and call a split different only where it is."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from sightline.datasets.split_comparison import kolmogorov_smirnov_noise, short, summary, variation_noise
from sightline.datasets.statistics import MOST_PAIRED, SCALES, Statistics
from sightline.datasets.types import Label, Sample
from sightline.documents import SPLITS, Split, SplitComparison

NAMES = ["red", "white", "platelet"]
Change = Callable[[np.random.Generator, dict[str, np.ndarray]], None]


def sample(split: Split, *labels: Label, size: tuple[int, int] = (640, 480)) -> Sample:
    return Sample(split, "a.jpg", "a.jpg", "a.jpg", "0" * 64, 1, *size, labels)


def images(split: Split, number: int, seed: int, change: Change | None = None) -> Iterator[Sample]:
    """Images as they are: of one distance, so that all boxes of an image have about one size, and most of one class."""
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    counts = rng.poisson(5, number)
    total = int(counts.sum())
    main, scale = rng.choice(3, number, p=(0.7, 0.2, 0.1)), rng.lognormal(np.log(0.1), 0.4, number)
    side = np.repeat(scale, counts) * rng.lognormal(0, 0.1, total)
    aspect = rng.lognormal(0, 0.1, total)
    part = {
        "classes": np.where(rng.random(total) < 0.8, np.repeat(main, counts), rng.integers(0, 3, total)),
        "cx": rng.random(total),
        "cy": rng.random(total),
        "w": np.clip(side * aspect, 0, 1),
        "h": np.clip(side / aspect, 0, 1),
        "size": rng.choice(np.array([[640, 480], [480, 640]]), number),
    }
    if change:
        change(rng, part)
    rows = zip(*(part[key].tolist() for key in ("classes", "cx", "cy", "w", "h")), strict=True)
    for count, (width, height) in zip(counts.tolist(), part["size"].tolist(), strict=True):
        yield sample(split, *(next(rows) for _ in range(count)), size=(width, height))


def statistics(*streams: Iterator[Sample], names: list[str] = NAMES) -> Statistics:
    result = Statistics(names)
    for stream in streams:
        for item in stream:
            result.add(item)
    return result


def differing(change: Change, number: int = 400) -> dict[str, SplitComparison]:
    """Compare train with a test split that was changed; what differs, by property."""
    comparisons = statistics(images("train", 1000, 1), images("test", number, 1, change)).split_comparisons()
    assert {item.split for item in comparisons} == {"test"}
    return {item.what: item for item in comparisons if item.differs}


# --- counting


def test_every_box_and_image_is_counted_where_it_belongs() -> None:
    result = statistics(
        iter(
            [
                sample("train", (0, 0.5, 0.5, 0.25, 0.25), (1, 0.03, 0.97, 0.1, 0.4)),
                sample("train", size=(100, 100)),
                sample("val", (1, 0.999999, 0.0, 0.5, 0.5)),
            ]
        )
    ).distributions()
    assert result is not None
    assert result.positions["train"][8][8] == 1  # rows from the top
    assert result.positions["train"][15][0] == 1
    assert result.positions["val"][0][15] == 1
    assert result.boxes_per_image.counts == {"train": [1, 0, 1] + [0] * 15, "val": [0, 1] + [0] * 16}
    assert result.cooccurrence_classes == ["white", "red"]  # the commonest first; platelets never appear
    assert result.cooccurrence == [[2, 1], [1, 1]]
    edges, counts = result.sizes.edges, result.sizes.counts["train"]
    assert [(edges[i], edges[i + 1]) for i, count in enumerate(counts) if count] == [
        pytest.approx((0.198425, 0.25), abs=1e-4),  # sqrt(0.1 * 0.4) = 0.2
        pytest.approx((0.25, 0.314981), abs=1e-4),
    ]
    edges, counts = result.image_sizes.edges, result.image_sizes.counts["train"]
    assert [(edges[i], edges[i + 1]) for i, count in enumerate(counts) if count] == [(81, 102), (512, 645)]


def test_a_square_lies_in_the_middle_of_its_bin_whatever_the_rounding_of_its_label() -> None:
    rounded = [sample("train", (0, 0.5, 0.5, w, round(w * 640 / 480, 6))) for w in np.linspace(0.01, 0.7, 500).round(6)]
    result = statistics(iter(rounded)).distributions()
    assert result is not None
    used = [i for i, count in enumerate(result.aspects.counts["train"]) if count]
    assert [(result.aspects.edges[i], result.aspects.edges[i + 1]) for i in used] == [
        pytest.approx((2 ** (-1 / 6), 2 ** (1 / 6)))
    ]


@pytest.mark.parametrize(
    ("sides", "median"),
    [([8], 8), ([8, 8, 8], 8), ([6, 12], 9), ([7.9, 9], 8.45), ([1, 2, 30], 2), ([4, 4, 8, 100], 6)],
)
def test_the_median_of_shorter_sides_is_exact(sides: list[float], median: float) -> None:
    boxes: list[Label] = [(0, 0.5, 0.5, 0.5, side / 480) for side in sides]
    found = statistics(iter([sample("train", *boxes)])).counts("train").shorter_side
    assert found == pytest.approx(median / 640, abs=2e-6)


def test_outer_bins_take_what_lies_out() -> None:
    extremes = [
        sample("train", (0, 0.5, 0.5, 1.0, 0.000001), (0, 0.5, 0.5, 0.000001, 1.0), (0, 0.5, 0.5, 0.0, 0.0)),
        sample("train", *[(0, 0.5, 0.5, 1.0, 1.0)] * 3000, size=(60_000, 60_000)),
        sample("train", size=(1, 1)),
    ]
    result = statistics(iter(extremes)).distributions()
    assert result is not None
    for histogram, total in (
        (result.sizes, 3003),
        (result.aspects, 3003),
        (result.boxes_per_image, 3),
        (result.image_sizes, 3),
    ):
        assert sum(histogram.counts["train"]) == total
        assert len(histogram.edges) == len(histogram.counts["train"]) + 1
        assert histogram.edges == sorted(set(histogram.edges))
    assert (result.aspects.counts["train"][0], result.aspects.counts["train"][-1]) == (1, 1)
    assert (result.image_sizes.counts["train"][0], result.image_sizes.counts["train"][-1]) == (1, 1)


def test_a_split_without_images_or_boxes_is_absent() -> None:
    result = statistics(images("train", 50, 1), iter([sample("val")] * 20)).distributions()
    assert result is not None
    assert list(result.sizes.counts) == list(result.aspects.counts) == list(result.positions) == ["train"]
    assert list(result.image_sizes.counts) == ["train", "val"]
    assert Statistics(NAMES).distributions() is None


def test_shown_bins_are_put_together_from_whole_fine_ones() -> None:
    for scale in SCALES.values():
        assert len(scale.starts) == len(scale.edges) - 1
        assert np.all(np.diff(scale.starts) > 0)
        assert scale.starts[-1] < len(scale.values)


def test_twenty_thousand_images_take_half_a_second_and_no_memory_that_grows() -> None:
    names = [str(number) for number in range(80)]
    labels = [tuple((number * 7 % 80, 0.5, 0.5, 0.1, 0.1) for number in range(start, start + 5)) for start in range(80)]
    stream = [sample("train", *labels[number % 80]) for number in range(20_000)]
    result = Statistics(names)
    started = time.process_time()
    for item in stream:
        result.add(item)
    assert result.distributions() is not None
    assert time.process_time() - started < 0.5
    tracemalloc.start()
    for item in stream[:2000]:
        result.add(item)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    for item in stream:
        result.add(item)
    _, later = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert later < peak * 1.1 + 100_000


def test_pairs_of_very_many_classes_are_counted_for_those_that_appear_first() -> None:
    names = [str(number) for number in range(100_000)]
    stream = (
        sample("train", *((99_999 - number, 0.5, 0.5, 0.1, 0.1) for number in range(start, start + 2)))
        for start in range(MOST_PAIRED + 500)
    )
    result = statistics(stream, names=names).distributions()
    assert result is not None
    assert len(result.cooccurrence_classes) == 20
    assert all(row[i] == 2 for i, row in enumerate(result.cooccurrence))


# --- comparisons of splits


def test_splits_of_one_source_are_called_alike() -> None:
    wrong = [
        (seed, item.what, item.split)
        for seed in range(100)
        for item in statistics(
            images("train", 150, seed), images("val", 60, seed), images("test", 60, seed)
        ).split_comparisons()
        if item.differs
    ]
    assert len({seed for seed, *_ in wrong}) <= 2, wrong


def test_boxes_of_one_image_count_as_one_when_chance_is_judged() -> None:
    few = statistics(images("train", 200, 3), images("test", 20, 3)).split_comparisons()
    noise = {item.what: item.noise for item in few}
    assert noise["image sizes"] == pytest.approx(1.6276 * np.sqrt(220 / 4000), abs=1e-3)
    assert noise["box sizes"] > noise["image sizes"]  # not the fifth of boxes that hide in the same images


def test_noise_of_a_known_case_is_that_of_the_tables() -> None:
    # Two-sided 1 % point of two samples of 100 and 100: 1.628 * sqrt(2 / 100).
    assert kolmogorov_smirnov_noise(100, 100) == pytest.approx(0.2302, abs=1e-4)
    assert kolmogorov_smirnov_noise(1, 1) == 1.0
    # Two cells are one proportion: 2.576 standard errors of the difference of two.
    half = np.array([0.5, 0.5])
    assert variation_noise(half, half, 400, 400) == pytest.approx(2.576 * np.sqrt(0.25 * 2 / 400), rel=0.06)


def test_smaller_boxes_are_found_with_numbers() -> None:
    def halve(_: np.random.Generator, part: dict[str, np.ndarray]) -> None:
        part["w"] /= 2.4
        part["h"] /= 2.4

    found = differing(halve)
    assert list(found) == ["box sizes"]
    assert (
        found["box sizes"].sentence == "test has smaller boxes than train: median 4.1 % against 9.9 % of the image side"
    )
    assert found["box sizes"].distance > 0.6


def test_flatter_boxes_are_found() -> None:
    def flatten(_: np.random.Generator, part: dict[str, np.ndarray]) -> None:
        part["w"] *= 1.5
        part["h"] /= 1.5

    sentence = differing(flatten)["box aspects"].sentence
    assert sentence.startswith("test has wider boxes than train: median 2.")
    assert sentence.endswith(" width to height")


def test_a_class_that_takes_over_is_named_with_its_shares() -> None:
    def take_over(rng: np.random.Generator, part: dict[str, np.ndarray]) -> None:
        part["classes"][rng.random(len(part["classes"])) < 0.7] = 1

    found = differing(take_over)
    assert list(found) == ["classes"]
    assert found["classes"].sentence.startswith("class 'white' makes up 2")
    assert found["classes"].sentence.endswith("% in test")


def test_boxes_in_another_place_are_found() -> None:
    def gather(_: np.random.Generator, part: dict[str, np.ndarray]) -> None:
        part["cx"] /= 2

    found = differing(gather)
    assert list(found) == ["positions"]
    assert found["positions"].sentence.startswith(
        "test has more of its boxes in the left half than train: 100 % against "
    )


def test_other_image_sizes_are_found_with_exact_pixels() -> None:
    def shrink(_: np.random.Generator, part: dict[str, np.ndarray]) -> None:
        part["size"][:] = 320

    sentence = differing(shrink)["image sizes"].sentence
    assert sentence == "test has smaller images than train: median 320 against 554 pixels (square root of the area)"


def test_a_tail_that_leaves_the_middle_alone_is_described_by_shares() -> None:
    def stream(split: Split, *sides: float) -> Iterator[Sample]:
        return (sample(split, (0, 0.5, 0.5, side, side)) for side in sides * 100)

    comparisons = statistics(
        stream("train", 0.1, 0.1, 0.1, 0.1, 0.1), stream("test", 0.02, 0.02, 0.1, 0.1, 0.1)
    ).split_comparisons()
    assert [item.sentence for item in comparisons if item.differs] == [
        "test has smaller boxes than train: 40 % of its boxes have a side of at most 2.0 % of the image's, against 0 %"
    ]


def test_fewer_boxes_an_image_are_found() -> None:
    crowded = (sample("train", *[(0, 0.5, 0.5, 0.1, 0.1)] * 11) for _ in range(200))
    sparse = (sample("test", *[(0, 0.5, 0.5, 0.1, 0.1)] * 3) for _ in range(200))
    found = {item.what: item for item in statistics(crowded, sparse).split_comparisons() if item.differs}
    assert list(found) == ["boxes per image"]
    assert found["boxes per image"].sentence == "test has fewer boxes per image than train: median 3 against 11"


def test_a_handful_of_images_is_said_to_be_too_few_to_tell() -> None:
    def halve(_: np.random.Generator, part: dict[str, np.ndarray]) -> None:
        part["w"] /= 2
        part["h"] /= 2

    comparisons = statistics(images("train", 1000, 1), images("test", 4, 1, halve)).split_comparisons()
    sizes = next(item for item in comparisons if item.what == "box sizes")
    assert not sizes.differs
    assert sizes.sentence.startswith("too few images to tell whether test differs from train; so far, test has smaller")
    assert "as far as so few images can tell" in summary(comparisons)


def test_what_one_side_has_nothing_of_is_not_compared() -> None:
    assert statistics(images("train", 50, 1)).split_comparisons() == []
    assert statistics(images("val", 50, 1), images("test", 50, 1)).split_comparisons() == []
    backgrounds = statistics(images("train", 50, 1), iter([sample("test")] * 50)).split_comparisons()
    assert [item.what for item in backgrounds] == ["boxes per image", "image sizes"]
    alone = statistics(images("train", 50, 1), images("test", 50, 1), names=NAMES).split_comparisons()
    assert all(np.isfinite((item.distance, item.noise)).all() for item in alone)


def test_one_class_has_no_shares_to_compare() -> None:
    stream = [sample("train", (0, 0.5, 0.5, 0.1, 0.1)), sample("test", (0, 0.5, 0.5, 0.1, 0.1))]
    assert "classes" not in {item.what for item in statistics(iter(stream), names=["cell"]).split_comparisons()}


def test_the_summary_names_what_differs() -> None:
    def change(_: np.random.Generator, part: dict[str, np.ndarray]) -> None:
        part["w"] /= 3
        part["h"] /= 3
        part["cx"] /= 2

    comparisons = statistics(
        images("train", 1000, 1), images("val", 400, 1), images("test", 400, 1, change)
    ).split_comparisons()
    assert summary(comparisons) == "val looks like train; test differs from train in box sizes and positions."
    assert summary([item for item in comparisons if item.split == "val"]) == "Every split looks like train."
    assert summary([]).startswith("There is nothing to compare")


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.001, "<0.01"), (0.04, "0.040"), (4.05, "4.0"), (9.96, "10"), (71.2, "71")]
)
def test_numbers_in_sentences_have_two_digits_and_no_exponent(value: float, text: str) -> None:
    assert short(value) == text
