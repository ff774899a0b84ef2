"""A process that writes to an audit log until it is killed, and says which records it was promised."""

from __future__ import annotations

import sys
from pathlib import Path

from watchline.pipeline.audit.log import AuditLog
from watchline.pipeline.audit.record import Action, Entry


def main() -> None:
    log = AuditLog(Path(sys.argv[1]), Path(sys.argv[2]), limit_s=60.0)
    name, many = sys.argv[3], int(sys.argv[4])
    for i in range(many):
        mark = log.append(Entry(Action.SEARCH, name, details={"i": i}))
        print(mark, flush=True)


if __name__ == "__main__":
    main()
