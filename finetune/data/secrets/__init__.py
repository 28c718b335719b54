"""Secrets and personal data out of every text, as a fixed stage: a recipe can allow values, never skip it."""

from finetune.data.secrets.redactor import Redactor, open_redactor, redact_item, redact_path

__all__ = ["Redactor", "open_redactor", "redact_item", "redact_path"]
