"""Sightline: labelled images in; a registered ONNX detector out, its score measured on that very file.

    source ─validate─▶ snapshot ─train─▶ weights ─export─▶ ONNX
        ONNX ─evaluate─▶ verdict, predictions ─sample─▶ gallery ─┬─report──▶ page, MLflow run
                                                                 └─register─▶ model version

Each stage is a module or package of that name with a function `run(...)` that reads documents, writes one document
and raises a `SightlineError` with a message for the user. `tasks` adapts them to pipeline parameters, `orchestrate`
runs the compiled pipeline on this machine, `cli` is what a person types.
"""

__version__ = "0.1.0"
