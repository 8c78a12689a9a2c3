"""The provider's metadata for Airflow, and the one table of connection fields.

Every Airflow process calls :func:`get_provider_info`, so this module imports nothing but the standard
library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CONNECTION_TYPE = "pixxel"
DEFAULT_CONNECTION_ID = "pixxel_default"
ASSET_SCHEME = "pixxel"
DEFAULT_HOST = "https://api.pixxel.space"
DEFAULT_CONSOLE_URL = "https://aurora.pixxel.space/"


@dataclass(frozen=True)
class ConnectionField:
    """One extra of the connection: the form, the checks and the documentation are made from this."""

    name: str
    label: str
    kind: str
    """``string``, ``integer`` (seconds; a fraction is accepted, too) or ``boolean``."""
    default: str | int | bool
    description: str


CONNECTION_FIELDS = (
    ConnectionField(
        "auth_scheme",
        "Auth scheme",
        "string",
        "Bearer",
        'Word in front of the key in the Authorization header; "none" sends the key alone. '
        "A key that begins with a scheme is sent unchanged.",
    ),
    ConnectionField(
        "connect_timeout", "Connect timeout", "integer", 10, "Seconds that opening a connection may take."
    ),
    ConnectionField(
        "read_timeout", "Read timeout", "integer", 60, "Seconds of silence after which a request fails."
    ),
    ConnectionField(
        "verify",
        "Verify TLS",
        "string",
        "true",
        "true, false, or the path of a file of CA certificates. With true, REQUESTS_CA_BUNDLE counts.",
    ),
    ConnectionField(
        "proxy",
        "Proxy",
        "string",
        "",
        "Address of an http or https proxy. If it is empty, the environment's proxies are used.",
    ),
    ConnectionField(
        "console_url",
        "Console URL",
        "string",
        DEFAULT_CONSOLE_URL,
        "Address of the link to a job; {workflow_id} and {job_id} are filled in.",
    ),
    ConnectionField(
        "allow_http",
        "Allow plain http",
        "boolean",
        False,
        "Allow a host other than this machine to be reached without TLS: the key is then sent unencrypted.",
    ),
    ConnectionField(
        "private_storage",
        "Private storage",
        "string",
        "",
        "Storage hosts with private addresses from which packages may be downloaded: host names, domains "
        "(.inside is all below it), addresses and networks (10.20.0.0/16), separated by commas.",
    ),
)

#: What the form shows in and around the standard fields, under the names that Airflow's classmethods use.
FORM_BEHAVIOUR: dict[str, Any] = {
    "hidden_fields": ["schema", "login", "port", "extra"],
    "relabeling": {"password": "API key", "host": "Host"},
    "placeholders": {"host": DEFAULT_HOST, "password": "key or personal access token"},
}


def get_provider_info() -> dict[str, Any]:
    """Return the metadata for Airflow's provider discovery, as in its ``provider_info.schema.json``."""
    integration = "Pixxel"
    modules = {
        kind: f"pixxel_provider.{kind}.pixxel" for kind in ("operators", "sensors", "hooks", "triggers")
    }
    asset_uris = [
        {
            "schemes": [ASSET_SCHEME],
            "handler": "pixxel_provider.assets.sanitize_uri",
            "factory": "pixxel_provider.assets.create_asset",
            "to_openlineage_converter": "pixxel_provider.assets.convert_asset_to_openlineage",
        }
    ]
    return {
        "package-name": "airflow-provider-pixxel",
        "name": integration,
        "description": "Run, await, read, collect jobs of `Pixxel <https://www.pixxel.space>`__ workflows.",
        "integrations": [
            {
                "integration-name": integration,
                "external-doc-url": "https://docs.pixxel.space",
                "tags": ["service"],
            }
        ],
        **{
            kind: [{"integration-name": integration, "python-modules": [module]}]
            for kind, module in modules.items()
        },
        "connection-types": [
            {
                "connection-type": CONNECTION_TYPE,
                "hook-name": integration,
                "hook-class-name": "pixxel_provider.hooks.pixxel.PixxelHook",
                "conn-fields": {field.name: _form_field(field) for field in CONNECTION_FIELDS},
                "ui-field-behaviour": {key.replace("_", "-"): value for key, value in FORM_BEHAVIOUR.items()},
            }
        ],
        "asset-uris": asset_uris,
        # Airflow 2.
        "dataset-uris": asset_uris,
        "extra-links": ["pixxel_provider.links.pixxel.PixxelJobLink"],
    }


def _form_field(field: ConnectionField) -> dict[str, Any]:
    # A type that doesn't allow null is rendered as a required field.
    # A default of "" would come back from 3.3's form as "***" for a field whose name suggests a secret.
    default = None if field.default == "" else field.default
    schema: dict[str, Any] = {"type": [field.kind, "null"], "default": default}
    if field.kind == "integer":
        schema["minimum"] = 0
    return {"label": field.label, "description": field.description, "schema": schema}
