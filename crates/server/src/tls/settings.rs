//! The configuration of the TLS library, made of the parameters and their files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use engine::config::{Config, P, TlsAuthClients};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::certificate::CertificateInfo;
use super::{files, outgoing, sessions, suites};

/// Everything that `tls-...` parameters say, ready for use.
pub(crate) struct Settings {
    /// For connections of clients.
    pub(crate) server: Arc<ServerConfig>,
    /// For connections to other servers; nothing without certificates of authorities.
    pub(crate) client: Option<Arc<ClientConfig>>,
    /// The certificate of the server.
    pub(crate) server_certificate: Option<CertificateInfo>,
    /// That of connections to other servers, when it is one of its own.
    pub(crate) client_certificate: Option<CertificateInfo>,
    /// That of the authority which ends first.
    pub(crate) authority: Option<CertificateInfo>,
    /// Of the contents of all files.
    fingerprint: [u8; 32],
}

/// A chain of certificates and the key of the first.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Settings {
    /// Reads the files that the parameters name.
    ///
    /// # Errors
    /// The first thing that is missing or wrong, as a line for the log.
    pub(super) fn load(config: &Config) -> Result<Self, String> {
        // The hash comes first: a file that changes meanwhile is read again at the next look.
        let fingerprint = files::fingerprint(&paths(config));
        let (provider, versions) = cryptography(config)?;
        let (roots, authorities) = roots(config)?;
        let own = identity(config, [P::TlsCertFile, P::TlsKeyFile, P::TlsKeyFilePass])?;
        let own = own.ok_or_else(|| match config.path(P::TlsCertFile) {
            None => "No tls-cert-file configured!".to_owned(),
            Some(_) => "No tls-key-file configured!".to_owned(),
        })?;
        let towards_others = identity(
            config,
            [
                P::TlsClientCertFile,
                P::TlsClientKeyFile,
                P::TlsClientKeyFilePass,
            ],
        )?;
        let info = |identity: &Identity| CertificateInfo::of(identity.chain.first()?);
        let infos = authorities
            .iter()
            .filter_map(|der| CertificateInfo::of(der));
        let settings = Self {
            server_certificate: info(&own),
            client_certificate: towards_others.as_ref().and_then(info),
            authority: infos.min_by_key(|authority| authority.not_after_s),
            client: match &roots {
                None => None,
                Some(roots) => {
                    let identity = towards_others.as_ref().unwrap_or(&own);
                    let parts = (identity.chain.clone(), identity.key.clone_key());
                    let made = outgoing::client_config(&provider, &versions, roots, Some(parts))?;
                    Some(Arc::new(made))
                }
            },
            server: Arc::new(server_config(config, provider, &versions, roots, own)?),
            fingerprint,
        };
        Ok(settings)
    }

    /// Whether a file has other contents than when it was read.
    pub(super) fn have_files_changed(&self, config: &Config) -> bool {
        files::fingerprint(&paths(config)) != self.fingerprint
    }

    /// Logs which certificates end soon.
    pub(crate) fn announce(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_s = now.unwrap_or_default().as_secs();
        let certificates = [
            ("server", &self.server_certificate),
            ("client", &self.client_certificate),
            ("CA", &self.authority),
        ];
        for (what, certificate) in certificates {
            let warning = certificate.as_ref().and_then(|it| it.warning(what, now_s));
            if let Some(line) = warning {
                log::warn!("TLS: {line}");
            }
        }
    }
}

/// The files and directories of the parameters.
fn paths(config: &Config) -> Vec<PathBuf> {
    let files = [
        P::TlsCertFile,
        P::TlsKeyFile,
        P::TlsClientCertFile,
        P::TlsClientKeyFile,
        P::TlsCaCertFile,
        P::TlsCaCertDir,
    ];
    files.iter().filter_map(|id| config.path(*id)).collect()
}

/// The algorithms and the versions that the parameters allow.
fn cryptography(
    config: &Config,
) -> Result<(Arc<CryptoProvider>, Vec<&'static SupportedProtocolVersion>), String> {
    let versions = suites::versions(&config.text(P::TlsProtocols));
    let ciphers = config.text(P::TlsCiphers);
    let (provider, unknown) = suites::provider(&ciphers, &config.text(P::TlsCiphersuites))?;
    if !unknown.is_empty() {
        log::warn!(
            "tls-ciphers: '{}' is not supported and left out",
            unknown.join(":")
        );
    }
    Ok((Arc::new(provider), versions))
}

