//! Encrypted connections to other servers, over sockets that block.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    StreamOwned, SupportedProtocolVersion,
};

use super::files;

/// A connection to another server, encrypted or not.
pub enum OutgoingStream {
    /// TCP.
    Plain(TcpStream),
    /// TLS over it.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl OutgoingStream {
    /// The socket.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref(),
        }
    }
}

impl Read for OutgoingStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for OutgoingStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// Makes the handshake with a server that was reached as `host`. Each step takes no longer than the
/// timeouts of the socket.
///
/// # Errors
/// The other end does not speak TLS, or one end refuses the other.
pub(crate) fn connect(
    socket: TcpStream,
    host: &str,
    config: Arc<ClientConfig>,
) -> io::Result<OutgoingStream> {
    let invalid = |error: Error| io::Error::new(ErrorKind::InvalidData, error);
    // Only sent: the certificate is not compared with it.
    let name = ServerName::try_from(host.to_owned())
        .unwrap_or_else(|_| ServerName::from(std::net::IpAddr::from([127, 0, 0, 1])));
    let connection = ClientConnection::new(config, name).map_err(invalid)?;
    let mut stream = StreamOwned::new(connection, socket);
    while stream.conn.is_handshaking() {
        let (_, _) = stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(OutgoingStream::Tls(Box::new(stream)))
}

/// Files of a client of a server that encrypts.
#[derive(Clone, Copy, Debug)]
pub struct ClientFiles<'a> {
    /// The authorities that the server's certificate may come from.
    pub authorities: &'a Path,
    /// The client's own certificate and its key, for servers that ask.
    pub identity: Option<(&'a Path, &'a Path)>,
}

/// A connection of a tool, which has files and no configuration.
///
/// # Errors
/// A file is wrong, the other end does not speak TLS, or one end refuses the other.
pub fn connect_tool(
    socket: TcpStream,
    host: &str,
    client: ClientFiles<'_>,
) -> io::Result<OutgoingStream> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(
        files::certificates(client.authorities).map_err(io::Error::other)?,
    );
    let identity = client.identity.map(|(chain, key)| {
        Ok::<_, String>((files::certificates(chain)?, files::private_key(key, b"")?))
    });
    let identity = identity.transpose().map_err(io::Error::other)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions = rustls::DEFAULT_VERSIONS;
    let config = client_config(&provider, versions, &Arc::new(roots), identity);
    connect(socket, host, Arc::new(config.map_err(io::Error::other)?))
}

/// The configuration of such connections: the chain and the key are shown to servers that ask.
///
/// # Errors
/// The key does not fit, or the versions and suites do not.
pub(super) fn client_config(
    provider: &Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
    roots: &Arc<RootCertStore>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<ClientConfig, String> {
    let verifier = ChainOnly {
        roots: Arc::clone(roots),
        provider: Arc::clone(provider),
    };
    let config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)
        .map_err(|error| format!("Failed to configure ciphers: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let Some((chain, key)) = identity else {
        return Ok(config.with_no_client_auth());
    };
    config
        .with_client_auth_cert(chain, key)
        .map_err(|error| format!("Failed to load the client's private key: {error}"))
}

/// Accepts a server whose certificate comes from one of the authorities, whatever name it has:
/// Redis and Valkey do not compare names, and certificates of their users often have none that
/// would fit.
#[derive(Debug)]
struct ChainOnly {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ChainOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
