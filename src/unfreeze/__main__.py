"""The beginning of a process: the command `unfreeze`, and `python -m unfreeze`, which `accelerate launch -m unfreeze` starts."""

from __future__ import annotations

import sys

from unfreeze.interrupts import end_at_interrupts


def main() -> int:
    """Run the command line of this process; returns its exit status."""
    end_at_interrupts()
    from unfreeze.commands.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
