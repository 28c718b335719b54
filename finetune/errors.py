"""Every error a user can cause, each with one message: where, what was found, what to write.

    FinetuneError
    ├── RecipeError     the YAML file or an override
    ├── DataError       a repository, a dataset, a tokenizer
    ├── ModelError      a base model folder
    ├── TrainError      a training run
    │   └── Stopped     one that was told to stop, and kept what it had done
    ├── EvaluateError   a measurement
    └── ExportError     a merge or an exported folder

The command line prints the message and leaves with exit code 2. Anything else is our own fault: traceback, exit code 1.
"""


class FinetuneError(Exception):
    """A mistake the user can put right; the message says how."""


class RecipeError(FinetuneError):
    """A recipe that can not be used; one message names every fault in it."""


class DataError(FinetuneError):
    """A repository, dataset or tokenizer that can not be used."""


class ModelError(FinetuneError):
    """A base model folder that can not be used."""


class TrainError(FinetuneError):
    """A training run that can not start or go on."""


class Stopped(TrainError):
    """A training run that was told to stop; what it had done is kept."""


class EvaluateError(FinetuneError):
    """A measurement that can not be made."""


class ExportError(FinetuneError):
    """An adapter that can not be merged or an export that is not sound."""
