"""Writes the part of TOML that the gateway's configuration needs: tables, arrays of tables, strings, numbers, booleans, lists."""

import json


def dumps(document):
    """A dict as TOML text; None values are left out."""
    lines = []
    _table(document, (), lines)
    return "\n".join(lines).strip() + "\n"


def _table(table, path, lines):
    later = []
    for key, value in table.items():
        if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
            later.append((key, value))
        elif value is not None:
            lines.append(f"{key} = {_value(value)}")
    for key, value in later:
        name = ".".join((*path, key))
        for item in value if isinstance(value, list) else [value]:
            lines += ["", f"[[{name}]]" if isinstance(value, list) else f"[{name}]"]
            _table(item, (*path, key), lines)


def _value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    # JSON's escapes are a subset of TOML's basic strings.
    return json.dumps(str(value), ensure_ascii=False)
