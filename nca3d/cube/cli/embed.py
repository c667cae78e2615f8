"""The command `nca3d embed`: turns questions and answers into the vectors that a cube is trained on, by TF-IDF or a model."""

import argparse
import sys
import time
from pathlib import Path

from nca3d.cli.flags import wrong_file, wrong_folder
from nca3d.cube.questions import read_questions, shipped
from nca3d.cube.teacher.teacher_ref import POOLS, find_teacher
from nca3d.cube.teacher.tensors import header
from nca3d.errors import ErrorCollector
from nca3d.files import odd

SUFFIX = ".safetensors"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `nca3d embed` to a parser."""
    sets = ", ".join(shipped())
    parser.add_argument("data", metavar="DATA", help=f'JSONL of {{"question", "answer", "split"}}, or a shipped set: {sets}')
    parser.add_argument(
        "--model",
        default="tfidf",
        metavar="NAME|FOLDER",
        help="tfidf, minilm (its package), or a Hugging Face model folder on this machine (default: tfidf)",
    )
    parser.add_argument(
        "--layer", type=int, default=-1, metavar="L", help="of hidden states: 0 = word embeddings, -1 = the last (default)"
    )
    parser.add_argument("--pool", default="mean", metavar="|".join(POOLS), help="of a text's tokens (default: mean)")
    parser.add_argument("--width", type=int, default=225, metavar="N", help="components of tfidf (default: 225)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="safetensors (default: DATA's name + .safetensors, here)")
    parser.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="keeps embeddings (default: $NCA3D_CACHE, else the user's cache folder)"
    )


def run(args: argparse.Namespace) -> None:
    """Embeds all questions and answers of a set and writes the vectors to one file.

    Raises:
        InputErrors: The data or flags are wrong; all that is wrong is named at once.
    """
    with ErrorCollector() as errors:
        questions = errors.of(read_questions, args.data)
        named = errors.of(find_teacher, args.model, args.layer, args.pool, args.width)
        out: Path = args.out or Path(f"{Path(args.data).stem or 'questions'}{SUFFIX}")
        of_models = named is not None and args.model == "tfidf" and (args.layer != -1 or args.pool != "mean")
        errors.add(of_models, "--layer, --pool", "model", "tfidf, which has neither", "the two with a model alone")
        before_out = len(errors)
        errors += wrong_file("--out", out)
        # An older output may be replaced; a file of another program may not.
        taken = not odd(out) and out.is_file() and (header(out) or {}).get("nca3d") != "embeddings"
        errors.add(taken, "--out", "file", f"{out}, which nca3d embed did not write", "a name that is free")
        other = len(errors) == before_out and out.suffix != SUFFIX
        errors.add(other, "--out", "suffix", repr(out.suffix), f"{SUFFIX}, which is what is written")
        errors += wrong_folder("--cache", args.cache)
    assert questions is not None and named is not None  # otherwise the collector has raised their errors
    start = time.perf_counter()
    # Here, not above: they load torch, and errors of data and flags should be told before that.
    from nca3d.cube.teacher.embeddings import Embeddings, count_embeddings_of, embeddings_folder, write_embeddings
    from nca3d.cube.teacher.teachers import load_teacher

    train = questions.of("train")
    # TF-IDF learns its weights of words from training alone: held-out questions must not influence them. An answer counts once,
    # however many questions have it.
    fit_on = [pair.question for pair in train] + list(dict.fromkeys(pair.answer for pair in train))
    teacher = load_teacher(args.model, layer=args.layer, pool=args.pool, fit_on=fit_on, width=args.width)
    texts = [pair.question for pair in questions.pairs] + [pair.answer for pair in questions.pairs]
    cache = args.cache or embeddings_folder()
    vectors, from_cache = count_embeddings_of(teacher, texts, cache, progress=sys.stderr.isatty())
    count = len(questions.pairs)
    metadata = {"model": teacher.id, "data": questions.digest, "name": questions.name}
    if named.folder is not None:
        metadata |= {"layer": str(named.layer), "pool": named.pool}
    before = out.exists()
    write_embeddings(out, Embeddings(vectors[:count], vectors[count:], metadata))
    print(f"{count} questions and answers, {teacher.width} wide, by {teacher.id}")
    print(f"{from_cache} of {len(texts)} texts from the cache, {time.perf_counter() - start:.1f} s")
    print(f"{out}{' (replaced)' if before else ''}")
