"""ONNX graphs that are changed and written again; needs the package onnx."""
