"""TensorRT plans: the engine, its sidecar, contexts and buffers."""
