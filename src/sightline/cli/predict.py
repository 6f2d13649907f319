"""`sightline predict`: an exported file on images, without a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sightline.cli.options import Confidence, DeviceName, Json, err, non_empty_path, print_lines, progress_display
from sightline.cli.options import device as device_of
from sightline.runtime.terminal import print_json


def predict(
    images: Annotated[
        list[Path],
        typer.Argument(
            parser=non_empty_path, help="Image files, folders of them, or patterns such as 'photos/**/*.jpg'."
        ),
    ],
    model: Annotated[
        Path, typer.Option(parser=non_empty_path, metavar="<path>", help="ONNX file that `sightline export` wrote.")
    ],
    to: Annotated[
        Path,
        typer.Option(
            parser=non_empty_path, metavar="<path>", help="Folder for the annotated images and predictions.json."
        ),
    ] = Path("predictions"),
    confidence: Confidence = None,
    device: DeviceName = "auto",
    as_json: Json = False,
) -> None:
    """Detect in images: annotated copies, predictions.json, and a finding per image.

    sightline predict --model runs/mine/export/model.onnx photo.jpg

    sightline predict --model model.onnx --to out --confidence 0.5 ./photos
    """
    from sightline.predict import predict as work

    notes: list[str] = []
    with progress_display(as_json):
        results = work(images, model=model, to=to, confidence=confidence, device=device_of(device), say=notes.append)
    for note in notes:
        err.print(note)
    if as_json:
        print_json(json.dumps(results, indent=2))
    else:
        for result in results:
            print_lines([f"{result['image']}: {result['finding']}"])
        print_lines([f"annotated images and predictions.json are in {to}"])
