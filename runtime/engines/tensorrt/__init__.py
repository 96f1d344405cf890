"""TensorRT plans: the engine, its session on the GPU, and its sidecar."""
