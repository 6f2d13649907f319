"""The engine's networks, and the modules of which one of your own may consist: written by `make compile`."""

from __future__ import annotations

from typing import NamedTuple


class Shipped(NamedTuple):
    """What one of the engine's files describes, in one size."""

    layers: int
    stride: int  # pixels of the image for each cell of the deepest level
    one_to_one: bool  # whether it has a head that needs no NMS
    parameters: int  # with the 80 classes of COCO


SHIPPED = {
    "yolov5n": Shipped(25, 32, False, 2_654_816),
    "yolov5s": Shipped(25, 32, False, 9_153_152),
    "yolov5m": Shipped(25, 32, False, 25_111_456),
    "yolov5l": Shipped(25, 32, False, 53_225_024),
    "yolov5x": Shipped(25, 32, False, 97_276_448),
    "yolov5n-p6": Shipped(34, 64, False, 4_334_896),
    "yolov5s-p6": Shipped(34, 64, False, 15_309_328),
    "yolov5m-p6": Shipped(34, 64, False, 41_222_064),
    "yolov5l-p6": Shipped(34, 64, False, 86_099_920),
    "yolov5x-p6": Shipped(34, 64, False, 155_544_432),
    "yolov8n": Shipped(23, 32, False, 3_157_200),
    "yolov8s": Shipped(23, 32, False, 11_166_560),
    "yolov8m": Shipped(23, 32, False, 25_902_640),
    "yolov8l": Shipped(23, 32, False, 43_691_520),
    "yolov8x": Shipped(23, 32, False, 68_229_648),
    "yolov8n-ghost": Shipped(23, 32, False, 1_865_316),
    "yolov8s-ghost": Shipped(23, 32, False, 5_960_072),
    "yolov8m-ghost": Shipped(23, 32, False, 10_336_312),
    "yolov8l-ghost": Shipped(23, 32, False, 14_277_872),
    "yolov8x-ghost": Shipped(23, 32, False, 22_229_308),
    "yolov8n-ghost-p2": Shipped(29, 32, False, 2_033_944),
    "yolov8s-ghost-p2": Shipped(29, 32, False, 5_562_080),
    "yolov8m-ghost-p2": Shipped(29, 32, False, 9_031_728),
    "yolov8l-ghost-p2": Shipped(29, 32, False, 12_214_448),
    "yolov8x-ghost-p2": Shipped(29, 32, False, 18_664_776),
    "yolov8n-ghost-p6": Shipped(31, 64, False, 2_901_100),
    "yolov8s-ghost-p6": Shipped(31, 64, False, 9_520_008),
    "yolov8m-ghost-p6": Shipped(31, 64, False, 18_002_904),
    "yolov8l-ghost-p6": Shipped(31, 64, False, 21_227_584),
    "yolov8x-ghost-p6": Shipped(31, 64, False, 33_057_852),
    "yolov8n-p2": Shipped(29, 32, False, 3_354_144),
    "yolov8s-p2": Shipped(29, 32, False, 10_884_336),
    "yolov8m-p2": Shipped(29, 32, False, 25_082_496),
    "yolov8l-p2": Shipped(29, 32, False, 42_888_080),
    "yolov8x-p2": Shipped(29, 32, False, 66_637_536),
    "yolov8n-p6": Shipped(31, 64, False, 4_984_352),
    "yolov8s-p6": Shipped(31, 64, False, 17_911_792),
    "yolov8m-p6": Shipped(31, 64, False, 44_887_488),
    "yolov8l-p6": Shipped(31, 64, False, 62_384_016),
    "yolov8x-p6": Shipped(31, 64, False, 97_423_072),
    "yolov9t": Shipped(23, 32, False, 2_128_720),
    "yolov9s": Shipped(23, 32, False, 7_318_368),
    "yolov9m": Shipped(23, 32, False, 20_216_160),
    "yolov9c": Shipped(23, 32, False, 25_590_912),
    "yolov9e": Shipped(43, 32, False, 58_206_592),
    "yolov10n": Shipped(24, 32, True, 2_775_520),
    "yolov10s": Shipped(24, 32, True, 8_128_272),
    "yolov10m": Shipped(24, 32, True, 16_576_768),
    "yolov10b": Shipped(24, 32, True, 20_574_384),
    "yolov10l": Shipped(24, 32, True, 25_888_688),
    "yolov10x": Shipped(24, 32, True, 31_808_960),
    "yolo11n": Shipped(24, 32, False, 2_624_080),
    "yolo11s": Shipped(24, 32, False, 9_458_752),
    "yolo11m": Shipped(24, 32, False, 20_114_688),
    "yolo11l": Shipped(24, 32, False, 25_372_160),
    "yolo11x": Shipped(24, 32, False, 56_966_176),
    "yolo12n": Shipped(22, 32, False, 2_602_288),
    "yolo12s": Shipped(22, 32, False, 9_284_096),
    "yolo12m": Shipped(22, 32, False, 20_199_168),
    "yolo12l": Shipped(22, 32, False, 26_450_784),
    "yolo12x": Shipped(22, 32, False, 59_210_784),
    "yolo26n": Shipped(24, 32, True, 2_572_280),
    "yolo26s": Shipped(24, 32, True, 10_009_784),
    "yolo26m": Shipped(24, 32, True, 21_896_248),
    "yolo26l": Shipped(24, 32, True, 26_299_704),
    "yolo26x": Shipped(24, 32, True, 58_993_368),
    "yolo26n-p2": Shipped(30, 32, True, 2_662_400),
    "yolo26s-p2": Shipped(30, 32, True, 9_765_856),
    "yolo26m-p2": Shipped(30, 32, True, 21_144_288),
    "yolo26l-p2": Shipped(30, 32, True, 25_815_520),
    "yolo26x-p2": Shipped(30, 32, True, 57_935_232),
    "yolo26n-p6": Shipped(32, 64, True, 4_063_872),
    "yolo26s-p6": Shipped(32, 64, True, 15_876_448),
    "yolo26m-p6": Shipped(32, 64, True, 32_400_096),
    "yolo26l-p6": Shipped(32, 64, True, 39_365_600),
    "yolo26x-p6": Shipped(32, 64, True, 88_330_368),
}

