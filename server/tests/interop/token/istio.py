"""Compiles Istio's request authentication and authorisation to the configuration of an Envoy, as istiod does.

It knows what the policies of this suite use, and refuses any key that it does not know: a policy that is indented
wrongly lets everybody in otherwise.
"""

import argparse
import json
import re
import sys
import urllib.request
from urllib.parse import urlsplit

import yaml

ROOT_NAMESPACE = "istio-system"
JWT_AUTHN = "envoy.filters.http.jwt_authn"
TYPES = "type.googleapis.com/envoy.extensions.filters"
# Where Envoy leaves the claims of a good token.
PAYLOAD = "payload"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("policies", help="a file of YAML documents")
    parser.add_argument("--namespace", required=True, help="of the workload")
    parser.add_argument("--label", action="append", default=[], help="of the workload, NAME=VALUE")
    args = parser.parse_args()
    with open(args.policies, encoding="utf-8") as file:
        documents = list(yaml.safe_load_all(file))
    labels = dict(label.split("=", 1) for label in args.label)
    json.dump(compiled(documents, args.namespace, labels), sys.stdout)


def compiled(documents, namespace, labels):
    """The configuration of an Envoy beside a workload with these labels."""
    specs = {kind: [] for kind in ("RequestAuthentication", "AuthorizationPolicy", "VirtualService")}
    for document in documents:
        only(document, "apiVersion", "kind", "metadata", "spec")
        if concerns(document, namespace, labels):
            specs[document["kind"]].append(document["spec"])
    rules = [rule for spec in specs["RequestAuthentication"] for rule in spec["jwtRules"]]
    authentication, clusters = jwt_authn(sorted(rules, key=lambda rule: rule["issuer"]))
    filters = [*authentication, *rbac(specs["AuthorizationPolicy"]), router()]
    return configuration(filters, routes(specs["VirtualService"]), clusters)


def concerns(document, namespace, labels):
    if document["kind"] == "VirtualService":
        return True
    spec = document["spec"]
    only(spec, "selector", *{"RequestAuthentication": ["jwtRules"]}.get(document["kind"], ["action", "rules"]))
    wanted = spec.get("selector", {}).get("matchLabels", {})
    return document["metadata"]["namespace"] in (ROOT_NAMESPACE, namespace) and wanted.items() <= labels.items()


def jwt_authn(rules):
    """The filter that verifies tokens, where there are rules for it, and where it finds the keys."""
    if not rules:
        return [], []
    providers, clusters = {}, {}
    for number, rule in enumerate(rules):
        only(rule, "issuer", "audiences", "jwksUri", "fromHeaders")
        uri = rule.get("jwksUri") or discovered(rule["issuer"])
        clusters[urlsplit(uri).netloc] = cluster(urlsplit(uri).netloc)
        providers[f"origins-{number}"] = provider(rule, uri)
    names = [{"provider_name": name} for name in providers]
    none = {"allow_missing": {}}
    if len(names) == 1:
        requires = [names[0], none]
    else:
        requires = [*names, {"requires_all": {"requirements": [any_of([name, none]) for name in names]}}]
    return [{"name": JWT_AUTHN, "typed_config": {
        "@type": f"{TYPES}.http.jwt_authn.v3.JwtAuthentication",
        "providers": providers,
        "rules": [{"match": {"prefix": "/"}, "requires": any_of(requires)}],
        "bypass_cors_preflight": True,
    }}], list(clusters.values())


def any_of(requirements):
    return {"requires_any": {"requirements": requirements}}


def provider(rule, uri):
    headers = [only(header, "name", "prefix") for header in rule.get("fromHeaders", [])]
    return {
        "issuer": rule["issuer"],
        "audiences": rule.get("audiences", []),
        "remote_jwks": {
            "http_uri": {"uri": uri, "cluster": urlsplit(uri).netloc, "timeout": "5s"},
            "cache_duration": "300s",
        },
        "from_headers": [{"name": one["name"], "value_prefix": one.get("prefix", "")} for one in headers],
        "payload_in_metadata": PAYLOAD,
        "normalize_payload_in_metadata": {"space_delimited_claims": ["scope", "permission"]},
        # So that what routes go by is there when they are looked at.
        "clear_route_cache": True,
    }


def discovered(issuer):
    """The key set of an issuer that says where it is."""
    with urllib.request.urlopen(f"{issuer.removesuffix('/')}/.well-known/openid-configuration", timeout=5) as reply:
        return json.load(reply)["jwks_uri"]


def rbac(specs):
    """A filter for the policies that deny, and one after it for those that allow, where there are any."""
    filters = []
    for action in ("DENY", "ALLOW"):
        some = [spec for spec in specs if spec.get("action", "ALLOW") == action]
        if some:
            rules = [rule for spec in some for rule in spec.get("rules", [])]
            policies = {f"rule-{number}": policy(rule) for number, rule in enumerate(rules)}
            filters.append({"name": "envoy.filters.http.rbac", "typed_config": {
                "@type": f"{TYPES}.http.rbac.v3.RBAC", "rules": {"action": action, "policies": policies}}})
    return filters


