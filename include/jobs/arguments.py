"""Arguments of a Glue job."""

import argparse


def read(*names: str, optional: tuple[str, ...] = ()) -> argparse.Namespace:
    """The job's arguments; what Glue adds by itself, such as --JOB_NAME, is left alone.

    Args:
        names: Without their dashes; words are separated by underscores here, by hyphens or underscores there.
        optional: Those that may be missing, and are None then.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in (*names, *optional):
        parser.add_argument(f"--{name.replace('_', '-')}", f"--{name}", dest=name, required=name in names)
    return parser.parse_known_args()[0]
