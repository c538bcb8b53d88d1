"""aioquic, a QUIC library for asyncio, unchanged over channels."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.check

PROGRAM = """
import asyncio, datetime, ipaddress, sys, warnings
import shmring
from aioquic.asyncio import connect, serve
from aioquic.quic.configuration import QuicConfiguration
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

warnings.simplefilter("ignore", shmring.errors.RealtimeWarning)

def make_certificate(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - day).not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (open(folder + "/cert.pem", "wb")).write(certificate.public_bytes(pem))
    (open(folder + "/key.pem", "wb")).write(key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))

def answer(reader, writer):
    async def run():
        data = await reader.read()
        writer.write(data[::-1])
        writer.write_eof()
    asyncio.ensure_future(run())

async def main(folder):
    # the one line
    asyncio.get_running_loop().create_datagram_endpoint = shmring.create_datagram_endpoint

    make_certificate(folder)
    own = QuicConfiguration(is_client=False)
    own.load_cert_chain(folder + "/cert.pem", folder + "/key.pem")
    server = await serve("127.0.0.1", 0, configuration=own, stream_handler=answer)
    transport = server._transport
    assert isinstance(transport, shmring.datagram.ChannelTransport)
    port = transport.get_extra_info("sockname")[1]
    theirs = QuicConfiguration(server_name="localhost")
    theirs.load_verify_locations(folder + "/cert.pem")
    data = bytes(range(256)) * 400
    async with connect("127.0.0.1", port, configuration=theirs) as client:
        reader, writer = await client.create_stream()
        writer.write(data)
        writer.write_eof()
        assert await reader.read() == data[::-1]
        await client.ping()
    server.close()
    channel = transport.get_extra_info("shmring_channel")
    while not channel.closed:
        await asyncio.sleep(0.01)
    print("done")

asyncio.run(main(sys.argv[1]))
"""


def test_client_and_server_by_one_line(over_channels) -> None:
    over_channels("aioquic==1.3.0", PROGRAM)
