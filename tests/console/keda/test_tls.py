"""TLS as KEDA speaks it: a certificate of ours, the authority's clients alone, and one that is renewed while we run."""

from pathlib import Path

import grpc
import pytest
import trustme

from tenfold.console.keda.brain import Answer
from tenfold.console.keda.server import CantListen, Server, Tls
from tenfold.console.keda.watched import Objects
from tests.console.keda.conftest import Lines, Protocol, Serve, Told, refused

SIX = Answer(6, True, "six", 0.0)


def write(folder: Path, authority: trustme.CA) -> Tls:
    """A certificate for this machine, as files; those that are there are replaced."""
    leaf = authority.issue_cert("localhost", "127.0.0.1")
    (folder / "tls.crt").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    (folder / "tls.key").write_bytes(leaf.private_key_pem.bytes())
    return Tls(folder / "tls.crt", folder / "tls.key")


def trusting(authority: trustme.CA, client: trustme.LeafCert | None = None) -> grpc.ChannelCredentials:
    """A client that trusts `authority`, as KEDA does by `caCert`, and shows who it is, as by `tlsClientCert`."""
    root = authority.cert_pem.bytes()
    if client is None:
        return grpc.ssl_channel_credentials(root)
    chain = b"".join(blob.bytes() for blob in client.cert_chain_pems)
    return grpc.ssl_channel_credentials(root, client.private_key_pem.bytes(), chain)


async def test_who_trusts_the_authority_is_answered(serve: Serve, protocol: Protocol, tmp_path: Path) -> None:
    """With the authority's certificate a client reaches us; one that trusts another does not, nor one without TLS."""
    authority = trustme.CA()
    served = await serve(lambda ref: Told(SIX), write(tmp_path, authority), trusting(authority))
    assert (await served.stub.IsActive(protocol.ref())).result
    for channel in (
        grpc.aio.secure_channel(f"localhost:{served.port}", trusting(trustme.CA())),
        grpc.aio.insecure_channel(f"localhost:{served.port}"),
    ):
        async with channel:
            code, _ = await refused(protocol.grpc.ExternalScalerStub(channel).IsActive(protocol.ref(), timeout=20))
            assert code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


async def test_only_clients_of_the_authority_may_ask(serve: Serve, protocol: Protocol, tmp_path: Path) -> None:
    """With an authority for clients, one that shows no certificate is turned away."""
    authority, clients = trustme.CA(), trustme.CA()
    files = write(tmp_path, authority)
    (tmp_path / "clients.crt").write_bytes(clients.cert_pem.bytes())
    tls = Tls(files.certificate, files.key, tmp_path / "clients.crt")
    keda = clients.issue_cert("keda-operator")
    served = await serve(lambda ref: Told(SIX), tls, trusting(authority, keda))
    assert (await served.stub.IsActive(protocol.ref())).result
    async with grpc.aio.secure_channel(f"localhost:{served.port}", trusting(authority)) as channel:
        code, _ = await refused(protocol.grpc.ExternalScalerStub(channel).IsActive(protocol.ref(), timeout=20))
        assert code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


async def test_a_renewed_certificate_is_taken_up(serve: Serve, protocol: Protocol, tmp_path: Path) -> None:
    """Half a file changes nothing; once both are there, new connections get the new one, without a restart."""
    old, new = trustme.CA(), trustme.CA()
    served = await serve(lambda ref: Told(SIX), write(tmp_path, old), trusting(old))
    assert (await served.stub.IsActive(protocol.ref())).result
    (tmp_path / "tls.crt").write_bytes(b"")

    async def asked_by(authority: trustme.CA) -> bool:
        # Channels of one process share a connection, unless they are told not to.
        own = (("grpc.use_local_subchannel_pool", 1),)
        async with grpc.aio.secure_channel(f"localhost:{served.port}", trusting(authority), own) as channel:
            return bool((await protocol.grpc.ExternalScalerStub(channel).IsActive(protocol.ref(), timeout=20)).result)

    assert await asked_by(old)
    write(tmp_path, new)
    assert await asked_by(new)


@pytest.mark.parametrize("text", [None, b"", b"no certificate"], ids=["missing", "empty", "other"])
async def test_files_that_are_none_are_named(tmp_path: Path, text: bytes | None) -> None:
    """A file that is missing, or holds no certificate, ends the start with its name."""
    tls = write(tmp_path, trustme.CA())
    tls.certificate.unlink()
    if text is not None:
        tls.certificate.write_bytes(text)
    with pytest.raises(CantListen, match=r"tls.crt (can't be read \(No such file|is no PEM file)"):
        await Server(Objects(lambda ref: Told(SIX), Lines()), "127.0.0.1:0", tls).start()


async def test_a_certificate_and_another_key_are_refused(tmp_path: Path) -> None:
    """A key that does not belong to the certificate ends the start, rather than every connection."""
    tls = write(tmp_path, trustme.CA())
    other = trustme.CA().issue_cert("localhost")
    tls.key.write_bytes(other.private_key_pem.bytes())
    with pytest.raises(CantListen, match=r"tls\.key"):
        await Server(Objects(lambda ref: Told(SIX), Lines()), "127.0.0.1:0", tls).start()


async def test_a_port_that_is_taken_is_named(serve: Serve) -> None:
    """Two scalers at one port do not share it: the second says so."""
    served = await serve(lambda ref: Told(SIX))
    second = Server(Objects(lambda ref: Told(SIX), Lines()), f"127.0.0.1:{served.port}", None)
    with pytest.raises(CantListen, match=f"can't listen at 127.0.0.1:{served.port}: name another address"):
        await second.start()
