"""What runs inside a training process: the engine's trainer, with an epoch loop and a state that survive."""
