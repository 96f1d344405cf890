"""The bundled default engine (`cinemae-demo.onnx`) with its model card; your own exports land beside it."""
