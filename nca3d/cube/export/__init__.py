"""A cube as a folder that answers without its training: `write.py`, `graph.py` (ONNX), `record.py`, `folder.py` reads it."""
