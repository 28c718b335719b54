"""The words that name a secret. What stands before them in the same name is looked up afterwards: see confirm.names_secret."""

from __future__ import annotations

PASS = r"(?:passw(?:or)?d|passphrase|passcode|pwd|pass|psk)"
SECRET = (
    r"(?:secret|token|credentials?|auth|bearer"
    r"|(?:access|account|admin|api|app|auth|encryption|master|private|service|shared|signing|storage|subscription)[_.-]?key)"
)
REST = r"[A-Za-z0-9_-]{0,20}"