def policy(rule):
    only(rule, "from", "to", "when")
    sources = [both([source(kind, value) for kind, value in one["source"].items()], "ids")
               for one in rule.get("from", [])]
    operations = [both([operation(kind, value) for kind, value in one["operation"].items()], "rules")
                  for one in rule.get("to", [])]
    principals = [either(sources, "ids")] if sources else []
    principals += [condition(**one) for one in rule.get("when", [])]
    return {
        "permissions": [either(operations, "rules") if operations else {"any": True}],
        "principals": [both(principals, "ids") if principals else {"any": True}],
    }


def source(kind, values):
    matched = either([principal(value) for value in values], "ids")
    return {"requestPrincipals": matched, "notRequestPrincipals": {"not_id": matched}}[kind]


def principal(value):
    """Issuer and subject are compared each by itself; the last slash parts them."""
    issuer, slash, subject = value.rpartition("/")
    if value == "*":
        issuer = subject = "*"
    elif not slash:
        raise SystemExit(f"request principal {value} is not of a kind that this suite uses")
    return both([claim(["iss"], issuer), claim(["sub"], subject)], "ids")


def operation(kind, values):
    if kind == "hosts":
        headers = [{"name": ":authority", "string_match": {**text(value), "ignore_case": True}} for value in values]
        return either([{"header": header} for header in headers], "rules")
    if kind == "paths":
        return either([{"url_path": {"path": text(value)}} for value in values], "rules")
    raise SystemExit(f"operations do not know {kind}")


def condition(key, values):
    path = re.fullmatch(r"request\.auth\.claims((?:\[[^][]+\])+)", key)
    if not path:
        raise SystemExit(f"conditions do not know {key}")
    names = path[1].strip("[]").split("][")
    return either([claim(names, value, in_list=True) for value in values], "ids")


def claim(names, value, in_list=False):
    match = {"string_match": text(value)}
    if in_list:
        match = {"or_match": {"value_matchers": [match, {"list_match": {"one_of": match}}]}}
    path = [{"key": key} for key in (PAYLOAD, *names)]
    return {"sourced_metadata": {"metadata_matcher": {"filter": JWT_AUTHN, "path": path, "value": match}}}


def text(value):
    if value == "*":
        return {"safe_regex": {"regex": ".+"}}
    if value.endswith("*"):
        return {"prefix": value[:-1]}
    if value.startswith("*"):
        return {"suffix": value[1:]}
    return {"exact": value}


def both(parts, what):
    return {f"and_{what}": {what: parts}}


def either(parts, what):
    return {f"or_{what}": {what: parts}}


def routes(services):
    """Each route answers with its subset; without a service all is answered by the workload itself."""
    found = []
    for rule in (rule for service in services for rule in service["http"]):
        only(rule, "name", "match", "route")
        answer = rule["route"][0]["destination"]["subset"]
        found += [route(answer, match["headers"]) for match in rule.get("match", [{"headers": {}}])]
    return found or [route("workload", {})]


def route(answer, headers):
    claims = []
    for name, match in headers.items():
        path = name.removeprefix("@request.auth.claims.").split(".")
        keys = [{"key": key} for key in (PAYLOAD, *path)]
        claims.append({"filter": JWT_AUTHN, "path": keys, "value": {"string_match": only(match, "exact")}})
    return {"match": {"prefix": "/", "dynamic_metadata": claims},
            "direct_response": {"status": 200, "body": {"inline_string": answer}}}


def configuration(filters, found, clusters):
    manager = {
        "@type": f"{TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "ingress",
        "normalize_path": True,
        "http_filters": filters,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": found}]},
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {
        "admin": {"address": anywhere()},
        "static_resources": {
            "listeners": [{"name": "ingress", "address": anywhere(), "filter_chains": [chain]}],
            "clusters": clusters,
        },
    }


def cluster(netloc):
    host, port = netloc.rsplit(":", 1)
    address = {"socket_address": {"address": host, "port_value": int(port)}}
    return {"name": netloc, "connect_timeout": "5s", "load_assignment": {
        "cluster_name": netloc, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}}


def anywhere():
    return {"socket_address": {"address": "127.0.0.1", "port_value": 0}}


def router():
    return {"name": "envoy.filters.http.router",
            "typed_config": {"@type": f"{TYPES}.http.router.v3.Router"}}


def only(mapping, *known):
    """The mapping, if it has no other keys than these."""
    if unknown := sorted(set(mapping) - set(known)):
        raise SystemExit(f"unknown: {', '.join(unknown)}")
    return mapping


if __name__ == "__main__":
    main()
