"""gradio, imported without what its developers need of an import and a reader of the page does not."""

from __future__ import annotations

import inspect

from finetune.quiet import nothing_collected


def import_gradio() -> None:
    """Imports gradio without the stubs (.pyi, for code editors) that it writes beside its components: half of its import, and no
    business of ours in a folder of somebody else's.

    It writes none for a class that has no file. As long as it is imported, none of its classes has one.
    """
    own = inspect.getfile

    def file_of(thing: object) -> str:
        if isinstance(thing, type) and thing.__module__.startswith("gradio."):
            raise OSError(f"{thing.__module__} is being imported")
        return own(thing)  # type: ignore[arg-type]

    inspect.getfile = file_of  # type: ignore[assignment]
    try:
        with nothing_collected():
            import gradio  # noqa: F401
    finally:
        inspect.getfile = own
