"""The detector as an ONNX graph: packed for speed, and as three readable parts."""
