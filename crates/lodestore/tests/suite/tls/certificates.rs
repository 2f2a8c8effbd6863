//! Certificates that the tests make, and files of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, SanType, date_time_ymd,
};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// An authority with a server, in the files `ca.pem`, `server.pem` and `server.key` of a directory.
pub(super) struct Authority {
    dir: PathBuf,
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
pub(super) struct Made {
    certificate: Certificate,
    key: KeyPair,
}

impl Authority {
    pub(super) fn new(dir: &Path) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        let certificate = params.self_signed(&key).expect("a certificate");
        let authority = Self {
            dir: dir.to_owned(),
            certificate,
            issuer: Issuer::new(params, key),
        };
        std::fs::write(dir.join("ca.pem"), authority.certificate.pem()).expect("a file");
        authority.write("server", &authority.server());
        authority
    }

    /// Writes a certificate and its key.
    pub(super) fn write(&self, name: &str, made: &Made) {
        let path = |extension: &str| self.dir.join(format!("{name}.{extension}"));
        std::fs::write(path("pem"), made.certificate.pem()).expect("a file");
        std::fs::write(path("key"), made.key.serialize_pem()).expect("a file");
    }

    /// The path of one of its files.
    pub(super) fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// The options of a server with its files.
    pub(super) fn options(&self) -> Vec<String> {
        let mut options = Vec::new();
        for (option, file) in [
            ("--tls-cert-file", "server.pem"),
            ("--tls-key-file", "server.key"),
            ("--tls-ca-cert-file", "ca.pem"),
        ] {
            options.extend([option.to_owned(), self.file(file)]);
        }
        options
    }

    fn sign(&self, params: &CertificateParams) -> Made {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Made { certificate, key }
    }

    pub(super) fn server(&self) -> Made {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, "server");
        self.sign(&params)
    }

    pub(super) fn client(&self, name: &str) -> Made {
        self.sign(&client(name))
    }

    /// A client whose certificate ended in the year 2000.
    pub(super) fn late_client(&self) -> Made {
        let mut params = client("late");
        params.not_before = date_time_ymd(1999, 1, 1);
        params.not_after = date_time_ymd(2000, 1, 1);
        self.sign(&params)
    }

    pub(super) fn client_with_uris(&self, uris: &[&str]) -> Made {
        let mut params = client("client");
        for uri in uris {
            let uri = (*uri).try_into().expect("ASCII");
            params.subject_alt_names.push(SanType::URI(uri));
        }
        self.sign(&params)
    }

    /// The configuration of a client that shows a certificate, or none.
    pub(super) fn config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        shown: Option<&Made>,
        resumption: Resumption,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("a root");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some(made) => {
                let key = PrivateKeyDer::Pkcs8(made.key.serialize_der().into());
                let chain = vec![made.certificate.der().clone()];
                builder.with_client_auth_cert(chain, key).expect("a key")
            }
        };
        config.resumption = resumption;
        Arc::new(config)
    }
}

fn client(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}
