"""Torch to ONNX to TensorRT: export graphs, parity checks, deployment files."""
