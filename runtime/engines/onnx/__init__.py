"""ONNX engines by onnxruntime, on CPU, CUDA and TensorRT providers."""
