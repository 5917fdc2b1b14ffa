"""Every statement is a file below this folder, one sub-folder an engine."""

from pathlib import Path

SQL = Path(__file__).parent
"""The folder, for a DAG's `template_searchpath`."""
