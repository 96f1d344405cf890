"""The browser target: a static site that scores images on the visitor's own device with onnxruntime-web."""
