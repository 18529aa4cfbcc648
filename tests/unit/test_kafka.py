from pathlib import Path

import pytest

from headwater.errors import SettingsError
from headwater.kafka import ENVELOPE, client_config, spark_options
from headwater.settings import Settings, load_settings


def settings_with(**client: str) -> Settings:
    return Settings.model_validate(
        {"kafka": {"client": {key.replace("__", "."): value for key, value in client.items()}}}
    )


def test_plain_text_needs_an_address_only() -> None:
    settings = load_settings({})
    assert client_config(settings, "here:1") == {"bootstrap.servers": "here:1", "message.max.bytes": "2097152"}
    assert spark_options(settings, "here:1") == {
        "kafka.bootstrap.servers": "here:1",
        "kafka.max.request.size": str(settings.kafka.max_message_bytes * ENVELOPE),
    }


def test_scram_over_tls_reaches_both_clients() -> None:
    settings = settings_with(
        security__protocol="SASL_SSL",
        sasl__mechanism="SCRAM-SHA-512",
        sasl__username="me",
        sasl__password='pa"ss\\word',
        ssl__ca__location="/ca.pem",
        linger__ms="5",
    )

    native = client_config(settings, "b:1")
    assert native["sasl.username"] == "me"
    assert native["ssl.ca.location"] == "/ca.pem"

    java = spark_options(settings, "b:1")
    assert java["kafka.security.protocol"] == "SASL_SSL"
    assert java["kafka.sasl.mechanism"] == "SCRAM-SHA-512"
    assert java["kafka.sasl.jaas.config"] == (
        'org.apache.kafka.common.security.scram.ScramLoginModule required username="me" password="pa\\"ss\\\\word";'
    )
    assert java["kafka.ssl.truststore.type"] == "PEM"
    assert java["kafka.ssl.truststore.location"] == "/ca.pem"
    assert java["kafka.linger.ms"] == "5"
    assert not {"kafka.sasl.username", "kafka.sasl.password", "kafka.ssl.ca.location"} & java.keys()


def test_a_client_certificate_goes_inline(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_text("CERTIFICATE")
    key.write_text("KEY")
    settings = settings_with(ssl__certificate__location=str(certificate), ssl__key__location=str(key))

    java = spark_options(settings, "b:1")
    assert java["kafka.ssl.keystore.type"] == "PEM"
    assert java["kafka.ssl.keystore.certificate.chain"] == "CERTIFICATE"
    assert java["kafka.ssl.keystore.key"] == "KEY"


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ({"sasl__username": "me", "sasl__mechanism": "MAGIC"}, "sasl.mechanism to be one of PLAIN"),
        ({"ssl__certificate__location": "/gone.pem"}, "cannot read /gone.pem"),
    ],
)
def test_what_cannot_be_translated_is_named(client: dict[str, str], expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        spark_options(settings_with(**client), "b:1")
