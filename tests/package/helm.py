"""`helm lint`, `helm template` and `helm install` as far as the tests use them, over Helm's own code (the package helm-python-sdk)."""

import argparse
import sys
from pathlib import Path

import helm_python
import yaml


def merged(base, over):
    """Values over values, as Helm lays them."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return base | {name: merged(base.get(name), value) for name, value in over.items()}


def values(options):
    found = {}
    for file in options.values:
        found = merged(found, yaml.safe_load(Path(file).read_text()))
    for pair in options.set:
        found = merged(found, helm_python.parse_set_string(pair))
    return found


def lint(options):
    report = helm_python.lint(options.chart, values(options), strict=options.strict)
    for message in report["messages"]:
        if message["severity"] > 1 or not options.quiet:
            print(f"{message['path']}: {message['error']}", file=sys.stderr)
    return 1 if report["errors"] else 0


def template(options):
    with helm_python.Chart.load(options.chart) as chart:
        made = chart.render(values(options), name=options.name, namespace=options.namespace)
    for path, text in sorted(made.items()):
        if text.strip() and not path.endswith("NOTES.txt"):
            print(f"---\n# Source: {path}\n{text.strip()}")
    return 0


def notes(options):
    """What an installation would say: of `helm install --dry-run=client`, that part."""
    with helm_python.Chart.load(options.chart) as chart:
        made = chart.render(values(options), name=options.name, namespace=options.namespace)
    (text,) = (text for path, text in made.items() if path.endswith("NOTES.txt"))
    print(f"NOTES:\n{text.strip()}")
    return 0


def install(options):
    if options.dry_run:
        return notes(options)
    with helm_python.Config(namespace=options.namespace) as config:
        release = config.install(options.chart, options.name, values(options), namespace=options.namespace)
    print(f"NAME: {release.get('name')}\nSTATUS: {release.get('status')}")
    return 0


def main():
    parser = argparse.ArgumentParser(prog="helm", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for function in (lint, template, install):
        command = commands.add_parser(function.__name__)
        command.set_defaults(function=function)
        if function is not lint:
            command.add_argument("name")
            command.add_argument("--dry-run", choices=["client"])
        command.add_argument("chart")
        command.add_argument("--namespace", "-n", default="default")
        command.add_argument("--values", "-f", action="append", default=[])
        command.add_argument("--set", action="append", default=[])
        command.add_argument("--strict", action="store_true")
        command.add_argument("--quiet", action="store_true")
    options = parser.parse_args()
    try:
        sys.exit(options.function(options))
    except helm_python.HelmError as error:
        sys.exit(f"Error: {error}")


main()