MODULES = frozenset(
    """
    A2C2f AConv ADown AIFI Bottleneck BottleneckCSP C1 C2 C2PSA C2f C2fCIB C2fPSA C3 C3Ghost C3TR C3k2 C3x CBFuse
    CBLinear Concat Conv ConvTranspose DWConv DWConvTranspose2d ELAN1 Focus GhostBottleneck GhostConv HGBlock HGStem
    Index PSA RepC3 RepNCSPELAN4 ResNetLayer SCDown SPP SPPELAN SPPF nn.AlphaDropout nn.AvgPool2d nn.BatchNorm2d nn.CELU
    nn.CircularPad2d nn.ConstantPad2d nn.Conv2d nn.ConvTranspose2d nn.Dropout nn.Dropout2d nn.ELU nn.FeatureAlphaDropout
    nn.FractionalMaxPool2d nn.GELU nn.GLU nn.GroupNorm nn.Hardshrink nn.Hardsigmoid nn.Hardswish nn.Hardtanh nn.Identity
    nn.InstanceNorm2d nn.LPPool2d nn.LayerNorm nn.LeakyReLU nn.LocalResponseNorm nn.LogSigmoid nn.LogSoftmax
    nn.MaxPool2d nn.Mish nn.PReLU nn.PixelShuffle nn.PixelUnshuffle nn.RMSNorm nn.RReLU nn.ReLU nn.ReLU6
    nn.ReflectionPad2d nn.ReplicationPad2d nn.SELU nn.SiLU nn.Sigmoid nn.Softmax nn.Softmax2d nn.Softmin nn.Softplus
    nn.Softshrink nn.Softsign nn.Tanh nn.Tanhshrink nn.Threshold nn.Upsample nn.UpsamplingBilinear2d
    nn.UpsamplingNearest2d nn.ZeroPad2d
    """.split()  # noqa: SIM905
)
