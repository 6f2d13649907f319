"""A finished run as its stages leave it: realistic documents, drawings and a tiny valid ONNX file, in seconds."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import onnx
from onnx import TensorProto, helper
from PIL import Image, ImageDraw

from sightline.config import GateConfig, RunConfig
from sightline.config.presets import quickstart
from sightline.documents import (
    Attempt,
    Backgrounds,
    BestEpoch,
    ClassScores,
    ConfusionMatrix,
    Curve,
    Curves,
    Document,
    Epoch,
    EvaluateDocument,
    Example,
    ExportDocument,
    Hardware,
    OptimizerUsed,
    Parity,
    PinnedWeights,
    Precision,
    PrecisionCheck,
    Preflight,
    RuleResult,
    Sample,
    SampleDocument,
    Seconds,
    SizeScores,
    SplitCounts,
    Time,
    TrainDocument,
    ValidateDocument,
    Weights,
)
from sightline.documents.sizing import Card, Probed, Sizing

CLASSES = ("red cell", "white cell", "platelet", "trophozoite <script>alert(1)</script>", "gametocyte")
SNAPSHOT = "file:///data/runs/store/snapshots/" + "5f" * 32
START = PinnedWeights(uri="s3://models/yolo11n.pt", sha256="0e" * 32)
WEIGHTS = Weights(source="yolo11n.pt", reference=START, licence="AGPL-3.0")
FIRST = {"red cell": 2210, "white cell": 190, "platelet": 214, CLASSES[3]: 61, "gametocyte": 9}
SCORES = (0.913, 0.948, 0.802, 0.641)


def write_run(
    root: Path, *, verdict: str = "accepted", config: RunConfig | None = None, stages: Sequence[str] | None = None
) -> dict[str, Path]:
    """Write the documents of a run below `root`, all of them or those of `stages`; return the folders."""
    model = _model()
    documents: dict[str, Document] = {
        "validate": validate(config or quickstart()),
        "train": train(),
        "export": export(hashlib.sha256(model).hexdigest(), len(model)),
        "evaluate": evaluate(hashlib.sha256(model).hexdigest(), verdict),
        "sample": sample(hashlib.sha256(model).hexdigest()),
    }
    folders = {}
    for name, document in documents.items():
        if stages is None or name in stages:
            folders[name] = root / name
            document.write(root / name)
    if "export" in folders:
        (root / "export" / "model.onnx").write_bytes(model)
    if "train" in folders:
        (root / "train" / "sheets").mkdir(exist_ok=True)
        for index, name in enumerate(("train", "val")):
            _draw(root / "train" / "sheets" / f"{name}.jpg", index)
    if "sample" in folders:
        for index in range(6):
            _draw(root / "sample" / f"{index:03}.jpg", index)
    return folders


def validate(config: RunConfig) -> ValidateDocument:
    def split(share: float, images: int, backgrounds: int) -> SplitCounts:
        boxes = {name: int(count * share) for name, count in FIRST.items()}
        return SplitCounts(images=images, boxes=sum(boxes.values()), backgrounds=backgrounds, boxes_per_class=boxes)

    findings = [
        RuleResult(
            rule="zero-area-box",
            severity="error",
            count=1,
            of=5000,
            max_count=None,
            max_fraction=0.01,
            rejected=False,
            handling="dropped the box",
            examples=[
                Example(
                    where="annotations.json: annotations[8812]",
                    message="'platelet' box (3, 4, 3, 9) of a.jpg has no area",
                    image="a.jpg",
                    box=None,
                )
            ],
        ),
        RuleResult(
            rule="clipped-box",
            severity="warning",
            count=26,
            of=5000,
            max_count=None,
            max_fraction=None,
            rejected=False,
            handling="clipped",
            examples=[
                Example(
                    where=f"labels/train/smear_{index:04}.txt:{index % 7 + 1}",
                    message="'rbc' box (0.9, 0.1, 1.02, 0.3) sticks out of smear.jpg (640x480)",
                    image=f"images/train/smear_{index:04}.jpg",
                    box=(0.9, 0.1, 1.02, 0.3),
                )
                for index in range(20)
            ],
        ),
    ]
    return ValidateDocument(
        source="s3://lab-data/smears/2026-11.zip",
        format="coco",
        snapshot=SNAPSHOT,
        digest="5f" * 32,
        classes=list(CLASSES),
        splits={"train": split(1, 410, 12), "val": split(0.2, 88, 4), "test": split(0.1, 90, 6)},
        split_rule="70/15/15 by hash of the image bytes, duplicates kept together",
        uploaded_bytes=412_000_000,
        findings=findings,
        dropped_images=0,
        dropped_boxes=1,
        weights=WEIGHTS,
        config=config,
        train_code="c0" * 32,
        sizing=["Tier large chose image size 960, and you chose model yolo11n.yaml."],
        infer_code="c1" * 32,
        started_at="2026-11-21T08:00:00.000+00:00",
        seconds=14.2,
    )


TRAINED = datetime(2026, 11, 21, 8, 0, 20, 500_000, tzinfo=UTC)  # when it began


def train(epochs: int = 40) -> TrainDocument:
    noise = random.Random(7)

    def epoch(number: int) -> Epoch:
        left = math.exp(-number / 11)
        score = 0.66 * (1 - left) + noise.uniform(-0.015, 0.015)
        return Epoch(
            epoch=number,
            seconds=21.5,
            learning_rate=0.004 * (1 - number / 45),
            box_loss=0.9 + 1.5 * left + noise.uniform(-0.02, 0.02),
            class_loss=0.5 + 2.9 * left,
            dfl_loss=0.95 + 0.5 * left,
            val_box_loss=1.0 + 1.4 * left + noise.uniform(-0.05, 0.05),
            val_class_loss=0.62 + 2.6 * left,
            val_dfl_loss=1.0 + 0.5 * left,
            precision=0.9 - 0.5 * left,
            recall=0.88 - 0.6 * left,
            map50=min(1.0, 1.34 * score + 0.01),
            map50_95=score,
            ended_at=(TRAINED + timedelta(seconds=21.5 * number)).isoformat(timespec="milliseconds"),
            images_per_second=40.0 + noise.uniform(-1, 1),
            memory_bytes=1_200_000_000 + 1_000_000 * number,
            spent=Seconds(data=1.5, transfer=0.2, compute=15.8, validation=3.0, checkpoint=0.6, other=0.4),
        )

    history = [epoch(number) for number in range(1, epochs + 1)]
    best = max(history, key=lambda item: item.map50_95)
    return TrainDocument(
        snapshot=SNAPSHOT,
        weights="s3://models/yolo11n.pt",
        weights_sha256=WEIGHTS.sha256,
        config=quickstart().train,
        seed=0,
        world_size=2,
        optimizer=OptimizerUsed(name="AdamW", lr0=0.004, momentum=0.937, warmup_bias_lr=0.0),
        device="cuda",
        precision=Precision(
            asked="auto",
            used="bf16",
            reason="NVIDIA H100 computes it natively",
            check=PrecisionCheck(
                type="bf16",
                images=8,
                output_difference=0.031,
                output_tolerance=0.390625,
                output_correlation=0.996,
                least_correlation=0.1,
                largest_difference=1.4,
                loss_difference=0.0042,
                loss_tolerance=0.1,
                loss_scale=1.0,
                problems=[],
                seconds=1.8,
            ),
        ),
        epochs_completed=epochs,
        best=BestEpoch(**best.model_dump(include=set(BestEpoch.model_fields))),
        history=history,
        stopped_by="epochs",
        attempts=[
            Attempt(number=1, exit_code=-9, seconds=312.0, reason="killed by signal 9; resumed from epoch 12"),
            Attempt(number=2, exit_code=0, seconds=604.4, reason="finished"),
        ],
        checkpoint="best.pt",
        checkpoint_sha256="be" * 32,
        last="last.pt",
        table="results.csv",
        tensorboard="tensorboard",
        sheets=["sheets/train.jpg", "sheets/val.jpg"],
        engine="ultralytics 8.4.190",
        packages={"torch": "2.13.0", "ultralytics-opencv-headless": "8.4.190"},
        hardware=Hardware(machine="Linux x86_64", cpu_count=16, memory_bytes=128 * 2**30, gpus=["NVIDIA H100"] * 2),
        time=Time(
            spent=Seconds(data=60, transfer=8, compute=632, validation=120, checkpoint=24, other=16),
            outside_seconds=44.4,
            lost_seconds=12.0,
            judged_epochs=epochs - 2,
            shares={
                "data": 0.0698,
                "transfer": 0.0093,
                "compute": 0.7349,
                "validation": 0.1395,
                "checkpoint": 0.0279,
                "other": 0.0186,
            },
            bound="compute",
            reason="computing took 73% of the epochs, and nothing else is over its limit",
            advice="Take a faster card or more of them (train.gpus).",
            attempts_gpu_seconds=1832.8,
            energy_joules=812_000.0,
        ),
        preflight=Preflight(
            seconds=1.4,
            ranks=2,
            gpus=2,
            memory_free_bytes=100 * 10**9,
            memory_needed_bytes=2 * 10**9,
            shm_free_bytes=8 * 10**9,
            shm_needed_bytes=640 * 10**6,
            disk_free_bytes=900 * 10**9,
            disk_needed_bytes=230 * 10**6,
            all_reduce_gb_per_s=181.2,
        ),
        sizing=Sizing(
            tier="large",
            card=Card(name="NVIDIA H100", memory_bytes=80 << 30),
            free_bytes=84 * 10**9,
            allowed_bytes=71_400_000_000,
            boxes=480,
            side=640,
            probed=[
                Probed(images=16, memory_bytes=31 * 10**9, fits=True, seconds=0.21),
                Probed(images=32, memory_bytes=62 * 10**9, fits=True, seconds=0.4),
            ],
            batch=64,
            effective_batch=64,
            workers=8,
            workers_by="16 cores for 2 processes",
            reason="the largest that fits: 62.0 GB of 71.4 GB, 85 % of 84.0 GB free on NVIDIA H100",
        ),
        peak_memory_bytes=9_200_000_000,
        started_at=TRAINED.isoformat(timespec="milliseconds"),
        seconds=921.7,
    )


def export(sha256: str, size: int) -> ExportDocument:
    return ExportDocument(
        snapshot=SNAPSHOT,
        onnx="model.onnx",
        sha256=sha256,
        size_bytes=size,
        opset=18,
        architecture="yolo11n",
        head="anchors",
        image_size=640,
        classes=list(CLASSES),
        confidence=0.312,
        confidence_f1=0.861,
        f1_curve=Curve(x=[0.0, 0.2, 0.312, 0.5, 1.0], y=[0.42, 0.8, 0.861, 0.79, 0.0]),
        checkpoint_sha256="be" * 32,
        parity=Parity(
            images=16, max_abs_diff=2.2e-4, tolerance=0.05, confidence=0.312, matched=412, unmatched=0, passed=True
        ),
        seconds=9.8,
    )


def evaluate(sha256: str, verdict: str = "accepted") -> EvaluateDocument:
    grid = [index / 60 for index in range(61)]
    precision = [1 - 0.55 * math.exp(-9 * x) for x in grid]
    recall = [0.97 * (1 - x**3.2) for x in grid]
    per_class = [
        ClassScores(
            name=name,
            boxes=int(FIRST[name] / 10),
            map50_95=round(score * 0.72, 4),
            map50=score,
            map75=round(score * 0.84, 4),
            precision=round(score * 0.97, 4),
            recall=round(score * 0.95, 4),
            f1=round(score * 0.96, 4),
        )
        for name, score in zip(CLASSES, SCORES, strict=False)
    ]
    nothing = ClassScores(
        name="gametocyte", boxes=0, map50_95=None, map50=None, map75=None, precision=None, recall=None, f1=None
    )
    passed = verdict == "accepted"
    return EvaluateDocument(
        onnx_sha256=sha256,
        snapshot=SNAPSHOT,
        split="test",
        images=90,
        boxes=267,
        map50_95=0.5947,
        map50=0.826,
        map75=0.6938,
        by_size=SizeScores(small=0.441, medium=0.628, large=None),
        recall_at={"1": 0.212, "10": 0.604, "100": 0.671},
        confidence=0.312,
        precision=0.8012,
        recall=0.7847,
        f1=0.7929,
        per_class=[*per_class, nothing],
        confusion=ConfusionMatrix(
            labels=[*CLASSES, "background"],
            counts=[
                [208, 1, 0, 2, 0, 10],
                [0, 18, 0, 0, 0, 1],
                [1, 0, 17, 0, 0, 3],
                [1, 0, 0, 4, 0, 1],
                [0, 0, 0, 0, 0, 0],
                [19, 0, 6, 2, 1, 0],
            ],
        ),
        backgrounds=Backgrounds(images=6, false_positives=3, false_positives_per_image=0.5),
        curves=Curves(
            precision_recall=Curve(x=grid, y=[1 - 0.12 * x - 0.6 * x**9 for x in grid]),
            precision=Curve(x=grid, y=precision),
            recall=Curve(x=grid, y=recall),
            f1=Curve(x=grid, y=[2 * p * r / (p + r) if p + r else 0 for p, r in zip(precision, recall, strict=True)]),
        ),
        settings="Letterboxed to 640, class-wise NMS at IoU 0.70, one label per box, at most 300 detections from "
        "confidence 0.001; COCO matching.",
        verdict=verdict,
        gate=GateConfig(min_map50=0.8 if passed else 0.9),
        reasons=[
            f"map50 is 0.826, at least {0.8 if passed else 0.9} was asked for",
            "weakest class (trophozoite) has AP50 0.641, nothing was asked for",
        ],
        provider="CUDAExecutionProvider",
        milliseconds_per_image=6.4,
        finished_at="2026-11-21T08:16:10.250+00:00",
        seconds=11.9,
    )


def sample(sha256: str) -> SampleDocument:
    found = [(12, 12, 12, 0, 0), (9, 9, 8, 1, 1), (0, 0, 0, 0, 0), (15, 13, 13, 2, 0), (7, 8, 7, 0, 1), (0, 1, 0, 0, 1)]
    words = [
        "11 red cells, 1 white cell",
        "8 red cells, 1 platelet",
        "No findings",
        "12 red cells, 1 trophozoite",
        "6 red cells, 2 platelets",
        "1 platelet",
    ]
    return SampleDocument(
        onnx_sha256=sha256,
        split="test",
        confidence=0.312,
        samples=[
            Sample(
                image=f"images/test/smear_{index:04}.jpg",
                file=f"{index:03}.jpg",
                finding=finding,
                labelled=numbers[0],
                found=numbers[1],
                matched=numbers[2],
                missed=numbers[3],
                false=numbers[4],
            )
            for index, (finding, numbers) in enumerate(zip(words, found, strict=True))
        ],
        seconds=3.1,
    )


def _draw(path: Path, seed: int) -> None:
    place = random.Random(seed)
    image = Image.new("RGB", (640, 480), (238, 226, 224))
    draw = ImageDraw.Draw(image)
    for _ in range(0 if seed == 2 else 12):
        x, y, r = place.randint(40, 600), place.randint(40, 440), place.randint(20, 34)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(214, 138, 132), outline=(190, 110, 104), width=3)
        draw.rectangle((x - r - 3, y - r - 3, x + r + 3, y + r + 3), outline=(36, 87, 197), width=3)
    image.save(path, quality=90)


def _model() -> bytes:
    """Return a network of one pooling layer, with the shapes of a detector's input."""
    shape = ["batch", 3, "height", "width"]
    graph = helper.make_graph(
        [helper.make_node("GlobalAveragePool", ["images"], ["output0"])],
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", 3, 1, 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()
