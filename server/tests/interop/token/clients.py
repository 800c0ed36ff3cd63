"""Programs that get a token from altsd as their libraries do, unmodified, and verify it with the published keys.

The result is a line of JSON: the token and its claims as PyJWT has verified them, or the library's error.
"""

import argparse
import json

import google.auth.exceptions
import google.auth.transport.requests
import google.oauth2.id_token
import jwt
import requests
from authlib.integrations.base_client.errors import OAuthError as AuthlibError
from authlib.integrations.requests_client import OAuth2Session
from google.auth import compute_engine, identity_pool
from google.oauth2 import sts

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_TYPE = "urn:ietf:params:oauth:token-type:jwt"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
ERRORS = (google.auth.exceptions.GoogleAuthError, AuthlibError, requests.RequestException)


def main():
    args = parse_arguments()
    try:
        token = CLIENTS[args.client](args)
        result = {"ok": True, "token": token, "claims": verified(token, args)}
    except ERRORS as error:
        result = {"ok": False, "error": f"{type(error).__name__}: {error}"}
    print(json.dumps(result))


def parse_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("client", choices=sorted(CLIENTS))
    parser.add_argument("--issuer", required=True)
    parser.add_argument("--audience", required=True)
    parser.add_argument("--subject-token", help="a file with a JWT")
    parser.add_argument("--scope", action="append", default=[])
    return parser.parse_args()


def verified(token, args):
    """As a program does that protects itself: nothing but the issuer's name is configured."""
    document = requests.get(f"{args.issuer}/.well-known/openid-configuration", timeout=10).json()
    key = jwt.PyJWKClient(document["jwks_uri"]).get_signing_key_from_jwt(token)
    algorithms = document["id_token_signing_alg_values_supported"]
    required = {"require": ["exp", "iat", "nbf", "jti", "sub"]}
    return jwt.decode(token, key, algorithms=algorithms, audience=args.audience, issuer=document["issuer"],
                      options=required)


def sts_client(args):
    answer = sts.Client(f"{args.issuer}/token").exchange_token(
        google.auth.transport.requests.Request(), GRANT, presented(args), JWT_TYPE, audience=args.audience,
        scopes=args.scope, requested_token_type=ACCESS_TOKEN)
    return answer["access_token"]


def pool(args):
    credentials = identity_pool.Credentials.from_info({
        "type": "external_account",
        "audience": args.audience,
        "subject_token_type": JWT_TYPE,
        "token_url": f"{args.issuer}/v1/token",
        "credential_source": {"file": args.subject_token},
    }).with_scopes(args.scope)
    credentials.refresh(google.auth.transport.requests.Request())
    if not credentials.valid:
        raise google.auth.exceptions.RefreshError("the library takes the token for expired")
    return credentials.token


def metadata(args):
    credentials = compute_engine.IDTokenCredentials(
        google.auth.transport.requests.Request(), args.audience, use_metadata_identity_endpoint=True)
    credentials.refresh(google.auth.transport.requests.Request())
    return credentials.token


def id_token(args):
    request = google.auth.transport.requests.Request()
    token = google.oauth2.id_token.fetch_id_token(request, args.audience)
    google.oauth2.id_token.verify_token(token, request, args.audience, certs_url=f"{args.issuer}/jwks")
    return token


def public_client(args):
    return oauth2(args, OAuth2Session(token_endpoint_auth_method="none"))


def confidential_client(args):
    """With the credentials that most servers ask of a client."""
    return oauth2(args, OAuth2Session("somebody", "something"))


def oauth2(args, session):
    answer = session.fetch_token(
        f"{args.issuer}/token", grant_type=GRANT, subject_token=presented(args), subject_token_type=JWT_TYPE,
        audience=args.audience, scope=" ".join(args.scope))
    return answer["access_token"]


def presented(args):
    with open(args.subject_token, encoding="ascii") as file:
        return file.read()


CLIENTS = {
    "sts-client": sts_client,
    "identity-pool": pool,
    "compute-engine": metadata,
    "fetch-id-token": id_token,
    "public": public_client,
    "confidential": confidential_client,
}

if __name__ == "__main__":
    main()
