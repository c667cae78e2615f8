"""Teachers turn texts into vectors.

`teacher.py` says what a teacher is; `tfidf.py` and `transformer.py` are the two kinds; `teacher_ref.py` checks a name without
torch, and `teachers.py` loads a teacher by its name. `embeddings.py` has the file that `nca3d embed` writes, and the cache.
transformers and scikit-learn take seconds to load, so they are imported inside functions.
"""
