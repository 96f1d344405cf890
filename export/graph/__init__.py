"""The detector as one packed ONNX graph, and the tracing that every exported graph goes through."""
