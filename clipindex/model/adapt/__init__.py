"""Ready-made ONNX exports, brought into the form of a bundle without torch."""
