"""Values as one writes them in a shell: TOML, where quotes may be left out. Imports no torch."""

import re
import tomllib


def plain_value(text: str) -> object:
    """Returns a text as the value that it spells in TOML: a number, true or false, a list, a table; any other text itself.

    Shells take quotes away: the words of lists and tables, as in `[stone,water]`, may stand without.
    """
    quoted = re.sub(r"(?<=[\[,=])\s*([A-Za-z_][\w:./ -]*?)\s*(?=[],}])", r'"\1"', text) if text[:1] in ("[", "{") else text
    for form in dict.fromkeys((text, quoted)):
        try:
            read = tomllib.loads(f"value = {form}")
        except (ValueError, RecursionError):
            continue
        # Text with a line break could hold more than one value; a date is a text to us.
        plain = read.keys() == {"value"} and isinstance(read["value"], str | int | float | list | dict)
        value: object = read["value"]
        return value if plain else text
    return text


def split_values(text: str) -> list[str]:
    """Returns the parts of a text between its commas, but for commas within brackets, braces or quotes.

    `[64],[128,64]` has two parts. Brackets that are never closed hold all that follows.
    """
    parts, depth, quote, escaped = [""], 0, "", False
    for letter in text:
        if escaped:
            escaped = False
        elif quote:
            # As in TOML: within double quotes a backslash takes the next letter with it.
            escaped = quote == '"' and letter == "\\"
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        if letter == "," and not (quote or depth > 0):
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]
