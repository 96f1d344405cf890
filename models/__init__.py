"""The bundled default engine (`cinemae-demo.onnx`) with its model card; the command line's own exports land here too."""