/// The certificate chain and the key that three parameters name; nothing without both.
fn identity(config: &Config, [chain, key, password]: [P; 3]) -> Result<Option<Identity>, String> {
    let (Some(chain), Some(key)) = (config.path(chain), config.path(key)) else {
        return Ok(None);
    };
    let chain = files::certificates(&chain)
        .map_err(|reason| format!("Failed to load certificate: {reason}"))?;
    let key = files::private_key(&key, &config.bytes(password))
        .map_err(|reason| format!("Failed to load private key: {reason}"))?;
    Ok(Some(Identity { chain, key }))
}

/// The authorities that certificates of others must come from, and their certificates; nothing when
/// none are named.
fn roots(
    config: &Config,
) -> Result<(Option<Arc<RootCertStore>>, Vec<CertificateDer<'static>>), String> {
    let failed = |reason| format!("Failed to configure CA certificate(s) file/directory: {reason}");
    let mut found = Vec::new();
    let (file, dir) = (config.path(P::TlsCaCertFile), config.path(P::TlsCaCertDir));
    if let Some(path) = &file {
        found.extend(files::certificates(path).map_err(failed)?);
    }
    if let Some(path) = &dir {
        found.extend(files::certificates_in(path).map_err(failed)?);
    }
    if file.is_none() && dir.is_none() {
        let needs_some = config.choice::<TlsAuthClients>(P::TlsAuthClients) != TlsAuthClients::No
            || config.bool(P::TlsCluster)
            || config.bool(P::TlsReplication);
        return match needs_some {
            true => Err(
                "Either tls-ca-cert-file or tls-ca-cert-dir must be specified when \
                         tls-cluster, tls-replication or tls-auth-clients are enabled!"
                    .to_owned(),
            ),
            false => Ok((None, found)),
        };
    }
    let mut store = RootCertStore::empty();
    for certificate in &found {
        store
            .add(certificate.clone())
            .map_err(|error| failed(error.to_string()))?;
    }
    if store.is_empty() {
        let path = dir.or(file).unwrap_or_default();
        return Err(failed(format!("{}: no certificate in it", path.display())));
    }
    Ok((Some(Arc::new(store)), found))
}

fn server_config(
    config: &Config,
    provider: Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
    roots: Option<Arc<RootCertStore>>,
    own: Identity,
) -> Result<ServerConfig, String> {
    let auth: TlsAuthClients = config.choice(P::TlsAuthClients);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| format!("Failed to configure ciphers: {error}"))?;
    let builder = match (auth, roots) {
        (TlsAuthClients::No, _) | (_, None) => builder.with_no_client_auth(),
        (auth, Some(roots)) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = match auth {
                TlsAuthClients::Optional => verifier.allow_unauthenticated(),
                _ => verifier,
            };
            let verifier = verifier.build().map_err(|error| error.to_string())?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let path = config.path(P::TlsKeyFile).unwrap_or_default();
    let mut made = builder
        .with_single_cert(own.chain, own.key)
        .map_err(|error| key_refused(&path, &error))?;
    made.ignore_client_order = config.bool(P::TlsPreferServerCiphers);
    resume(config, &mut made)?;
    Ok(made)
}

pub(super) fn key_refused(path: &Path, error: &rustls::Error) -> String {
    format!("Failed to load private key: {}: {error}", path.display())
}

/// Sessions can be resumed by ticket, and in TLS 1.2 by their id as well.
fn resume(config: &Config, made: &mut ServerConfig) -> Result<(), String> {
    if !config.bool(P::TlsSessionCaching) {
        made.session_storage = Arc::new(NoServerSessionStorage {});
        made.send_tls13_tickets = 0;
        return Ok(());
    }
    let timeout_s = config.size(P::TlsSessionCacheTimeout) as u64;
    let size = config.size(P::TlsSessionCacheSize);
    made.session_storage = Arc::new(sessions::SessionCache::new(size, timeout_s));
    if timeout_s > 0 {
        made.ticketer = sessions::tickets(timeout_s).map_err(|error| error.to_string())?;
    }
    Ok(())
}
