"""Entry point of `python -m training`; see `training.cli`."""

import sys

try:
    from training.cli import main
except ModuleNotFoundError as exc:
    sys.exit(f"Error: training needs {exc.name}: pip install 'serve-app[train]'")

if __name__ == "__main__":
    main()
