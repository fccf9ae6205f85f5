"""Files that are elsewhere, named by a URL: s3://, gs://, https:// and whatever else fsspec opens. Nothing is loaded before one is met.

`path_of` makes what a user typed a path, here or elsewhere; readers take both (`AnyPath`) and use of a path what both have, which mypy checks.
"""

from scaleprof.remote.path import AnyPath, RemotePath, at_once, identity, inside, is_below, matches, path_of, walk
from scaleprof.remote.words import without_secrets

__all__ = [
    "AnyPath",
    "RemotePath",
    "at_once",
    "identity",
    "inside",
    "is_below",
    "matches",
    "path_of",
    "walk",
    "without_secrets",
]
