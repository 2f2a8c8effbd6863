//! What the server reads in certificates: serial number, end of validity, names of a client.

use engine::config::{Config, P, TlsAuthClientsUser};
use pkcs8::der::Decode;
use x509_cert::Certificate;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// The object identifier of commonName (RFC 5280, appendix A.1).
const COMMON_NAME: pkcs8::ObjectIdentifier = pkcs8::ObjectIdentifier::new_unwrap("2.5.4.3");

/// Seconds of a day.
const DAY_S: u64 = 24 * 60 * 60;

/// The end of a certificate is announced this long before, in seconds: the usual time in which
/// renewals are due.
const WARN_BEFORE_S: u64 = 30 * DAY_S;

/// The facts of a certificate that INFO shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateInfo {
    /// The serial number in upper-case hexadecimal digits, an even number of them.
    pub(crate) serial: String,
    /// The last second of its validity, Unix seconds.
    pub(crate) not_after_s: u64,
}

impl CertificateInfo {
    /// Reads a certificate in DER; nothing when it is none.
    pub(crate) fn of(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?.tbs_certificate;
        let digits = certificate.serial_number.as_bytes();
        // A zero in front only keeps the number positive.
        let digits = match digits {
            [0, rest @ ..] if !rest.is_empty() => rest,
            digits => digits,
        };
        Some(Self {
            serial: digits.iter().map(|byte| format!("{byte:02X}")).collect(),
            not_after_s: certificate.validity.not_after.to_unix_duration().as_secs(),
        })
    }

    /// Seconds until its end, 0 behind it.
    pub(crate) fn left_s(&self, now_s: u64) -> u64 {
        self.not_after_s.saturating_sub(now_s)
    }

    /// A line for the log about a certificate that ends soon or has ended.
    pub(crate) fn warning(&self, what: &str, now_s: u64) -> Option<String> {
        let Self { serial, .. } = self;
        match self.left_s(now_s) {
            0 => Some(format!(
                "The {what} certificate (serial {serial}) has expired"
            )),
            left if left <= WARN_BEFORE_S => Some(format!(
                "The {what} certificate (serial {serial}) expires in {} days",
                left / DAY_S
            )),
            _ => None,
        }
    }
}

/// The names of users that `tls-auth-clients-user` finds in the certificate of a client, best
/// first. Names of certificates may have any bytes, zero among them: they are compared as a whole.
pub(crate) fn client_names(config: &Config, der: &[u8]) -> Vec<Vec<u8>> {
    match config.choice(P::TlsAuthClientsUser) {
        TlsAuthClientsUser::Off => Vec::new(),
        TlsAuthClientsUser::CommonName => common_name(der).into_iter().collect(),
        TlsAuthClientsUser::Uri => uris(der),
    }
}

/// The first common name of the subject.
fn common_name(der: &[u8]) -> Option<Vec<u8>> {
    let certificate = Certificate::from_der(der).ok()?;
    let mut attributes = certificate
        .tbs_certificate
        .subject
        .0
        .iter()
        .flat_map(|name| name.0.iter());
    let name = attributes.find(|attribute| attribute.oid == COMMON_NAME)?;
    let bytes = name.value.value();
    (!bytes.is_empty()).then(|| bytes.to_vec())
}

/// The URIs among the alternative names of the subject.
fn uris(der: &[u8]) -> Vec<Vec<u8>> {
    let Ok(certificate) = Certificate::from_der(der) else {
        return Vec::new();
    };
    let Ok(Some((_, SubjectAltName(names)))) = certificate.tbs_certificate.get::<SubjectAltName>()
    else {
        return Vec::new();
    };
    let uri = |name: &GeneralName| match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_bytes().to_vec()),
        _ => None,
    };
    let mut uris: Vec<Vec<u8>> = names.iter().filter_map(uri).collect();
    uris.retain(|uri| !uri.is_empty() && !uri.contains(&0));
    uris
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::tests::Authority;

    #[test]
    fn facts_and_names_are_read() {
        let authority = Authority::new();
        let made = authority.client("alice", &["urn:a", "urn:b"]);
        let der = made.certificate.der();
        let info = CertificateInfo::of(der).expect("a certificate");
        assert!(info.serial.len().is_multiple_of(2) && !info.serial.is_empty());
        assert_eq!(common_name(der), Some(b"alice".to_vec()));
        assert_eq!(uris(der), [b"urn:a".to_vec(), b"urn:b".to_vec()]);
        assert_eq!(CertificateInfo::of(&der[..der.len() - 1]), None);
        assert_eq!(common_name(b"\x30\x84\xff\xff\xff\xff"), None);
    }

    #[test]
    fn a_zero_within_a_name_stays_there() {
        let made = Authority::new().client("alice\0mallory", &[]);
        let der = made.certificate.der();
        assert_eq!(common_name(der), Some(b"alice\0mallory".to_vec()));
    }

    #[test]
    fn the_end_is_announced() {
        let info = CertificateInfo {
            serial: "0A".to_owned(),
            not_after_s: 100 * DAY_S,
        };
        assert_eq!(info.warning("server", 69 * DAY_S), None);
        assert_eq!(
            info.warning("server", 98 * DAY_S).as_deref(),
            Some("The server certificate (serial 0A) expires in 2 days")
        );
        assert_eq!(
            info.warning("server", 100 * DAY_S).as_deref(),
            Some("The server certificate (serial 0A) has expired")
        );
    }
}
