"""Changes single keys of a file from the command line: `--set epochs=1`."""

from collections.abc import Sequence

from pydantic import BaseModel

from wconv_sweep.errors import ConfigurationError
from wconv_sweep.renamed_keys import new_name, old_name
from wconv_sweep.validation import did_you_mean, keys_of
from wconv_sweep.yaml_files import Document, Location, parse_value


def apply_settings(
    document: Document, model: type[BaseModel], settings: Sequence[str]
) -> Document:
    """Return the document with the settings, of which later ones win.

    Args:
        document: the file.
        model: what it is validated against afterwards.
        settings: each KEY=VALUE; the key is dotted (`recipe.epochs`) or, where no other key ends
            in it, its last part alone (`epochs`); the value is YAML.

    Raises:
        ConfigurationError: a setting has no such form, or names a key that is not there or not
            unique; all of them are named.
    """
    known = sorted(set(keys_of(model)), key=lambda location: (len(location), location))
    problems = []
    for setting in settings:
        origin = f"--set {setting}"
        key, equals, text = setting.partition("=")
        try:
            if not equals:
                raise ValueError("is not of the form KEY=VALUE, e.g. --set epochs=1")
            document = document.with_value(
                _location(key.strip(), known), parse_value(text), origin
            )
        except ValueError as error:
            problems.append(f"{origin}: {error}")
    if problems:
        raise ConfigurationError(problems)
    return document


def _location(key: str, known: Sequence[Location]) -> Location:
    parts = tuple(key.split("."))
    # Below a known key there may be free names, such as the options of a network.
    if all(parts) and any(parts[:end] in known for end in range(1, len(parts) + 1)):
        return parts
    ending = [location for location in known if location[-len(parts) :] == parts]
    if len(ending) == 1:
        return ending[0]
    if ending:
        raise ValueError(f"{key} may be {' or '.join(map(_dotted, ending))}. Write which.")
    old = old_name(key)
    new = None if old is None else new_name(old.split("."))
    if new is not None and tuple(new.split(".")) in known:
        raise ValueError(f"{old} is now {new}. Rename the key.")
    words = [*map(_dotted, known), *(str(location[-1]) for location in known)]
    options = "Options of the network are model.options.NAME, of the data data.options.NAME."
    raise ValueError(f"there is no key '{key}'. {did_you_mean(key, words) or options}")


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location)
