"""A network of a person's own: what is read is what the engine will build, and every mistake in it is named at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sightline.errors import WeightsError
from sightline.weights.description import Description, read
from tests.helpers.networks import OWN


def described(folder: Path, text: str, name: str = "mine-yolo11n.yaml") -> Description:
    path = folder / "network"
    path.write_text(text)
    return read(path, name)


def problems(folder: Path, text: str, name: str = "mine-yolo11n.yaml") -> list[str]:
    with pytest.raises(WeightsError) as caught:
        described(folder, text, name)
    return list(caught.value.problems) or [caught.value.message]


def test_what_is_read_is_what_any_reader_of_yaml_reads_back(tmp_path: Path) -> None:
    network = described(tmp_path, OWN)
    assert yaml.safe_load(network.text()) == network.values
    assert (network.layers, network.stride, network.one_to_one) == (10, 16, False)
    assert described(tmp_path, network.text(), "renamed.yaml").values == network.values


@pytest.mark.parametrize(
    ("old", "new", "stride", "one_to_one"),
    [
        ("Detect, [nc]", "v10Detect, [nc]", 16, True),
        ("nc: 80", "nc: 3\nend2end: true\nreg_max: 1", 16, True),
        ("nn.MaxPool2d, [2]", "nn.AvgPool2d, [3, 4, 1]", 32, False),
        ("nn.MaxPool2d, [2]", "ADown, [512]", 16, False),
        ("nn.MaxPool2d, [2]", "Conv, [512, 1]", 8, False),
        ("nn.MaxPool2d, [2]", "nn.LPPool2d, [2, 2]", None, False),
        ("nn.MaxPool2d, [2]", "nn.Upsample, [None, 2, nearest]", 8, False),
        ("nn.MaxPool2d, [2]", "nn.ConvTranspose2d, [512, 2, 2]", 8, False),
        ("-1, 1, nn.MaxPool2d, [2]", "-1, 2, nn.MaxPool2d, [2]", None, False),
        ("Conv, [64, 3, 2]", "Conv, [64, 3, 0.001]", None, False),  # of which torch will complain
        ("nn.MaxPool2d, [2]", "nn.Upsample, [None, 0.001]", None, False),
        ("Conv, [64, 3, 2]", "Conv, [64, 3, 0.03125]", None, False),
    ],
)
def test_stride_and_head_are_read_from_the_text(
    tmp_path: Path, old: str, new: str, stride: int | None, one_to_one: bool
) -> None:
    assert old in OWN
    network = described(tmp_path, OWN.replace(old, new))
    assert (network.stride, network.one_to_one) == (stride, one_to_one)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Conv, [64, 3, 2]", "Convo, [64, 3, 2]", ["layer 0: unknown module 'Convo'; did you mean 'Conv'?"]),
        ("Conv, [64, 3, 2]", "torch_load, [/etc]", ["unknown module 'torch_load'", "layer 0: arguments: got ['/etc']"]),
        ("Conv, [64, 3, 2]", "check_requirements, [x]", ["layer 0: unknown module 'check_requirements'"]),
        ("Conv, [64, 3, 2]", "TorchVision, [64, resnet18]", ["layer 0: unknown module 'TorchVision'"]),
        ("nn.MaxPool2d", "nn.Module", ["layer 4: unknown module 'nn.Module'"]),
        (
            "[-1, 3], 1, Concat",
            "[-1, 30], 1, Concat",
            ["layer 7: from: got [-1, 30], expected layers before it, -7 to 6"],
        ),
        ("- [-1, 1, Conv, [64, 3, 2]]", "- [0, 1, Conv, [64, 3, 2]]", ["layer 0: from: got 0, expected -1, the image"]),
        ("- [-1, 1, Conv, [64, 3, 2]]", "- [-1, Conv, [64]]", ["layer 0: got [-1, 'Conv', [64]], expected [from, rep"]),
        ("-1, 2, C3k2, [256, False]", "-1, 0, C3k2, [256, {}]", ["layer 8: repeats: got 0", "layer 8: arguments: got"]),
        ("1, Detect, [nc]", "1, Segment, [nc]", ["layer 9: got module 'Segment', expected Detect or v10Detect"]),
        (
            "Conv, [64, 3, 2]",
            "Conv, [64, 3, .inf]",
            ["layer 0: arguments: got [64, 3, inf], expected a list of numbers"],
        ),
        ("Conv, [64, 3, 2]", f"Conv, [64, 3, {'9' * 400}]", ["layer 0: arguments: got [64, 3, 9999"]),
        ("1, Detect, [nc]", "4, Detect, [nc]", ["layer 9: expected [[levels], 1, Detect, [nc]]"]),
        ("nn.LeakyReLU(0.1)", "Conv(3, 3)", ["activation: got 'Conv(3, 3)', expected a module of torch.nn called"]),
        ("1, Detect, [nc]", "1, Detect, [80]", ["layer 9: expected [[levels], 1, Detect, [nc]]"]),
        (
            "nn.LeakyReLU(0.1)",
            "__import__('os').system('x')",
            ["activation: got \"__import__('os').system('x')\", expected"],
        ),
        (
            "nn.LeakyReLU(0.1)",
            "nn.LeakyReLU(print(1))",
            ["activation: got 'nn.LeakyReLU(print(1))', expected a module"],
        ),
        ("nn.LeakyReLU(0.1)", "nn.LeakyReLU", ["activation: got 'nn.LeakyReLU', expected a module of torch.nn called"]),
        ("nc: 80", "nc: many", ["nc: got 'many', expected a whole number"]),
        ("nc: 80", "nc: 80\nscale: n", ["unknown key 'scale'; did you mean 'scales'?"]),
        ("nc: 80", "nc: 80\nnc: 3", ["is not YAML that can be read: line 2: 'nc' is given twice"]),
        ("nc: 80", "nc: &a 80\nreg_max: *a", ["is not YAML that can be read: line 2: aliases (*) are not allowed"]),
        ("nc: 80", "nc: !!python/object:os.system {}", ["is not YAML that can be read"]),
        ("n: [0.50, 0.25, 1024]", "n: [0.50, 0.25]", ["scales: got {'n': [0.5, 0.25]"]),
        (
            OWN,
            "backbone: []\nheads: []\n",
            ["head: missing", "unknown key 'heads'; did you mean 'head'?", "backbone: got []"],
        ),
        (OWN, "just text", ["describes no network; expected backbone and head"]),
    ],
)
def test_mistakes_are_named_all_at_once(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    found = problems(tmp_path, OWN.replace(old, new, 1))
    assert len(found) == len(words), found
    for problem, word in zip(found, words, strict=True):
        assert word in problem


def test_the_file_says_one_size_or_its_name_chooses_one(tmp_path: Path) -> None:
    assert described(tmp_path, OWN, "mine-yolo11s.yaml").values["scales"] == {"s": [0.5, 0.5, 1024]}
    [none] = problems(tmp_path, OWN, "mine.yaml")
    assert none.startswith(
        "scales: got n, s, and the file's name says none; keep one of them, or name the file for one"
    )
    [other] = problems(tmp_path, OWN, "mine-yolo11x.yaml")
    assert other.startswith("scales: got n, s, and the file's name says x")
    single = OWN.replace("  s: [0.50, 0.50, 1024]\n", "")
    assert described(tmp_path, single, "mine.yaml").values["scales"] == {"n": [0.5, 0.25, 1024]}
    factors = "depth_multiple: 0.33\n" + OWN.replace(OWN[OWN.index("scales") : OWN.index("activation")], "")
    assert "scales" not in described(tmp_path, factors, "mine.yaml").values
    of_name = described(tmp_path, factors, "mine-yolo11m.yaml").values  # a letter that some modules look at
    assert of_name["scales"] == {"m": [0.33, 1.0, 1 << 20]}
    assert "depth_multiple" not in of_name
