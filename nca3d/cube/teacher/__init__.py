"""Who turns texts into vectors: `teachers.py` (what a teacher is), `tfidf.py`, `transformer.py`; `cache.py` keeps what was
embedded, `embeddings.py` is the file of `nca3d embed`. transformers and scikit-learn load inside functions."""
