"""What a training consists of before its first epoch: the engine's `_setup_train`, with three differences.

- The type to compute in is chosen and checked by ours (`precision`), after the loaders, whose images it needs, and
  before processes share the network.
- On CPUs the network is shared without the index of a device, which the engine names.
- What Sightline refuses is left out: quantization, distillation, compilation, and a batch that the engine chooses.

The rest is the engine's (Ultralytics 8.4.190).
"""

from __future__ import annotations

from typing import Any

ALWAYS_FROZEN = ".dfl"  # its weights are the numbers 0, 1, 2, …


def set_up(trainer: Any) -> None:
    """Build network, loaders, optimizer, schedule, validator and average of a trainer."""
    from ultralytics.utils import RANK
    from ultralytics.utils.checks import check_imgsz
    from ultralytics.utils.torch_utils import EarlyStopping, ModelEMA

    trainer.setup_model()
    _place(trainer)
    trainer.set_model_attributes()
    trainer.stride = max(int(trainer.model.stride.max()), 32)
    trainer.args.imgsz = check_imgsz(trainer.args.imgsz, stride=trainer.stride, floor=trainer.stride, max_dim=1)
    freeze(trainer)
    trainer._build_train_pipeline()
    trainer.set_class_weights()
    trainer.settle_precision()
    if trainer.world_size > 1:
        trainer.model = _shared(trainer)
    trainer.validator = trainer.get_validator()
    trainer.ema = ModelEMA(trainer.model)
    if RANK in (-1, 0):
        names = trainer.validator.metrics.keys + trainer.label_loss_items(prefix="val")
        trainer.metrics = dict.fromkeys(names, 0)
    trainer.stopper, trainer.stop = EarlyStopping(patience=trainer.args.patience), False
    trainer.scheduler.last_epoch = trainer.start_epoch - 1  # do not move
    trainer.run_callbacks("on_pretrain_routine_end")


def _place(trainer: Any) -> None:
    """Move the network to its device; on GPUs channels come last, which is faster there and changes no value."""
    import torch

    trainer.model = trainer.model.to(trainer.device)
    if trainer.device.type == "cuda" and trainer.args.channels_last is not False:
        trainer.model = trainer.model.to(memory_format=torch.channels_last)


def freeze(trainer: Any) -> None:
    """Keep the weights of frozen layers; all others are trained, whatever the starting weights say."""
    chosen = trainer.args.freeze
    layers = chosen if isinstance(chosen, list) else range(chosen or 0)
    trainer.freeze_layer_names = [*(f"model.{layer}." for layer in layers), ALWAYS_FROZEN]
    for name, parameter in trainer.model.named_parameters():
        if any(part in name for part in trainer.freeze_layer_names):
            parameter.requires_grad = False
        elif parameter.dtype.is_floating_point:
            parameter.requires_grad = True


def _shared(trainer: Any) -> Any:
    """Return the network as all processes train it together."""
    from torch import nn

    cuda = trainer.device.type == "cuda"
    return nn.parallel.DistributedDataParallel(
        trainer.model,
        device_ids=[trainer.device.index] if cuda else None,
        find_unused_parameters=True,
        forward_sync_buffers=False,
    )
