"""Arguments of a Glue job."""

import argparse


def read(*names: str, optional: tuple[str, ...] = ()) -> argparse.Namespace:
    """The job's arguments; what Glue adds by itself, such as --JOB_NAME, is left alone.

    Args:
        names: Without their dashes; words are separated by underscores here, by hyphens or underscores there.
        optional: Those that may be missing or empty, and are None then.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in names:
        parser.add_argument(f"--{name.replace('_', '-')}", f"--{name}", dest=name, required=True)
    for name in optional:
        # Who starts a run may give an empty value, which may arrive as an empty word or as none.
        parser.add_argument(f"--{name.replace('_', '-')}", f"--{name}", dest=name, nargs="?")
    given = parser.parse_known_args()[0]
    for name in optional:
        setattr(given, name, getattr(given, name) or None)
    return given
