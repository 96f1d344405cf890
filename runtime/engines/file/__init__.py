"""An engine's ONNX file, read without the onnx package: header, graph, hashes."""
