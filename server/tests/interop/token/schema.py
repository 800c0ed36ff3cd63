"""Validates header and claims of a token against a schema, a file of JSON Schema as YAML."""

import argparse

import jsonschema
import jwt
import yaml


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("schema")
    parser.add_argument("token", help="a file")
    args = parser.parse_args()
    with open(args.schema, encoding="utf-8") as file:
        schema = yaml.safe_load(file)
    with open(args.token, encoding="ascii") as file:
        parts = jwt.decode_complete(file.read(), options={"verify_signature": False})
    jsonschema.validators.validator_for(schema).check_schema(schema)
    errors = jsonschema.validators.validator_for(schema)(schema).iter_errors(
        {"header": parts["header"], "payload": parts["payload"]})
    print("; ".join(f"{error.json_path}: {error.message}" for error in errors) or "valid")


if __name__ == "__main__":
    main()
