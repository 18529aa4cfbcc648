"""One set of Kafka client properties for producers, jobs and dashboard alike.

The settings name them as librdkafka does (producers, dashboard, admin); Spark's Java client names a
few differently, and `spark_options` translates those.
"""

from pathlib import Path

from headwater.errors import SettingsError
from headwater.settings import Settings

LOGIN_MODULES = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}
# What leaves a job carries the record as JSON text, where a control character takes six bytes.
ENVELOPE = 7


def client_config(settings: Settings, bootstrap: str) -> dict[str, str]:
    """Properties of a confluent-kafka producer, consumer or admin client."""
    return {
        "bootstrap.servers": bootstrap,
        "message.max.bytes": str(settings.kafka.max_message_bytes),
        **settings.kafka.client,
    }


def spark_options(settings: Settings, bootstrap: str) -> dict[str, str]:
    """Options of Spark's Kafka source and sink."""
    properties = {
        "bootstrap.servers": bootstrap,
        "max.request.size": str(settings.kafka.max_message_bytes * ENVELOPE),
        **_java_properties(settings.kafka.client),
    }
    return {f"kafka.{name}": value for name, value in properties.items()}


def _java_properties(client: dict[str, str]) -> dict[str, str]:
    """The properties of librdkafka under the names and in the form of the Java client."""
    rest = dict(client)
    java: dict[str, str] = {}

    mechanism = rest.pop("sasl.mechanisms", None) or rest.pop("sasl.mechanism", None)
    if mechanism:
        java["sasl.mechanism"] = mechanism
    username, password = rest.pop("sasl.username", None), rest.pop("sasl.password", None)
    if username is not None or password is not None:
        java["sasl.jaas.config"] = _login(mechanism or "", username or "", password or "")

    if authority := rest.pop("ssl.ca.location", None):
        java |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": authority}
    if certificate := rest.pop("ssl.certificate.location", None):
        key = rest.pop("ssl.key.location", certificate)
        java |= {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.certificate.chain": _read("ssl.certificate.location", certificate),
            "ssl.keystore.key": _read("ssl.key.location", key),
        }
    if rest.get("ssl.endpoint.identification.algorithm") == "none":
        rest["ssl.endpoint.identification.algorithm"] = ""
    return rest | java


def _login(mechanism: str, username: str, password: str) -> str:
    module = LOGIN_MODULES.get(mechanism)
    if module is None:
        known = ", ".join(LOGIN_MODULES)
        raise SettingsError(f"[kafka] sasl.username needs sasl.mechanism to be one of {known}, not {mechanism!r}")
    return f'{module} required username="{_quoted(username)}" password="{_quoted(password)}";'


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _read(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise SettingsError(f"[kafka] {name}: cannot read {path}: {error}") from error
