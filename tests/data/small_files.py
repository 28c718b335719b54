"""Small Python files, many at once and all different."""

from __future__ import annotations


def module(name: str, functions: int = 6) -> str:
    return "\n".join(f"def {name}_{number}(value):\n    return value + {number}\n" for number in range(functions))


def modules(prefix: str, count: int = 12) -> dict[str, str]:
    return {f"{prefix}/{prefix}_{number}.py": module(f"{prefix}_{number}") for number in range(count)}
