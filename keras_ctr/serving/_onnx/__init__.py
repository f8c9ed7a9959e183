"""Models as ONNX graphs: the walk over `keras.ops`, the raw columns, and their file."""
